//! What does a file hold, whatever its name says?
//!
//! Names are believed as long as the first bytes do not contradict them. What is compressed with something else than
//! its name says is read as what it is; what cannot be read is called by its name, with the way to make it readable.

use super::bytes::{Bytes, damage};
use super::form::{FileForm, Layout, Packing};
use crate::error::CaptureError;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;
use untangle_schema::python::mend;

/// Bytes that are looked at.
const LOOKED_AT: u64 = 512;
/// Longest first line that is looked at to tell a form.
const FIRST_LINE: u64 = 16 << 20;

/// How some begin a text of UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";
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
const RECODE: &str = "write it again in UTF-8, for example with `iconv -f UTF-16 -t UTF-8`";
const UTF_16: &str = "text in UTF-16, which is not read";
const EXPORT: &str = "write its texts to a .jsonl or .parquet file";

/// How files begin.
const BEGINNINGS: [(&[u8], Content); 21] = [
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
    (b"\xff\xfe", Content::Other(UTF_16, RECODE)),
    (b"\xfe\xff", Content::Other(UTF_16, RECODE)),
    (
        untangle_schema::git_lfs::POINTER,
        Content::Other("a pointer of Git LFS and not the file itself", "get it with `git lfs pull`"),
    ),
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
    // Without a mark at its beginning, Latin text in UTF-16 has a zero for every other byte.
    let is_wide = matches!(begin, [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..]);
    let is_wide = is_wide.then_some(Content::Other(UTF_16, RECODE));
    found.or(is_tar.then_some(Content::Other("an archive of tar", EXTRACT))).or(is_wide)
}

/// How the bytes at `path`, whose name says `form`, are compressed.
///
/// # Errors
/// [`CaptureError::Unsupported`] for what cannot be read as `form` at all.
pub(super) fn packing(path: &Path, label: &str, form: FileForm) -> Result<Packing, CaptureError> {
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
        (None, Layout::Plain | Layout::JsonLines)
            if form.packing != Packing::None && is_text(&begin) && !may_be(&begin, form.packing) =>
        {
            let (name, ending) = if form.packing == Packing::Gzip { ("gzip", ".gz") } else { ("zstd", ".zst") };
            let remedy = format!("take {ending} off its name, or get the file again");
            Err(refuse(&format!("not compressed with {name}, as its name says"), &remedy))
        }
        // Nothing is no text, compressed or not.
        (None, Layout::Plain | Layout::JsonLines) if begin.is_empty() => Ok(Packing::None),
        (Some(Content::Parquet), Layout::Parquet) | (None, _) => Ok(form.packing),
        (Some(Content::Parquet), _) => Err(refuse("a parquet table", "give it a name that ends in .parquet")),
        (Some(Content::Other(what, remedy)), _) => Err(refuse(what, remedy)),
    }
}

impl FileForm {
    /// The form of a file that has no name, told from how it begins: compressed, a parquet table, lines of JSON where
    /// the first is an object, else plain text.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_content(path: &Path) -> Result<Self, CaptureError> {
        let mut begin = Vec::new();
        let file = File::open(path).map_err(CaptureError::io(path))?;
        file.take(4).read_to_end(&mut begin).map_err(CaptureError::io(path))?;
        let label = path.display().to_string();
        if begin == b"PAR1" {
            return Ok(FileForm { layout: Layout::Parquet, packing: Packing::None });
        }
        let packing = packing(path, &label, FileForm { layout: Layout::Plain, packing: Packing::None })?;
        let mut text = Bytes::open(path, &label, packing, 0)?.reader.take(FIRST_LINE);
        let line = first_line(&mut text).map_err(damage(&label))?;
        let line = mend(&line, None).map_or(line, |mended| mended.line);
        let is_object = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&line).is_ok();
        Ok(FileForm { layout: if is_object { Layout::JsonLines } else { Layout::Plain }, packing })
    }
}

/// The first line that is not blank, without the mark that some put in front of UTF-8; empty where there is none. Lines of JSON are
/// read so.
fn first_line(text: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
        line.clear();
    }
    Ok(line)
}

/// Whether what begins so, and not as packed content usually does, may still be packed like this: because it is cut short, or begins
/// with a frame of zstd that is skipped or of an old version.
fn may_be(begin: &[u8], packing: Packing) -> bool {
    match packing {
        Packing::None => true,
        Packing::Gzip => b"\x1f\x8b".starts_with(begin),
        Packing::Zstd => {
            let is_frame = matches!(begin, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] | [_, 0xB5, 0x2F, 0xFD, ..]);
            is_frame || b"\x28\xb5\x2f\xfd".starts_with(begin)
        }
    }
}

