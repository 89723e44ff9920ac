//! What is a file of text: where does it lie, what is it called, and in which form does it hold its documents?

use super::bytes::{Bytes, damage};
use super::content;
use crate::error::CaptureError;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use untangle_model::hub::{DatasetFile, HubOptions, fetch_dataset_file};
use untangle_model::{HubError, ModelError};
use untangle_schema::Observer;
use untangle_schema::python::mend;

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
pub struct Form {
    /// How it holds documents.
    pub layout: Layout,
    /// How its bytes are compressed.
    pub packing: Packing,
}

/// Longest first line that is looked at to tell a form.
const FIRST_LINE: u64 = 16 << 20;

/// How some begin a text of UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

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

impl Form {
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
        Ok(Form { layout, packing })
    }

    /// The form of a file that has no name, told from how it begins: compressed, a parquet table, lines of JSON where
    /// the first is an object, else plain text.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_content(path: &Path) -> Result<Self, CaptureError> {
        let mut begin = Vec::new();
        let file = fs::File::open(path).map_err(CaptureError::io(path))?;
        file.take(4).read_to_end(&mut begin).map_err(CaptureError::io(path))?;
        let label = path.display().to_string();
        if begin == b"PAR1" {
            return Ok(Form { layout: Layout::Parquet, packing: Packing::None });
        }
        let packing = content::packing(path, &label, Form { layout: Layout::Plain, packing: Packing::None })?;
        let mut text = Bytes::open(path, &label, packing, 0)?.reader.take(FIRST_LINE);
        let line = first_line(&mut text).map_err(damage(&label))?;
        let line = mend(&line, None).map_or(line, |mended| mended.line);
        let is_object = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&line).is_ok();
        Ok(Form { layout: if is_object { Layout::JsonLines } else { Layout::Plain }, packing })
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

/// What follows the last dot, in small letters; nothing where there is no dot.
fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or_else(String::new, |(_, ending)| ending.to_ascii_lowercase())
}

/// Where a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Location {
    Here(PathBuf),
    /// On a hub, or in its cache; fetched when reading comes to it.
    Hub(Box<(DatasetFile, HubOptions)>),
}

/// A file of text that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    location: Location,
    /// What artefacts call it; never a path of a machine.
    name: String,
    /// What messages call it.
    label: String,
    bytes: u64,
    form: Form,
}

impl TextFile {
    /// The file at `path`, called by its own name, whose ending says its form.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] where none is there or no text can be in it.
    pub fn at(path: &Path) -> Result<Self, CaptureError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let form = Form::of(&name).map_err(|problem| CaptureError::NotAFile { path: path.to_owned(), problem })?;
        Self::named(path, name, form)
    }

    /// The file at `path`, called `name` in artefacts.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] where none is there.
    pub fn named(path: &Path, name: String, form: Form) -> Result<Self, CaptureError> {
        let refuse = |problem| CaptureError::NotAFile { path: path.to_owned(), problem };
        let bytes = match fs::metadata(path) {
            Ok(about) if about.is_file() => about.len(),
            Ok(about) if about.is_dir() => return Err(refuse("this is a folder")),
            Ok(_) => return Err(refuse("not a regular file; save the text to a file first, or pipe it in as `-`")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(refuse("no such file")),
            Err(source) => return Err(CaptureError::io(path)(source)),
        };
        let label = path.display().to_string();
        Ok(TextFile { location: Location::Here(path.to_owned()), name, label, bytes, form })
    }

    /// A file of a hub's data set, which is fetched when reading comes to it.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] where its name is that of no text.
    pub fn of_hub(file: DatasetFile, options: HubOptions) -> Result<Self, CaptureError> {
        let name = file.name();
        let refuse = |problem| CaptureError::NotAFile { path: PathBuf::from(&name), problem };
        let (form, bytes, label) = (Form::of(&file.path).map_err(refuse)?, file.bytes, name.clone());
        Ok(TextFile { location: Location::Hub(Box::new((file, options))), name, label, bytes, form })
    }

    /// The same file, called otherwise in messages.
    pub fn labelled(self, label: &str) -> Self {
        TextFile { label: label.to_owned(), ..self }
    }

    /// What artefacts call it: its name, behind that of its folder where a folder was given, or its place on a hub.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its size when it was opened.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The form of its content.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether it has to be fetched from somewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.location, Location::Hub(_))
    }

    /// Where it lies on this machine; one of a hub, once it is fetched.
    pub(crate) fn bring(&self, observer: &dyn Observer) -> Result<PathBuf, CaptureError> {
        match &self.location {
            Location::Here(path) => Ok(path.clone()),
            Location::Hub(at) => {
                let fetched = fetch_dataset_file(&at.0, &at.1, observer);
                fetched.map_err(|error: HubError| CaptureError::Model(ModelError::Hub(error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_says_the_form_where_there_is_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let of = |content: &[u8]| {
            fs::write(&path, content).expect("written");
            let form = Form::of_content(&path).expect("read");
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
        assert_eq!(of(&super::super::tests::gzip(lines)), (Layout::JsonLines, Packing::Gzip));
        assert_eq!(of(&zstd::encode_all(&b"a"[..], 1).expect("memory")), (Layout::Plain, Packing::Zstd));
        assert_eq!(of(b"PAR1"), (Layout::Parquet, Packing::None));
    }

    #[test]
    fn names_say_the_form() {
        let of = |name: &str| Form::of(name).map(|form| (form.layout, form.packing));
        assert_eq!(of("a.txt"), Ok((Layout::Plain, Packing::None)));
        assert_eq!(of("a"), Ok((Layout::Plain, Packing::None)));
        assert_eq!(of("notes.md.GZ"), Ok((Layout::Plain, Packing::Gzip)));
        assert_eq!(of("a.b.jsonl.zst"), Ok((Layout::JsonLines, Packing::Zstd)));
        assert_eq!(of("a.json"), Ok((Layout::JsonLines, Packing::None)));
        assert_eq!(of("a.parquet"), Ok((Layout::Parquet, Packing::None)));
        assert!(of("a.parquet.gz").is_err() && of("a.tar.gz").is_err() && of("a.zip").is_err());
        let known = |name: &str| Form::in_folder(name).is_some();
        assert!(["a.txt", "a.txt.gz", "a.jsonl.zst", "a.parquet", "c4.json.gz"].into_iter().all(known));
        assert!(!["README.md", "dataset_info.json", "x", "a.tar.gz", "a.parquet.zst"].into_iter().any(known));
    }
}
