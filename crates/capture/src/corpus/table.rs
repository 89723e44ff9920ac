//! How is one column of a parquet table read?
//!
//! Pages are read one after another, so that memory is that of a page and its dictionary, however long the table is. A
//! column of conversations is several to parquet, one for every field of the messages; they are read side by side.

use super::bytes::need;
use super::columns::find_column;
use super::leaves::{LeafReader, Leaves};
use super::messages::{Nodes, Row, conversations};
use super::pages::LongRow;
use super::place::Place;
use super::record::{Record, rendered};
use super::source::Source;
use crate::error::CaptureError;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::VecDeque;
use std::fs::File;
use untangle_model::guard::guarded;
use untangle_model::{ChatTemplate, Conversation};

/// Rows that are decoded at a time.
const ROWS: usize = 64;
/// What is read of a table.
enum Content<'a> {
    /// A column of text.
    Text(usize),
    /// Conversations, of which the template makes text.
    Conversations(Nodes, &'a ChatTemplate),
}

/// What a row holds.
enum Value {
    Text(Option<ByteArray>),
    Conversation(Row),
}

/// What reads the columns of a group of rows.
enum Readers {
    Text(Box<ColumnReaderImpl<ByteArrayType>>),
    Leaves(Vec<LeafReader>),
}

/// The records of a table's column.
pub(super) struct Table<'a> {
    source: Source<'a>,
    file: SerializedFileReader<File>,
    content: Content<'a>,
    /// The group of rows that is being read.
    group: usize,
    /// What reads the group; none between groups.
    readers: Option<Readers>,
    /// Decoded rows that were not handed out.
    ready: VecDeque<Value>,
    /// Row that is handed out next.
    row: u64,
    rows: u64,
    /// Definition level of texts that are not null.
    full: i16,
}

impl<'a> Table<'a> {
    /// Opens a table at a row.
    pub(super) fn open(source: Source<'a>, from: Place) -> Result<Self, CaptureError> {
        let file = File::open(source.path).map_err(CaptureError::io(source.path))?;
        let file = attempt(source, || SerializedFileReader::new(file))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let content = match source.chat {
            None => Content::Text(find_column(source, schema)?),
            Some(template) => Content::Conversations(Nodes::find(source, template, schema)?, template),
        };
        let rows = u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
        let (readers, ready) = (None, VecDeque::new());
        let full = match &content {
            Content::Text(column) => schema.column(*column).max_def_level(),
            Content::Conversations(..) => 0,
        };
        let mut table = Table { source, file, content, group: 0, readers, ready, row: from.at, rows, full };
        table.go_to(from.at)?;
        Ok(table)
    }

    /// The record of the next row.
    pub(super) fn next(&mut self) -> Result<Option<Record>, CaptureError> {
        while self.ready.is_empty() {
            if !self.decode()? {
                return Ok(None);
            }
        }
        let Some(value) = self.ready.pop_front() else { return Ok(None) };
        let start = self.place();
        self.row += 1;
        let (text, replaced) = match value {
            Value::Text(text) => (text.map(|text| text.data().to_vec()), 0),
            Value::Conversation(None) => (None, 0),
            Value::Conversation(Some((conversation, replaced))) => (Some(self.text_of(conversation)?), replaced),
        };
        Ok(Some(Record { text, replaced, at: format!("row {}", self.row), start, end: self.place() }))
    }

    /// The text of the conversation in the row that was read.
    fn text_of(&self, conversation: Result<Conversation, String>) -> Result<Vec<u8>, CaptureError> {
        let wrong = |problem| {
            let (file, at) = (self.source.label.to_owned(), format!("row {}", self.row));
            CaptureError::Record { file, at, problem }
        };
        match (&self.content, conversation) {
            (Content::Conversations(_, template), Ok(conversation)) => {
                rendered(template, &conversation, self.source.observer, wrong)
            }
            (_, Ok(_)) => Ok(Vec::new()),
            (_, Err(fault)) => Err(wrong(format!("column `{}`: {fault}", self.source.field))),
        }
    }

    /// Where reading goes on. How much of the file was read is told from the rows.
    fn place(&self) -> Place {
        let read = u128::from(self.source.bytes) * u128::from(self.row) / u128::from(self.rows.max(1));
        Place { at: self.row, line: 0, within: 0, read: read as u64 }
    }

    /// Goes to a row that was not read yet.
    fn go_to(&mut self, row: u64) -> Result<(), CaptureError> {
        let mut left = row;
        while self.group < self.file.num_row_groups() {
            let rows = u64::try_from(self.file.metadata().row_group(self.group).num_rows()).unwrap_or(0);
            if left < rows {
                self.open_group()?;
                let source = self.source;
                let left = left as usize;
                return match &mut self.readers {
                    None => Ok(()),
                    Some(Readers::Text(reader)) => attempt(source, || reader.skip_records(left)).map(drop),
                    Some(Readers::Leaves(readers)) => {
                        attempt(source, || readers.iter_mut().try_for_each(|reader| reader.skip(left).map(drop)))
                    }
                };
            }
            left -= rows;
            self.group += 1;
        }
        Ok(())
    }

