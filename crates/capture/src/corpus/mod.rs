//! Which documents do files of text hold, and how are they read without holding a file in memory?
//!
//! | file | documents |
//! |---|---|
//! | `.jsonl`, `.ndjson`, `.json` | one a line: a field of its object; a table of concepts on the first line (`untangle_schema::annotated`) is passed over |
//! | `.parquet` | one a row: a column of text, or of conversations |
//! | any other | between `<|endoftext|>` lines; else parts of one text |
//!
//! All but parquet may be compressed (`.gz`, `.zst`). A folder means the files below it. Bytes that are not UTF-8 are
//! replaced by U+FFFD and counted, or refused. Wherever a document ends, reading can go on from there later, and gives
//! the same documents.
//!
//! Reading order: `form`, `file`, `find`, `bytes` with `gzip`, `content`; what all readers share, `place` and `source`; `plain`
//! with `lines` and `cut`; `record`, `json_lines`, and `table` with `columns`, `messages`, `nested`, `leaves` and `pages`;
//! `records` above these.

mod bytes;
mod columns;
mod content;
mod count;
mod cut;
mod file;
mod find;
mod form;
mod gzip;
mod json_lines;
mod kinds;
mod leaves;
mod lines;
mod messages;
mod nested;
mod pages;
mod place;
mod plain;
mod record;
mod records;
mod source;
mod table;
mod utf8;

pub use file::TextFile;
pub use form::{FileForm, Layout, Packing};
pub use lines::SEPARATOR;
pub(crate) use place::{Document, Place};
pub use untangle_model::guard::panic_is_caught;

use crate::error::CaptureError;
use bytes::{Bytes, damage, hash};
use find::Found;
use json_lines::JsonLines;
use lines::Lines;
use plain::Plain;
use records::{Divided, Records};
use serde::{Deserialize, Serialize};
use source::Source;
use std::path::Path;
use table::Table;
use untangle_model::ChatTemplate;
use untangle_schema::{CorpusFile, Observer};

/// The field of records that is read where none is named.
pub const FIELD: &str = "text";

/// The same where it holds conversations.
pub const CONVERSATION_FIELD: &str = "messages";

/// How files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The field of JSON lines, or column of tables, that holds the text; `a.b` is the field of that name, or `b` inside
    /// of `a`.
    pub field: String,
    /// Whether bytes that are not UTF-8 are refused instead of replaced.
    pub strict: bool,
    /// What makes texts of conversations, where the field holds such.
    pub chat: Option<ChatTemplate>,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { field: FIELD.to_owned(), strict: false, chat: None }
    }
}

/// The text files of a capture, in reading order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    files: Vec<TextFile>,
    reading: Reading,
    ignored: Vec<String>,
}

