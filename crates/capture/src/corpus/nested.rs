//! How do columns of a table become the nested value of a row again?
//!
//! Parquet stores every leaf of a structure as a column of its own, each value with two levels (Melnik et al., Dremel,
//! VLDB 2010, section 4): repetition, at which list it goes on, 0 where a row begins; and definition, how many of the
//! optional and repeated nodes above it are there. What is null or empty has one entry in every column below it.

use super::utf8::faults;
use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::data_type::ByteArray;
use parquet::schema::types::{Type, TypePtr};
use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use untangle_model::Conversation;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(ByteArray),
    List(Vec<Cell>),
    Fields(Vec<(Cell, Cell)>),
}

impl Cell {
    /// Number of byte sequences in it that are not UTF-8.
    pub(super) fn faults(&self) -> u64 {
        match self {
            Cell::Text(text) => faults(text.data()),
            Cell::List(items) => items.iter().map(Cell::faults).sum(),
            Cell::Fields(fields) => fields.iter().map(|(name, value)| name.faults() + value.faults()).sum(),
            _ => 0,
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Bool(value) => serializer.serialize_bool(*value),
            Cell::Int(value) => serializer.serialize_i64(*value),
            Cell::Unsigned(value) => serializer.serialize_u64(*value),
            Cell::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Cell::Float(value) => {
                let number = Conversation::json_of_not_finite(*value).to_owned();
                RawValue::from_string(number).map_err(S::Error::custom)?.serialize(serializer)
            }
            Cell::Null => serializer.serialize_unit(),
            Cell::Text(text) => serializer.serialize_str(&String::from_utf8_lossy(text.data())),
            Cell::List(items) => serializer.collect_seq(items),
            Cell::Fields(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

/// A node of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) shape: Shape,
    /// Definition level from which it is not null.
    pub(super) there: i16,
    /// The first of the columns below it, and how many they are.
    pub(super) first: usize,
    pub(super) columns: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Leaf,
    Fields(Vec<(String, Node)>),
    List(Box<Node>, Repeated),
    /// Keys and values.
    Map(Box<(Node, Node)>, Repeated),
}

/// The levels of what is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// Definition level from which there is an element.
    pub(super) filled: i16,
    /// Repetition level of every element but the first.
    pub(super) again: i16,
}

/// Levels above a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) definition: i16,
    pub(super) repetition: i16,
}

/// A field and what is above it.
pub(super) struct Place {
    pub(super) field: TypePtr,
    pub(super) above: Levels,
    /// The first of its columns.
    pub(super) column: usize,
}

/// The field of this name: of the row, else inside of the field that the name begins with. Nothing inside of lists.
pub(super) fn locate(fields: &[TypePtr], name: &str) -> Option<Place> {
    find(fields, name, Levels::default(), 0)
}

fn find(fields: &[TypePtr], name: &str, above: Levels, mut column: usize) -> Option<Place> {
    let first = column;
    for field in fields {
        if field.name() == name {
            return Some(Place { field: TypePtr::clone(field), above, column });
        }
        column += leaves(field);
    }
    column = first;
    for field in fields {
        let rest = name.strip_prefix(field.name()).and_then(|rest| rest.strip_prefix('.'));
        let repetition = field.get_basic_info().repetition();
        if let (Some(rest), true, false) = (rest, field.is_group(), repetition == Repetition::REPEATED) {
            let optional = i16::from(repetition == Repetition::OPTIONAL);
            let inside = Levels { definition: above.definition + optional, ..above };
            if let Some(found) = find(field.get_fields(), rest, inside, column) {
                return Some(found);
            }
        }
        column += leaves(field);
    }
    None
}

fn leaves(field: &Type) -> usize {
    if field.is_primitive() { 1 } else { field.get_fields().iter().map(|field| leaves(field)).sum() }
}

impl Node {
    /// The columns below it.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.columns
    }

    /// The node of a field of which `column` is the first column.
    pub(super) fn of(field: &Type, above: Levels, column: usize) -> Self {
        let Levels { definition, repetition } = above;
        match field.get_basic_info().repetition() {
            Repetition::REPEATED => {
                let repeated = Repeated { filled: definition + 1, again: repetition + 1 };
                let element = Self::bare(field, repeated.inside(), column);
                let columns = element.columns;
                Node { shape: Shape::List(Box::new(element), repeated), there: definition, first: column, columns }
            }
            Repetition::OPTIONAL => Self::bare(field, Levels { definition: definition + 1, repetition }, column),
            Repetition::REQUIRED => Self::bare(field, above, column),
        }
    }