/// Whether a file that begins so is text as far as one can see; its last character may be cut.
fn is_text(begin: &[u8]) -> bool {
    !begin.contains(&0) && std::str::from_utf8(begin).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Number of the dictionary that the first frame of zstd was compressed with.
fn dictionary(begin: &[u8]) -> Option<u32> {
    zstd::zstd_safe::get_dict_id_from_frame(begin).map(std::num::NonZeroU32::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_packed_is_said_to_be_named_wrongly_and_nothing_is_no_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let of = |content: &[u8], named: Packing| {
            std::fs::write(&path, content).expect("written");
            packing(&path, "x", FileForm { layout: Layout::Plain, packing: named }).map_err(|error| error.to_string())
        };
        for (named, ending) in [(Packing::Gzip, "take .gz off"), (Packing::Zstd, "take .zst off")] {
            let message = of(b"plain text", named).expect_err("not packed");
            assert!(message.contains("not compressed with") && message.contains(ending), "{message}");
            assert_eq!(of(b"", named), Ok(Packing::None));
        }
        assert_eq!(of(b"\x1f", Packing::Gzip), Ok(Packing::Gzip), "cut short");
        assert_eq!(of(b"\x28\xb5", Packing::Zstd), Ok(Packing::Zstd), "cut short");
        assert_eq!(of(b"\x50\x2a\x4d\x18\0\0\0\0", Packing::Zstd), Ok(Packing::Zstd), "a frame to be skipped");
        assert_eq!(of(b"\x26\xb5\x2f\xfd\0", Packing::Zstd), Ok(Packing::Zstd), "of an old version");
        assert_eq!(of(&crate::corpus::tests::gzip(b"x"), Packing::Zstd), Ok(Packing::Gzip), "something else");
    }

    #[test]
    fn content_says_the_form_where_there_is_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let of = |content: &[u8]| {
            std::fs::write(&path, content).expect("written");
            let form = FileForm::of_content(&path).expect("read");
            (form.layout, form.packing)
        };
        let lines = b"{\"text\": \"a\", \"n\": [1]}\n{";
        assert_eq!(of(b""), (Layout::Plain, Packing::None));
        assert_eq!(of(b"{braces} in a text\n"), (Layout::Plain, Packing::None));
        assert_eq!(of(lines), (Layout::JsonLines, Packing::None));
        for before in ["\u{feff}", "\n", " \r\n\n", "\u{feff}\n\t\n"] {
            let lines = [before.as_bytes(), lines].concat();
            assert_eq!(of(&lines), (Layout::JsonLines, Packing::None), "behind {before:?}");
        }
        assert_eq!(of("\u{feff}\n \n{braces}\n".as_bytes()), (Layout::Plain, Packing::None));
        assert_eq!(of(&crate::corpus::tests::gzip(lines)), (Layout::JsonLines, Packing::Gzip));
        assert_eq!(of(&zstd::encode_all(&b"a"[..], 1).expect("memory")), (Layout::Plain, Packing::Zstd));
        assert_eq!(of(b"PAR1"), (Layout::Parquet, Packing::None));
    }

    #[test]
    fn words_are_no_signatures() {
        for text in ["BZhang is a name", "ORCs and elves", "PARIS", "PARE the apple", "PK", "", "7z"] {
            assert_eq!(of(text.as_bytes()), None, "{text}");
        }
        assert_eq!(of(b"PAR1"), Some(Content::Parquet));
        for wide in [&b"\xff\xfeT\0h\0"[..], b"\xfe\xff\0T\0h", b"T\0h\0e\0", b"\0T\0h\0e"] {
            assert!(matches!(of(wide), Some(Content::Other(UTF_16, _))), "{wide:?}");
        }
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:";
        assert!(matches!(of(pointer), Some(Content::Other(what, _)) if what.contains("Git LFS")));
        assert!(matches!(of(b"BZh91AY&SY\0"), Some(Content::Other(what, _)) if what.contains("bzip2")));
        assert!(matches!(of(&[&[b'x'; 257][..], b"ustar\0"].concat()), Some(Content::Other("an archive of tar", _))));
    }
}
