//! How do records, lines of JSON or rows of a table, become documents?
//!
//! The text of a record is a document as it is; one that is too long is divided. Records without text (null, or nothing
//! but white space) are left out.

use super::cut::next_part;
use super::json_lines::JsonLines;
use super::place::{Document, Place};
use super::record::Record;
use super::source::Source;
use super::table::Table;
use super::utf8::decode;
use crate::error::CaptureError;

/// What records are read from.
pub(super) enum Records<'a> {
    Lines(JsonLines<'a>),
    Rows(Box<Table<'a>>),
}

/// The documents of records.
pub(crate) struct Divided<'a> {
    source: Source<'a>,
    records: Records<'a>,
    /// The record whose text is being handed out.
    current: Option<Current>,
    /// Bytes of the first record's text that were handed out by an earlier run.
    skip: usize,
}

struct Current {
    text: String,
    replaced: u64,
    /// Bytes of it that were handed out.
    done: usize,
    start: Place,
    end: Place,
}

impl<'a> Divided<'a> {
    /// Documents from a place on to which `records` are opened.
    pub(super) fn new(source: Source<'a>, records: Records<'a>, from: Place) -> Self {
        Divided { source, records, current: None, skip: from.within as usize }
    }

    /// The next document; none at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Document>, CaptureError> {
        loop {
            if let Some(document) = self.current.as_mut().and_then(Current::next) {
                return Ok(Some(document));
            }
            let record = match &mut self.records {
                Records::Lines(lines) => lines.next()?,
                Records::Rows(rows) => rows.next()?,
            };
            let Some(record) = record else { return Ok(None) };
            self.current = self.open(record)?;
        }
    }

    /// Begins a record.
    fn open(&mut self, record: Record) -> Result<Option<Current>, CaptureError> {
        let done = std::mem::take(&mut self.skip);
        let Some(bytes) = record.text else { return Ok(None) };
        let decoded = decode(bytes);
        let replaced = record.replaced + decoded.replaced;
        if replaced > 0 && self.source.strict {
            return Err(CaptureError::NotUtf8 { file: self.source.label.to_owned(), at: record.at });
        }
        let (text, replaced) = (decoded.text, if done == 0 { replaced } else { 0 });
        let done = if text.is_char_boundary(done) { done } else { text.len() };
        Ok(Some(Current { text, replaced, done, start: record.start, end: record.end }))
    }
}

impl Current {
    /// The next part of the text that is not blank.
    fn next(&mut self) -> Option<Document> {
        loop {
            let rest = &self.text[self.done..];
            if rest.is_empty() {
                return None;
            }
            let part = &rest[..next_part(rest)];
            self.done += part.len();
            if part.trim().is_empty() {
                continue;
            }
            let whole = self.done == self.text.len();
            let inside = Place { within: self.done as u64, read: self.end.read, ..self.start };
            let end = if whole { self.end } else { inside };
            return Some(Document { text: part.to_owned(), replaced: std::mem::take(&mut self.replaced), end });
        }
    }
}