    fn open_group(&mut self) -> Result<(), CaptureError> {
        let open = |column: usize| self.file.get_row_group(self.group)?.get_column_reader(column);
        self.readers = Some(match &self.content {
            Content::Text(column) => match attempt(self.source, || open(*column))? {
                ColumnReader::ByteArrayColumnReader(reader) => Readers::Text(Box::new(reader)),
                _ => return Err(damaged(self.source, "a column of text holds something else")),
            },
            Content::Conversations(nodes, _) => {
                let schema = self.file.metadata().file_metadata().schema_descr();
                let before = self.file.metadata().row_groups().iter().take(self.group);
                let before = before.map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
                let reader = |column: &usize| {
                    let column = *column;
                    let pages = self.file.get_row_group(self.group)?.get_column_page_reader(column)?;
                    Ok(LeafReader::new(pages, schema.column(column), before))
                };
                Readers::Leaves(attempt(self.source, || nodes.columns.iter().map(reader).collect())?)
            }
        });
        Ok(())
    }

    /// Decodes some rows; false at the end of the table.
    fn decode(&mut self) -> Result<bool, CaptureError> {
        if self.group >= self.file.num_row_groups() {
            return Ok(false);
        }
        if self.readers.is_none() {
            self.open_group()?;
        }
        let (source, row) = (self.source, self.row);
        let rows: Vec<Value> = match (&mut self.readers, &self.content) {
            (Some(Readers::Text(reader)), _) => {
                let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
                let levels = (Some(&mut definition), Some(&mut repetition));
                attempt(source, || reader.read_records(ROWS, levels.0, levels.1, &mut values))?;
                texts(&definition, self.full, values).into_iter().map(Value::Text).collect()
            }
            (Some(Readers::Leaves(readers)), Content::Conversations(nodes, _)) => {
                let leaves = attempt(source, || Leaves::read(&nodes.columns, readers, row, ROWS))?;
                let rows = conversations(nodes, leaves);
                let rows = rows.ok_or_else(|| damaged(source, "the fields of its messages are of different number"))?;
                rows.into_iter().map(Value::Conversation).collect()
            }
            _ => Vec::new(),
        };
        if rows.is_empty() {
            self.readers = None;
            self.group += 1;
        }
        self.ready.extend(rows);
        Ok(true)
    }
}

/// The values of a column of text, which are there at the level `full`; none where one is null.
fn texts(definition: &[i16], full: i16, values: Vec<ByteArray>) -> Vec<Option<ByteArray>> {
    let mut values = values.into_iter();
    if definition.is_empty() {
        // A column without nulls has no levels.
        return values.map(Some).collect();
    }
    definition.iter().map(|level| if *level < full { None } else { values.next() }).collect()
}

/// What the library gives; what it complains of, in whatever way, is damage, unless it is something that it lacks.
fn attempt<T>(source: Source<'_>, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, CaptureError> {
    let unsupported = |what: String, remedy: &str| CaptureError::Unsupported {
        file: source.label.to_owned(),
        what: format!("as a parquet file it needs what is not here ({what})"),
        remedy: remedy.to_owned(),
    };
    const AGAIN: &str = "write it again, with zstd or snappy and without encryption";
    match guarded(work) {
        Some(Ok(done)) => Ok(done),
        Some(Err(ParquetError::External(error))) if error.is::<LongRow>() => Err(too_long(source, error.as_ref())),
        Some(Err(ParquetError::NYI(what))) => Err(unsupported(what, AGAIN)),
        Some(Err(error)) => {
            let said = error.to_string();
            if let Some((what, _)) = need(&said) {
                return Err(unsupported(what.to_owned(), AGAIN));
            }
            let lacks = ["Disabled feature", "encrypted", "not supported", "unsupported", "Unsupported"];
            match lacks.iter().any(|words| said.contains(words)) {
                true => Err(unsupported(without_prefix(&said).to_owned(), AGAIN)),
                false => Err(damaged(source, &said)),
            }
        }
        None => Err(damaged(source, "its pages contradict themselves")),
    }
}

/// A row that is not read to its end.
fn too_long(source: Source<'_>, error: &(dyn std::error::Error + 'static)) -> CaptureError {
    let (at, problem) = match error.downcast_ref::<LongRow>() {
        Some(long) => (format!("row {}", long.row), long.problem.clone()),
        None => ("a row".to_owned(), error.to_string()),
    };
    CaptureError::Record { file: source.label.to_owned(), at, problem }
}

fn without_prefix(said: &str) -> &str {
    said.strip_prefix("Parquet error: ").unwrap_or(said)
}

fn damaged(source: Source<'_>, said: &str) -> CaptureError {
    CaptureError::Damaged {
        file: source.label.to_owned(),
        problem: format!("as a parquet file it is damaged ({})", without_prefix(said)),
    }
}
