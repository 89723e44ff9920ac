//! Which column of a table holds the text, and what do others hold?

use super::nested::locate;
use super::source::Source;
use crate::error::CaptureError;
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

/// Columns that a message names.
const NAMED: usize = 12;

/// The column that holds the text.
pub(super) fn find_column(source: Source<'_>, schema: &SchemaDescriptor) -> Result<usize, CaptureError> {
    let (file, field) = (source.label.to_owned(), source.field.to_owned());
    let found = match locate(schema.root_schema().get_fields(), source.field) {
        Some(place) if !place.field.is_primitive() => "a list or structure".to_owned(),
        Some(place) => match kind_unless_text(&schema.column(place.column)) {
            _ if schema.column(place.column).max_rep_level() > 0 => "a list".to_owned(),
            Some(found) => found,
            None => return Ok(place.column),
        },
        // Inside of a list.
        None if schema.columns().iter().any(|column| column.path().string() == field) => "a list".to_owned(),
        None => return Err(CaptureError::NoColumn { file, field, found: label_of_columns(schema) }),
    };
    Err(CaptureError::ColumnType { file, field, found })
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
