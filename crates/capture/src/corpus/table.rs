//! How is one column of a parquet table read?
//!
//! Pages are read one after another, so that memory is that of a page and its dictionary, however long the table is.

use super::guard::guarded;
use super::records::Record;
use super::{Place, Source};
use crate::error::CaptureError;
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::collections::VecDeque;
use std::fs::File;

/// Rows that are decoded at a time.
const ROWS: usize = 64;
/// Columns that a message names.
const NAMED: usize = 12;

/// The records of a table's column.
pub(super) struct Table<'a> {
    source: Source<'a>,
    file: SerializedFileReader<File>,
    column: usize,
    /// The group of rows that is being read.
    group: usize,
    reader: Option<ColumnReaderImpl<ByteArrayType>>,
    /// Decoded rows that were not handed out; none where the value is null.
    ready: VecDeque<Option<ByteArray>>,
    /// Row that is handed out next.
    row: u64,
    rows: u64,
}

impl<'a> Table<'a> {
    /// Opens a table at a row.
    pub(super) fn open(source: Source<'a>, from: Place) -> Result<Self, CaptureError> {
        let file = File::open(source.path).map_err(CaptureError::io(source.path))?;
        let file = attempt(source, || SerializedFileReader::new(file))?;
        let column = find_column(source, &file)?;
        let rows = u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
        let mut table =
            Table { source, file, column, group: 0, reader: None, ready: VecDeque::new(), row: from.at, rows };
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
        let text = value.map(|value| value.data().to_vec());
        Ok(Some(Record { text, replaced: 0, at: format!("row {}", self.row), start, end: self.place() }))
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
                if let Some(reader) = &mut self.reader {
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
        let open = || self.file.get_row_group(self.group)?.get_column_reader(self.column);
        self.reader = match attempt(self.source, open)? {
            ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
            _ => None,
        };
        Ok(())
    }

    /// Decodes some rows; false at the end of the table.
    fn decode(&mut self) -> Result<bool, CaptureError> {
        if self.group >= self.file.num_row_groups() {
            return Ok(false);
        }
        if self.reader.is_none() {
            self.open_group()?;
        }
        let source = self.source;
        let Some(reader) = &mut self.reader else { return Ok(false) };
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (rows, _, _) = attempt(source, || reader.read_records(ROWS, Some(&mut levels), None, &mut values))?;
        if rows == 0 {
            self.reader = None;
            self.group += 1;
            return Ok(true);
        }
        let mut values = values.into_iter();
        if levels.is_empty() {
            // A column without nulls has no levels.
            self.ready.extend(values.map(Some));
        } else {
            self.ready.extend(levels.into_iter().map(|level| if level == 0 { None } else { values.next() }));
        }
        Ok(true)
    }
}

/// The column that holds the text.
fn find_column(source: Source<'_>, file: &SerializedFileReader<File>) -> Result<usize, CaptureError> {
    let columns = file.metadata().file_metadata().schema_descr().columns();
    let label = || source.label.to_owned();
    let field = source.field.to_owned();
    let path = |column: &ColumnDescriptor| column.path().string();
    let index = columns.iter().position(|column| path(column) == field);
    let Some(index) = index else {
        let below = columns.iter().find(|column| column.path().parts().first() == Some(&field));
        if below.is_some() {
            return Err(CaptureError::ColumnType { file: label(), field, found: "a list or structure".to_owned() });
        }
        let mut found: Vec<String> = columns.iter().map(|column| path(column)).collect();
        found.truncate(NAMED);
        return Err(CaptureError::NoColumn { file: label(), field, found: found.join(", ") });
    };
    match kind_unless_text(&columns[index]) {
        Some(found) => Err(CaptureError::ColumnType { file: label(), field, found }),
        None => Ok(index),
    }
}

/// What a column holds, unless it is text.
fn kind_unless_text(column: &ColumnDescriptor) -> Option<String> {
    if column.max_rep_level() > 0 {
        return Some("a list".to_owned());
    }
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