impl Corpus {
    /// Looks at files and folders without reading them.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] for what is missing, is no text, or is a folder without any;
    /// [`CaptureError::NoText`] where nothing is named.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, CaptureError> {
        let mut found = Found::default();
        paths.iter().try_for_each(|path| found.add(path.as_ref()))?;
        Ok(Corpus { ignored: found.ignored, ..Corpus::of(found.files)? })
    }

    /// A corpus of these files.
    ///
    /// # Errors
    /// [`CaptureError::NoText`] where there is none.
    pub fn of(files: Vec<TextFile>) -> Result<Self, CaptureError> {
        if files.is_empty() {
            return Err(CaptureError::NoText);
        }
        Ok(Corpus { files, reading: Reading::default(), ignored: Vec::new() })
    }

    /// The corpus with the files of another behind its own.
    pub fn and(mut self, other: Corpus) -> Self {
        self.files.extend(other.files);
        self.ignored.extend(other.ignored);
        self
    }

    /// The same files, read so.
    ///
    /// # Errors
    /// [`CaptureError::NoConversations`] where conversations are wanted of a file that cannot hold any.
    pub fn read_as(self, reading: Reading) -> Result<Self, CaptureError> {
        let unfit = self.files.iter().find(|file| file.form().layout == Layout::Plain);
        match (&reading.chat, unfit) {
            (Some(_), Some(file)) => Err(CaptureError::NoConversations { file: file.label().to_owned() }),
            _ => Ok(Corpus { reading, ..self }),
        }
    }

    /// The files.
    pub fn files(&self) -> &[TextFile] {
        &self.files
    }

    /// How they are read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// SHA-256 of the template that makes texts of conversations; none where the files hold texts.
    pub(crate) fn chat_template_sha256(&self) -> Option<String> {
        self.reading.chat.as_ref().map(|template| template.sha256().to_owned())
    }

    /// Their size together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(TextFile::bytes).sum()
    }

    /// Files in the folders that are no text.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The field that is read of a file; none where its text has no fields.
    pub(crate) fn field_of(&self, file: &TextFile) -> Option<&str> {
        (file.form().layout != Layout::Plain).then_some(self.reading.field.as_str())
    }

    /// What the reading of a file needs, once it is at `path`.
    fn source<'a>(
        &'a self,
        file: &'a TextFile,
        path: &'a Path,
        observer: &'a dyn Observer,
    ) -> Result<Source<'a>, CaptureError> {
        Ok(Source {
            path,
            label: file.label(),
            packing: content::packing(path, file.label(), file.form())?,
            bytes: file.bytes(),
            field: &self.reading.field,
            strict: self.reading.strict,
            chat: self.reading.chat.as_ref(),
            observer,
        })
    }

    /// Reads a file once, for its hash and its separators, and looks whether it has what is to be read. The
    /// observer is asked every megabyte; none is returned if it says that reading stops.
    pub(crate) fn survey(
        &self,
        file: &TextFile,
        path: &Path,
        observer: &dyn Observer,
    ) -> Result<Option<Survey>, CaptureError> {
        let stop: &dyn Fn() -> bool = &|| observer.interrupted();
        let Some((bytes, sha256)) = hash(path, stop).map_err(CaptureError::io(path))? else { return Ok(None) };
        let source = self.source(file, path, observer)?;
        let separated = match file.form().layout {
            Layout::Plain => match is_separated(source, stop)? {
                Some(separated) => separated,
                None => return Ok(None),
            },
            Layout::JsonLines => false,
            Layout::Parquet => {
                Table::open(source, Place::default())?;
                false
            }
        };
        let field = self.field_of(file).map(str::to_owned);
        let file = CorpusFile { name: file.name().to_owned(), bytes, sha256, field };
        Ok(Some(Survey { file, separated }))
    }

    /// The documents of a file from a place on at which a document may begin.
    pub(crate) fn documents<'a>(
        &'a self,
        file: &'a TextFile,
        path: &'a Path,
        separated: bool,
        from: Place,
        observer: &'a dyn Observer,
    ) -> Result<Documents<'a>, CaptureError> {
        let source = self.source(file, path, observer)?;
        let records = match file.form().layout {
            Layout::Plain => return Ok(Documents::Plain(Plain::open(source, separated, from)?)),
            Layout::JsonLines => Records::Lines(JsonLines::open(source, from)?),
            Layout::Parquet => Records::Rows(Box::new(Table::open(source, from)?)),
        };
        Ok(Documents::Records(Box::new(Divided::new(source, records, from))))
    }
}

/// What one reading of a whole file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Survey {
    pub(crate) file: CorpusFile,
    /// Whether a line is the separator.
    pub(crate) separated: bool,
}

/// Whether a line of a text is the separator; none where `stop` says so.
fn is_separated(source: Source<'_>, stop: &dyn Fn() -> bool) -> Result<Option<bool>, CaptureError> {
    let bytes = Bytes::open(source.path, source.label, source.packing, 0)?;
    let (mut lines, mut line, mut done) = (Lines::new(bytes.reader), Vec::new(), 0u64);
    while lines.next(&mut line).map_err(damage(source.label))? {
        if lines.is_separator(&line) {
            return Ok(Some(true));
        }
        let megabyte = done >> 20;
        done += line.len() as u64;
        if done >> 20 > megabyte && stop() {
            return Ok(None);
        }
    }
    Ok(Some(false))
}

/// The documents of a file.
pub(crate) enum Documents<'a> {
    /// Of a text.
    Plain(Plain<'a>),
    /// Of records.
    Records(Box<Divided<'a>>),
}

impl Documents<'_> {
    /// The next document that is not empty; none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Document>, CaptureError> {
        match self {
            Documents::Plain(plain) => plain.next(),
            Documents::Records(records) => records.next(),
        }
    }
}

#[cfg(test)]
mod chat_tests;
#[cfg(test)]
mod same_tests;
#[cfg(test)]
mod tests;
