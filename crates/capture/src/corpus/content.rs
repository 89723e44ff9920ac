//! What does a file hold, whatever its name says?
//!
//! Names are believed as long as the first bytes do not contradict them. What is compressed with something else than
//! its name says is read as what it is; what cannot be read is called by its name, with the way to make it readable.

use super::file::{Form, Layout, Packing};
use crate::error::CaptureError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes that are looked at.
const LOOKED_AT: u64 = 512;
/// Where an archive of tar says that it is one.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A compressed text.
    Packed(Packing),
    /// A parquet table.
    Parquet,
    /// Something that is not read: what it is, and what to do.
    Other(&'static str, &'static str),
}

const DECOMPRESS: &str = "decompress it first, or compress it with gzip or zstd instead";
const EXTRACT: &str = "extract its files and give their folder";
const EXPORT: &str = "write its texts to a .jsonl or .parquet file";

/// How files begin.
const BEGINNINGS: [(&[u8], Content); 18] = [
    (b"\x1f\x8b", Content::Packed(Packing::Gzip)),
    (b"\x28\xb5\x2f\xfd", Content::Packed(Packing::Zstd)),
    (b"PAR1", Content::Parquet),
    (b"PARE", Content::Other("a parquet table whose footer is encrypted", "write it again without encryption")),
    (b"BZh", Content::Other("compressed with bzip2, which is not read", DECOMPRESS)),
    (b"\xfd7zXZ\0", Content::Other("compressed with xz, which is not read", DECOMPRESS)),
    (b"\x04\x22\x4d\x18", Content::Other("compressed with lz4, which is not read", DECOMPRESS)),
    (b"\xff\x06\0\0sNaPpY", Content::Other("compressed with snappy, which is not read", DECOMPRESS)),
    (b"\x1f\x9d", Content::Other("compressed with compress, which is not read", DECOMPRESS)),
    (b"7z\xbc\xaf\x27\x1c", Content::Other("an archive of 7-Zip", EXTRACT)),
    (b"PK\x03\x04", Content::Other("a ZIP archive, or a document that is one", EXTRACT)),
    (b"ARROW1\0\0", Content::Other("an Arrow table", EXPORT)),
    (b"ORC", Content::Other("an ORC table", EXPORT)),
    (b"Obj\x01", Content::Other("an Avro file", EXPORT)),
    (b"\x89HDF\r\n\x1a\n", Content::Other("an HDF5 file", EXPORT)),
    (b"\x93NUMPY", Content::Other("an array of NumPy", EXPORT)),
    (b"SQLite format 3\0", Content::Other("an SQLite database", EXPORT)),
    (b"%PDF-", Content::Other("a PDF document", "convert it to text")),
];

/// What a file that begins so holds; none where it can be any text.
pub(super) fn of(begin: &[u8]) -> Option<Content> {
    let found = BEGINNINGS.iter().find(|(magic, _)| begin.starts_with(magic)).map(|(_, content)| *content);
    // Words can begin like these three, but not with the bytes that follow there.
    let found = found.filter(|_| match begin {
        [b'B', b'Z', b'h', rest @ ..] => matches!(rest, [b'1'..=b'9', b'1', b'A', b'Y', ..] | [b'1'..=b'9', 0x17, ..]),
        [b'O', b'R', b'C', rest @ ..] => std::str::from_utf8(rest).is_err(),
        [b'P', b'A', b'R', b'1' | b'E', rest @ ..] => {
            rest.len() < 4 || rest.contains(&0) || std::str::from_utf8(rest).is_err()
        }
        _ => true,
    });
    let is_tar = begin.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1));
    found.or(is_tar.then_some(Content::Other("an archive of tar", EXTRACT)))
}

/// How the bytes at `path`, whose name says `form`, are compressed.
///
/// # Errors
/// [`CaptureError::Unsupported`] for what cannot be read as `form` at all.
pub(super) fn packing(path: &Path, label: &str, form: Form) -> Result<Packing, CaptureError> {
    let mut begin = Vec::new();
    let file = File::open(path).map_err(CaptureError::io(path))?;
    file.take(LOOKED_AT).read_to_end(&mut begin).map_err(CaptureError::io(path))?;
    let refuse = |what: &str, remedy: &str| CaptureError::Unsupported {
        file: label.to_owned(),
        what: format!("it is {what}"),
        remedy: remedy.to_owned(),
    };
    match (of(&begin), form.layout) {
        (Some(Content::Packed(_)), Layout::Parquet) => Err(refuse("compressed as a whole", "decompress it first")),
        (Some(Content::Packed(packing)), _) => match dictionary(&begin) {
            Some(id) => {
                let what = format!("compressed with zstd and dictionary {id}, which is not in it");
                Err(refuse(&what, "decompress it first, with `zstd -d -D DICTIONARY`"))
            }
            None => Ok(packing),
        },
        (Some(Content::Parquet), Layout::Parquet) | (None, _) => Ok(form.packing),
        (Some(Content::Parquet), _) => Err(refuse("a parquet table", "give it a name that ends in .parquet")),
        (Some(Content::Other(what, remedy)), _) => Err(refuse(what, remedy)),
    }
}

/// Number of the dictionary that the first frame of zstd was compressed with.
fn dictionary(begin: &[u8]) -> Option<u32> {
    zstd::zstd_safe::get_dict_id_from_frame(begin).map(std::num::NonZeroU32::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_no_signatures() {
        for text in ["BZhang is a name", "ORCs and elves", "PARIS", "PARE the apple", "PK", "", "7z"] {
            assert_eq!(of(text.as_bytes()), None, "{text}");
        }
        assert_eq!(of(b"PAR1"), Some(Content::Parquet));
        assert!(matches!(of(b"BZh91AY&SY\0"), Some(Content::Other(what, _)) if what.contains("bzip2")));
        assert!(matches!(of(&[&[b'x'; 257][..], b"ustar\0"].concat()), Some(Content::Other("an archive of tar", _))));
    }
}
