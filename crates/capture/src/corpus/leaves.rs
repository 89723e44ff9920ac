//! How are the values of columns of any type decoded, with their levels?

use super::kinds::Kind;
use super::nested::{Cell, Columns, Node};
use super::pages::{LongRow, Pages};
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;
use std::collections::VecDeque;

/// Longest row, all its texts together; each of them may be the same few bytes of the file. Lines of JSON may be as long.
const LARGEST_ROW: u64 = 64 << 20;
/// Entries of a column after which no further row is decoded.
const ENOUGH: usize = 1 << 16;

/// The decoded entries of some columns.
pub(super) struct Leaves {
    /// Their numbers, in order.
    columns: Vec<usize>,
    leaves: Vec<Leaf>,
}

#[derive(Default)]
struct Leaf {
    /// Definition and repetition of every entry.
    levels: Vec<(i16, i16)>,
    values: VecDeque<Cell>,
    /// Level at which an entry has a value.
    full: i16,
    at: usize,
}

/// The level at which an entry has a value, the levels of all entries, and the values.
#[cfg(test)]
type Column = (i16, Vec<(i16, i16)>, Vec<Cell>);

impl Leaves {
    /// Decodes rows of these `columns`, one reader for each: so many, behind `row`, or fewer where they are long.
    pub(super) fn read(
        columns: &[usize],
        readers: &mut [LeafReader],
        row: u64,
        rows: usize,
    ) -> Result<Self, ParquetError> {
        let mut leaves: Vec<Leaf> = readers.iter().map(|reader| Leaf::new(reader.full)).collect();
        for row in (row + 1..).take(rows) {
            let mut bytes = 0;
            for (leaf, reader) in leaves.iter_mut().zip(readers.iter_mut()) {
                bytes += reader.read_into(leaf)?;
            }
            if bytes > LARGEST_ROW {
                let problem = format!("is longer than {} MiB; leave it out", LARGEST_ROW >> 20);
                return Err(ParquetError::External(Box::new(LongRow { row, problem })));
            }
            if leaves.iter().any(|leaf| leaf.levels.len() > ENOUGH) {
                break;
            }
        }
        Ok(Leaves { columns: columns.to_vec(), leaves })
    }

    /// Entries that were put together elsewhere.
    #[cfg(test)]
    pub(super) fn of(columns: Vec<Column>) -> Self {
        let leaf = |(full, levels, values): Column| Leaf { levels, values: values.into(), full, at: 0 };
        Leaves { columns: (0..columns.len()).collect(), leaves: columns.into_iter().map(leaf).collect() }
    }

    /// What the columns hold of these nodes in every row; none where they contradict each other.
    pub(super) fn rows(mut self, nodes: &[&Node]) -> Option<Vec<Vec<Cell>>> {
        let mut rows = Vec::new();
        while self.leaves.iter().any(|leaf| leaf.at < leaf.levels.len()) {
            if self.leaves.iter().any(|leaf| leaf.levels.get(leaf.at).is_none_or(|levels| levels.1 != 0)) {
                return None;
            }
            rows.push(nodes.iter().map(|node| node.next(&mut self)).collect::<Option<_>>()?);
        }
        Some(rows)
    }
}

impl Leaves {
    fn leaf(&self, column: usize) -> Option<&Leaf> {
        self.leaves.get(self.columns.binary_search(&column).ok()?)
    }
}

impl Columns for Leaves {
    fn definition(&self, column: usize) -> Option<i16> {
        let leaf = self.leaf(column)?;
        leaf.levels.get(leaf.at).map(|levels| levels.0)
    }

    fn repetition(&self, column: usize) -> Option<i16> {
        let leaf = self.leaf(column)?;
        leaf.levels.get(leaf.at).map(|levels| levels.1)
    }

    fn take(&mut self, column: usize) -> Option<Cell> {
        let leaf = self.leaves.get_mut(self.columns.binary_search(&column).ok()?)?;
        let (definition, _) = *leaf.levels.get(leaf.at)?;
        leaf.at += 1;
        if definition == leaf.full { leaf.values.pop_front() } else { Some(Cell::Null) }
    }
}

impl Leaf {
    fn new(full: i16) -> Self {
        Leaf { full, ..Leaf::default() }
    }
}

/// Reads one column.
pub(super) struct LeafReader {
    reader: ColumnReader,
    full: i16,
    kind: Kind,
}

impl LeafReader {
    /// Reads a column's pages, of a group of rows in front of which there are so many.
    pub(super) fn new(pages: Box<dyn PageReader>, column: ColumnDescPtr, rows_before: u64) -> Self {
        let full = column.max_def_level();
        // A column without a form is refused before it is read.
        let kind = Kind::of(&column).unwrap_or(Kind::Plain);
        let pages = Pages::new(pages, column.max_rep_level(), rows_before);
        LeafReader { reader: get_column_reader(column, Box::new(pages)), full, kind }
    }

    pub(super) fn skip(&mut self, rows: usize) -> Result<usize, ParquetError> {
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int32ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int96ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FloatColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(rows),
        }
    }

    /// Adds the entries of the next row to `leaf`, and says how long its texts are together.
    fn read_into(&mut self, leaf: &mut Leaf) -> Result<u64, ParquetError> {
        let kind = self.kind;
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => read(reader, leaf, Cell::Bool),
            ColumnReader::Int32ColumnReader(reader) if kind == Kind::Unsigned => {
                read(reader, leaf, |value| Cell::Unsigned((value as u32).into()))
            }
            ColumnReader::Int32ColumnReader(reader) => read(reader, leaf, |value| kind.integer(value.into())),
            ColumnReader::Int64ColumnReader(reader) => read(reader, leaf, |value| kind.integer(value)),
            ColumnReader::Int96ColumnReader(reader) => read(reader, leaf, |value| kind.integer(value.to_nanos())),
            ColumnReader::FloatColumnReader(reader) => read(reader, leaf, |value| Cell::Float(value.into())),
            ColumnReader::DoubleColumnReader(reader) => read(reader, leaf, Cell::Float),
            ColumnReader::ByteArrayColumnReader(reader) => read(reader, leaf, |value| kind.bytes(value)),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => read(reader, leaf, |value| kind.bytes(value.into())),
        }
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    leaf: &mut Leaf,
    cell: impl Fn(T::T) -> Cell,
) -> Result<u64, ParquetError> {
    let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
    reader.read_records(1, Some(&mut definition), Some(&mut repetition), &mut values)?;
    leaf.levels.extend(definition.into_iter().zip(repetition));
    let before = leaf.values.len();
    leaf.values.extend(values.into_iter().map(cell));
    let length = |cell: &Cell| if let Cell::Text(text) = cell { text.len() as u64 } else { 0 };
    Ok(leaf.values.range(before..).map(length).sum())
}
