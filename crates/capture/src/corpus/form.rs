//! In which form does a file hold text, as its name says?

/// How a file holds documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As text, between separator lines or as one long text.
    Plain,
    /// As JSON objects, one a line.
    JsonLines,
    /// As rows of a parquet table.
    Parquet,
}

/// How a file's bytes are compressed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// They are not.
    None,
    /// RFC 1952, several members too.
    Gzip,
    /// RFC 8878, several frames too.
    Zstd,
}

/// What a file's name says of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileForm {
    /// How it holds documents.
    pub layout: Layout,
    /// How its bytes are compressed.
    pub packing: Packing,
}

const DECOMPRESS: &str =
    "compressed with something that is not read; decompress it first, or compress it with gzip or zstd";
const NO_TEXT: &str = "no form of text that can be read; give .txt, .jsonl, .parquet, or .gz or .zst of these";

/// Endings of file names that are no text, whatever they hold, and why.
fn no_text(ending: &str) -> Option<&'static str> {
    Some(match ending {
        "bz2" | "xz" | "lzma" | "lz4" | "br" | "sz" | "snappy" | "z" | "lz" | "lzo" => DECOMPRESS,
        "7z" | "zip" | "tar" | "tgz" => "an archive; extract its files and give their folder",
        "csv" | "tsv" | "xlsx" | "xls" => {
            "a table of which no column is read; write its texts to a .jsonl or .parquet file"
        }
        "arrow" | "feather" | "orc" | "avro" => "a table that is not read; write it again as .parquet",
        "npy" | "safetensors" | "h5" | "db" | "pdf" => NO_TEXT,
        _ => return None,
    })
}

impl FileForm {
    /// The form of a file of this name: what ends as nothing known is plain text.
    ///
    /// # Errors
    /// What is wrong with the name of a file that cannot be read as text.
    pub fn of(name: &str) -> Result<Self, &'static str> {
        let (stem, packing) = Self::unpacked(name);
        let layout = match ending(stem).as_str() {
            "jsonl" | "ndjson" | "json" => Layout::JsonLines,
            "parquet" | "pq" if packing != Packing::None => {
                return Err("parquet files compress their own columns; decompress this one first");
            }
            "parquet" | "pq" => Layout::Parquet,
            other => match no_text(other) {
                Some(problem) => return Err(problem),
                None => Layout::Plain,
            },
        };
        Ok(FileForm { layout, packing })
    }

    /// The form of a file that a folder holds, where only what is known is text. A lone `.json` in a folder of data is its
    /// description.
    pub(super) fn in_folder(name: &str) -> Option<Self> {
        let (stem, packing) = Self::unpacked(name);
        let ending = ending(stem);
        let known = ["txt", "jsonl", "ndjson", "parquet"].contains(&ending.as_str());
        let packed_json = ending == "json" && packing != Packing::None;
        if known || packed_json { Self::of(name).ok() } else { None }
    }

    fn unpacked(name: &str) -> (&str, Packing) {
        let packing = match ending(name).as_str() {
            "gz" => Packing::Gzip,
            "zst" | "zstd" => Packing::Zstd,
            _ => return (name, Packing::None),
        };
        (name.rsplit_once('.').map_or(name, |(stem, _)| stem), packing)
    }
}

/// What follows the last dot, in small letters; nothing where there is no dot.
fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or_else(String::new, |(_, ending)| ending.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_form() {
        let of = |name: &str| FileForm::of(name).map(|form| (form.layout, form.packing));
        assert_eq!(of("a.txt"), Ok((Layout::Plain, Packing::None)));
        assert_eq!(of("a"), Ok((Layout::Plain, Packing::None)));
        assert_eq!(of("notes.md.GZ"), Ok((Layout::Plain, Packing::Gzip)));
        assert_eq!(of("a.b.jsonl.zst"), Ok((Layout::JsonLines, Packing::Zstd)));
        assert_eq!(of("a.json"), Ok((Layout::JsonLines, Packing::None)));
        assert_eq!(of("a.parquet"), Ok((Layout::Parquet, Packing::None)));
        assert!(of("a.parquet.gz").is_err() && of("a.tar.gz").is_err() && of("a.zip").is_err());
        let known = |name: &str| FileForm::in_folder(name).is_some();
        assert!(["a.txt", "a.txt.gz", "a.jsonl.zst", "a.parquet", "c4.json.gz"].into_iter().all(known));
        assert!(!["README.md", "dataset_info.json", "x", "a.tar.gz", "a.parquet.zst"].into_iter().any(known));
    }
}
