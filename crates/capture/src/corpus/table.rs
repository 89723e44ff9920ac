//! How is one column of a parquet table read?
//!
//! Pages are read one after another, so that memory is that of a page and its dictionary, however long the table is. A
//! column of conversations is several to parquet, one for every field of the messages; they are read side by side.

use super::messages::{Decoded, MessageField, Row, conversations, find_fields};
use super::records::{Record, rendered};
use super::{Place, Source};
use crate::error::CaptureError;
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use std::collections::VecDeque;
use std::fs::File;
use untangle_model::guard::guarded;
use untangle_model::{ChatTemplate, Conversation};

/// Rows that are decoded at a time.
const ROWS: usize = 64;
/// Columns that a message names.
const NAMED: usize = 12;

/// What is read of a table.
enum Content<'a> {
    /// A column of text.
    Text(usize),
    /// Conversations, of which the template makes text.
    Conversations(Vec<MessageField>, &'a ChatTemplate),
}

/// What a row holds.
enum Value {
    Text(Option<ByteArray>),
    Conversation(Row),
}

/// The records of a table's column.
pub(super) struct Table<'a> {
    source: Source<'a>,
    file: SerializedFileReader<File>,
    content: Content<'a>,
    /// The group of rows that is being read.
    group: usize,
    /// One for every column that is read; empty between groups.
    readers: Vec<ColumnReaderImpl<ByteArrayType>>,
    /// Decoded rows that were not handed out.
    ready: VecDeque<Value>,
    /// Row that is handed out next.
    row: u64,
    rows: u64,
}

impl<'a> Table<'a> {
    /// Opens a table at a row.
    pub(super) fn open(source: Source<'a>, from: Place) -> Result<Self, CaptureError> {
        let file = File::open(source.path).map_err(CaptureError::io(source.path))?;
        let file = attempt(source, || SerializedFileReader::new(file))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let content = match source.chat {
            None => Content::Text(find_column(source, schema)?),
            Some(template) => Content::Conversations(find_fields(source, schema)?, template),
        };
        let rows = u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
        let (readers, ready) = (Vec::new(), VecDeque::new());
        let mut table = Table { source, file, content, group: 0, readers, ready, row: from.at, rows };
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
            (Content::Conversations(_, template), Ok(conversation)) => rendered(template, &conversation, wrong),
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
                for reader in &mut self.readers {
                    attempt(source, || reader.skip_records(left as usize))?;
                }
                return Ok(());
            }
            left -= rows;
            self.group += 1;
        }
        Ok(())
    }

    fn open_group(&mut self) -> Result<(), CaptureError> {
        let columns: Vec<usize> = match &self.content {
            Content::Text(column) => vec![*column],
            Content::Conversations(fields, _) => fields.iter().map(|field| field.column).collect(),
        };
        self.readers.clear();
        for column in columns {
            let open = || self.file.get_row_group(self.group)?.get_column_reader(column);
            if let ColumnReader::ByteArrayColumnReader(reader) = attempt(self.source, open)? {
                self.readers.push(reader);
            }
        }
        Ok(())
    }

    /// Decodes some rows; false at the end of the table.
    fn decode(&mut self) -> Result<bool, CaptureError> {
        if self.group >= self.file.num_row_groups() {
            return Ok(false);
        }
        if self.readers.is_empty() {
            self.open_group()?;
        }
        let (source, mut columns) = (self.source, Vec::new());
        for reader in &mut self.readers {
            let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
            let levels = (Some(&mut definition), Some(&mut repetition));
            attempt(source, || reader.read_records(ROWS, levels.0, levels.1, &mut values))?;
            columns.push(Decoded { definition, repetition, values });
        }
        let rows: Vec<Value> = match &self.content {
            Content::Text(_) => columns.pop().into_iter().flat_map(texts).map(Value::Text).collect(),
            Content::Conversations(fields, _) => {
                let rows = conversations(fields, columns);
                let rows = rows.ok_or_else(|| damaged(source, "the fields of its messages are of different number"))?;
                rows.into_iter().map(Value::Conversation).collect()
            }
        };
        if rows.is_empty() {
            self.readers.clear();
            self.group += 1;
        }
        self.ready.extend(rows);
        Ok(true)
    }
}

/// The values of a column of text; none where one is null.
fn texts(column: Decoded) -> Vec<Option<ByteArray>> {
    let mut values = column.values.into_iter();
    if column.definition.is_empty() {
        // A column without nulls has no levels.
        return values.map(Some).collect();
    }
    column.definition.into_iter().map(|level| if level == 0 { None } else { values.next() }).collect()
}

/// The column that holds the text.
fn find_column(source: Source<'_>, schema: &SchemaDescriptor) -> Result<usize, CaptureError> {
    let columns = schema.columns();
    let label = || source.label.to_owned();
    let field = source.field.to_owned();
    let Some(index) = columns.iter().position(|column| column.path().string() == field) else {
        let below = columns.iter().find(|column| column.path().parts().first() == Some(&field));
        if below.is_some() {
            return Err(CaptureError::ColumnType { file: label(), field, found: "a list or structure".to_owned() });
        }
        return Err(CaptureError::NoColumn { file: label(), field, found: label_of_columns(schema) });
    };
    let found = match columns[index].max_rep_level() {
        0 => kind_unless_text(&columns[index]),
        _ => Some("a list".to_owned()),
    };
    match found {
        Some(found) => Err(CaptureError::ColumnType { file: label(), field, found }),
        None => Ok(index),
    }
}

/// The first columns of a table, for people.
pub(super) fn label_of_columns(schema: &SchemaDescriptor) -> String {
    let names: Vec<String> = schema.columns().iter().take(NAMED).map(|column| column.path().string()).collect();
    names.join(", ")
}

/// What the values of a column are, unless they are text.
pub(super) fn kind_unless_text(column: &ColumnDescriptor) -> Option<String> {
    if column.physical_type() != Physical::BYTE_ARRAY {
        return Some(column.physical_type().to_string());
    }
    match (column.logical_type_ref(), column.converted_type()) {
        // Some writers leave out that bytes are text.
        (None, ConvertedType::NONE | ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => None,
        (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _) => None,
        (Some(other), _) => Some(format!("{other:?}")),
        (None, other) => Some(other.to_string()),
    }
}

/// What the library gives; whatever it complains of, in whatever way, is damage.
fn attempt<T>(source: Source<'_>, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, CaptureError> {
    match guarded(work) {
        Some(done) => done.map_err(|error| damaged(source, &error.to_string())),
        None => Err(damaged(source, "its pages contradict themselves")),
    }
}

fn damaged(source: Source<'_>, said: &str) -> CaptureError {
    let said = said.strip_prefix("Parquet error: ").unwrap_or(said);
    CaptureError::Damaged {
        file: source.label.to_owned(),
        problem: format!("as a parquet file it is damaged ({said})"),
    }
}