    /// The node without its own repetition, which `above` counts already.
    fn bare(field: &Type, above: Levels, column: usize) -> Self {
        let there = above.definition;
        if field.is_primitive() {
            return Node { shape: Shape::Leaf, there, first: column, columns: 1 };
        }
        let repeated = Repeated { filled: there + 1, again: above.repetition + 1 };
        let shape = match (kind(field), field.get_fields()) {
            (Kind::List, [list]) => Shape::List(Box::new(element(field, list, repeated.inside(), column)), repeated),
            (Kind::Map, [pairs]) if pairs.is_group() && pairs.get_fields().len() == 2 => {
                let key = Self::of(&pairs.get_fields()[0], repeated.inside(), column);
                let value = Self::of(&pairs.get_fields()[1], repeated.inside(), column + key.columns);
                Shape::Map(Box::new((key, value)), repeated)
            }
            (_, fields) => {
                let mut next = column;
                let node = |field: &TypePtr| {
                    let node = Self::of(field, above, next);
                    next += node.columns;
                    (field.name().to_owned(), node)
                };
                Shape::Fields(fields.iter().map(node).collect())
            }
        };
        Node { shape, there, first: column, columns: leaves(field) }
    }

    /// Whether another element follows; none where the columns below disagree.
    fn goes_on(&self, columns: &dyn Columns, repeated: Repeated) -> Option<bool> {
        let mut all = (self.first..self.first + self.columns).map(|at| columns.repetition(at) == Some(repeated.again));
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    /// The value of the next row; none where the columns contradict each other.
    pub(super) fn next(&self, columns: &mut dyn Columns) -> Option<Cell> {
        let definition = columns.definition(self.first)?;
        let skipped = |columns: &mut dyn Columns, cell: Cell| {
            (self.first..self.first + self.columns).try_for_each(|column| columns.take(column).map(drop))?;
            Some(cell)
        };
        if definition < self.there {
            return skipped(columns, Cell::Null);
        }
        match &self.shape {
            Shape::Leaf => columns.take(self.first),
            Shape::Fields(fields) => {
                let field =
                    |(name, node): &(String, Node)| Some((Cell::Text(name.as_str().into()), node.next(columns)?));
                Some(Cell::Fields(fields.iter().map(field).collect::<Option<_>>()?))
            }
            Shape::List(_, repeated) if definition < repeated.filled => skipped(columns, Cell::List(Vec::new())),
            Shape::Map(_, repeated) if definition < repeated.filled => skipped(columns, Cell::Fields(Vec::new())),
            Shape::List(element, repeated) => {
                let mut items = vec![element.next(columns)?];
                while self.goes_on(columns, *repeated)? {
                    items.push(element.next(columns)?);
                }
                Some(Cell::List(items))
            }
            Shape::Map(pair, repeated) => {
                let mut fields = vec![(pair.0.next(columns)?, pair.1.next(columns)?)];
                while self.goes_on(columns, *repeated)? {
                    fields.push((pair.0.next(columns)?, pair.1.next(columns)?));
                }
                Some(Cell::Fields(fields))
            }
        }
    }
}

impl Repeated {
    fn inside(self) -> Levels {
        Levels { definition: self.filled, repetition: self.again }
    }
}

/// Entries of columns, one after another.
pub(super) trait Columns {
    /// Definition level of a column's next entry; none behind the last.
    fn definition(&self, column: usize) -> Option<i16>;
    /// Its repetition level.
    fn repetition(&self, column: usize) -> Option<i16>;
    /// Its value, null where there is none; goes on behind it.
    fn take(&mut self, column: usize) -> Option<Cell>;
}

enum Kind {
    List,
    Map,
    Other,
}

fn kind(field: &Type) -> Kind {
    let info = field.get_basic_info();
    let repeats = |field: &Type| {
        field.get_fields().first().is_some_and(|below| below.get_basic_info().repetition() == Repetition::REPEATED)
    };
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (_, ConvertedType::LIST) if repeats(field) => Kind::List,
        (Some(LogicalType::Map), _) | (_, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) if repeats(field) => {
            Kind::Map
        }
        _ => Kind::Other,
    }
}

/// The element of a list, with or without a node of its own below the repeated one (the format's LogicalTypes.md, "Lists").
fn element(field: &Type, list: &Type, inside: Levels, column: usize) -> Node {
    let is_element = list.is_primitive()
        || list.get_fields().len() != 1
        || list.name() == "array"
        || list.name() == format!("{}_tuple", field.name());
    if is_element { Node::bare(list, inside, column) } else { Node::of(&list.get_fields()[0], inside, column) }
}
