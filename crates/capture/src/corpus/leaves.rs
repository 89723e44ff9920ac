//! How are the values of columns of any type decoded, with their levels?

use super::nested::{Cell, Columns, Node};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescriptor;
use std::vec::IntoIter;

/// The decoded entries of the columns below a node.
pub(super) struct Leaves {
    first: usize,
    leaves: Vec<Leaf>,
}

#[derive(Default)]
struct Leaf {
    /// Definition and repetition of every entry.
    levels: Vec<(i16, i16)>,
    values: IntoIter<Cell>,
    /// Level at which an entry has a value.
    full: i16,
    at: usize,
}

/// The level at which an entry has a value, the levels of all entries, and the values.
#[cfg(test)]
type Column = (i16, Vec<(i16, i16)>, Vec<Cell>);

impl Leaves {
    /// Decodes so many rows of these columns, of which `first` is the number of the first.
    pub(super) fn read(first: usize, readers: &mut [LeafReader], rows: usize) -> Result<Self, ParquetError> {
        let leaves = readers.iter_mut().map(|reader| reader.read(rows)).collect::<Result<_, _>>()?;
        Ok(Leaves { first, leaves })
    }

    /// Entries that were put together elsewhere.
    #[cfg(test)]
    pub(super) fn of(columns: Vec<Column>) -> Self {
        let leaf = |(full, levels, values): Column| Leaf { levels, values: values.into_iter(), full, at: 0 };
        Leaves { first: 0, leaves: columns.into_iter().map(leaf).collect() }
    }

    /// The rows that the columns hold; none where they contradict each other.
    pub(super) fn rows(mut self, node: &Node) -> Option<Vec<Cell>> {
        let mut rows = Vec::new();
        while self.leaves.iter().any(|leaf| leaf.at < leaf.levels.len()) {
            if self.leaves.iter().any(|leaf| leaf.levels.get(leaf.at).is_none_or(|levels| levels.1 != 0)) {
                return None;
            }
            rows.push(node.next(&mut self)?);
        }
        Some(rows)
    }
}

impl Columns for Leaves {
    fn definition(&self, column: usize) -> Option<i16> {
        let leaf = self.leaves.get(column - self.first)?;
        leaf.levels.get(leaf.at).map(|levels| levels.0)
    }

    fn repetition(&self, column: usize) -> Option<i16> {
        let leaf = self.leaves.get(column - self.first)?;
        leaf.levels.get(leaf.at).map(|levels| levels.1)
    }

    fn take(&mut self, column: usize) -> Option<Cell> {
        let leaf = self.leaves.get_mut(column - self.first)?;
        let (definition, _) = *leaf.levels.get(leaf.at)?;
        leaf.at += 1;
        if definition == leaf.full { leaf.values.next() } else { Some(Cell::Null) }
    }
}

/// Reads one column.
pub(super) struct LeafReader {
    reader: ColumnReader,
    full: i16,
    unsigned: bool,
}

impl LeafReader {
    pub(super) fn new(reader: ColumnReader, column: &ColumnDescriptor) -> Self {
        LeafReader { reader, full: column.max_def_level(), unsigned: is_unsigned(column) }
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

    fn read(&mut self, rows: usize) -> Result<Leaf, ParquetError> {
        let (full, unsigned) = (self.full, self.unsigned);
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => read(reader, full, rows, Cell::Bool),
            ColumnReader::Int32ColumnReader(reader) if unsigned => {
                read(reader, full, rows, |value| Cell::Unsigned((value as u32).into()))
            }
            ColumnReader::Int32ColumnReader(reader) => read(reader, full, rows, |value| Cell::Int(value.into())),
            ColumnReader::Int64ColumnReader(reader) if unsigned => {
                read(reader, full, rows, |value| Cell::Unsigned(value as u64))
            }
            ColumnReader::Int64ColumnReader(reader) => read(reader, full, rows, Cell::Int),
            ColumnReader::FloatColumnReader(reader) => read(reader, full, rows, |value| Cell::Float(value.into())),
            ColumnReader::DoubleColumnReader(reader) => read(reader, full, rows, Cell::Float),
            ColumnReader::ByteArrayColumnReader(reader) => read(reader, full, rows, Cell::Text),
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                Err(ParquetError::NYI("a type without a form in JSON".to_owned()))
            }
        }
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    full: i16,
    rows: usize,
    cell: impl Fn(T::T) -> Cell,
) -> Result<Leaf, ParquetError> {
    let (mut definition, mut repetition, mut values) = (Vec::new(), Vec::new(), Vec::new());
    reader.read_records(rows, Some(&mut definition), Some(&mut repetition), &mut values)?;
    let levels = definition.into_iter().zip(repetition).collect();
    let values: Vec<Cell> = values.into_iter().map(cell).collect();
    Ok(Leaf { levels, values: values.into_iter(), full, at: 0 })
}

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    use ConvertedType as C;
    let by_logical = matches!(column.logical_type_ref(), Some(LogicalType::Integer(int)) if !int.is_signed);
    by_logical || matches!(column.converted_type(), C::UINT_8 | C::UINT_16 | C::UINT_32 | C::UINT_64)
}

/// What a column holds, unless it is something that JSON has too.
pub(super) fn kind_unless_json(column: &ColumnDescriptor) -> Option<String> {
    use ConvertedType as C;
    let physical = column.physical_type();
    if matches!(physical, Physical::INT96 | Physical::FIXED_LEN_BYTE_ARRAY) {
        return Some(physical.to_string());
    }
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json | LogicalType::Integer(_)), _) => None,
        (Some(other), _) => Some(format!("{other:?}")),
        (None, other @ (C::DECIMAL | C::DATE | C::INTERVAL | C::BSON)) => Some(other.to_string()),
        (None, other @ (C::TIME_MILLIS | C::TIME_MICROS | C::TIMESTAMP_MILLIS | C::TIMESTAMP_MICROS)) => {
            Some(other.to_string())
        }
        (None, _) => None,
    }
}
