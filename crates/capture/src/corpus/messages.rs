//! How does a column of message lists become conversations?
//!
//! Parquet stores `list<struct<role, content>>` as one column per field of the structure, each value with two levels
//! (Melnik et al., Dremel, VLDB 2010, section 4): repetition, 0 where a row begins, and definition, how many of the
//! optional and repeated nodes above the value are there. Every text field of the messages is handed to the chat
//! template, as it is from JSON lines; fields of other types are passed over.

use super::Source;
use super::table::{kind_unless_text, label_of_columns};
use super::utf8::decode;
use crate::error::CaptureError;
use parquet::basic::Repetition;
use parquet::data_type::ByteArray;
use parquet::schema::types::{SchemaDescriptor, Type};
use untangle_model::Conversation;

/// The fields that every message needs.
const NEEDED: [&str; 2] = ["role", "content"];

/// A text field of the messages: a column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageField {
    name: String,
    /// Which column.
    pub(super) column: usize,
    /// Definition level from which there is a list.
    list: i16,
    /// From which it has a message.
    message: i16,
    /// Of which a value is.
    value: i16,
}

/// One value of a column with its levels; none where it is null.
type Cells = Vec<Option<Vec<Option<ByteArray>>>>;

/// The text fields of the messages in the column that is read.
pub(super) fn find_fields(source: Source<'_>, schema: &SchemaDescriptor) -> Result<Vec<MessageField>, CaptureError> {
    let (file, field) = (|| source.label.to_owned(), source.field.to_owned());
    let below = || (0..schema.num_columns()).filter(|index| schema.column(*index).path().parts()[0] == field);
    if below().next().is_none() {
        return Err(CaptureError::NoColumn { file: file(), field, found: label_of_columns(schema) });
    }
    let text = |index: usize| {
        let column = schema.column(index);
        let (name, is_text) = (column.self_type().name().to_owned(), kind_unless_text(&column).is_none());
        let levels = levels(schema.root_schema(), column.path().parts());
        // One list and nothing repeated below it: calls of tools are lists of their own.
        let (list, message) = levels.filter(|_| is_text && column.max_rep_level() == 1)?;
        (column.path().parts().len() > 2).then(|| MessageField {
            name,
            column: index,
            list,
            message,
            value: column.max_def_level(),
        })
    };
    let fields: Vec<MessageField> = below().filter_map(text).collect();
    match NEEDED.into_iter().find(|needed| fields.iter().all(|field| field.name != *needed)) {
        None => Ok(fields),
        Some(missing) => Err(CaptureError::NoMessages { file: file(), field, missing }),
    }
}

/// Definition levels at which the only list on the way to a column is there, and one of its messages.
fn levels(root: &Type, path: &[String]) -> Option<(i16, i16)> {
    let (mut node, mut level) = (root, 0);
    for name in path {
        node = node.get_fields().iter().find(|field| field.name() == name)?;
        match node.get_basic_info().repetition() {
            Repetition::REPEATED => return Some((level, level + 1)),
            Repetition::OPTIONAL => level += 1,
            Repetition::REQUIRED => {}
        }
        if node.is_primitive() {
            return None;
        }
    }
    None
}

impl MessageField {
    /// The rows of a column, whose levels and values these are: the messages' values.
    fn rows(&self, definition: &[i16], repetition: &[i16], values: Vec<ByteArray>) -> Cells {
        let (mut rows, mut values) = (Cells::new(), values.into_iter());
        for (definition, repetition) in definition.iter().zip(repetition) {
            if *repetition == 0 {
                rows.push((*definition >= self.list).then(Vec::new));
            }
            if *definition >= self.message
                && let Some(Some(row)) = rows.last_mut()
            {
                row.push(if *definition == self.value { values.next() } else { None });
            }
        }
        rows
    }
}

/// What was decoded of a field's column.
pub(super) struct Decoded {
    pub(super) definition: Vec<i16>,
    pub(super) repetition: Vec<i16>,
    pub(super) values: Vec<ByteArray>,
}

/// A conversation of a row, with the number of byte sequences that were replaced in it.
pub(super) type Row = Option<(Result<Conversation, String>, u64)>;

/// The conversations of some rows; none where the columns are not of equally many messages. A row is none where its list
/// is null.
pub(super) fn conversations(fields: &[MessageField], columns: Vec<Decoded>) -> Option<Vec<Row>> {
    let of_column = |(field, decoded): (&MessageField, Decoded)| {
        field.rows(&decoded.definition, &decoded.repetition, decoded.values).into_iter()
    };
    let mut columns: Vec<_> = fields.iter().zip(columns).map(of_column).collect();
    let n = columns.first()?.len();
    if columns.iter().any(|column| column.len() != n) {
        return None;
    }
    (0..n).map(|_| conversation(fields, columns.iter_mut().filter_map(Iterator::next).collect())).collect()
}

/// The conversation of a row, of which these are the fields' values.
fn conversation(fields: &[MessageField], cells: Cells) -> Option<Row> {
    let cells: Option<Vec<Vec<Option<ByteArray>>>> = cells.into_iter().collect();
    let Some(cells) = cells else { return Some(None) };
    let n = cells.first()?.len();
    if cells.iter().any(|values| values.len() != n) {
        return None;
    }
    let mut replaced = 0;
    let mut text = |value: &Option<ByteArray>| {
        let decoded = decode(value.as_ref()?.data().to_vec());
        replaced += decoded.replaced;
        Some(decoded.text)
    };
    let mut message = |index: usize| -> Vec<(&str, Option<String>)> {
        fields.iter().zip(&cells).map(|(field, values)| (field.name.as_str(), text(&values[index]))).collect()
    };
    let messages: Vec<_> = (0..n).map(&mut message).collect();
    Some(Some((Conversation::of_messages(messages), replaced)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::schema::parser::parse_message_type;

    fn field(name: &str, column: usize) -> MessageField {
        // optional group messages (LIST) { repeated group list { optional group element { optional binary … } } }
        MessageField { name: name.to_owned(), column, list: 1, message: 2, value: 4 }
    }

    #[test]
    fn levels_are_those_of_the_schema() {
        let of = |schema: &str, path: &[&str]| {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            levels(&parse_message_type(schema).expect("a schema"), &path)
        };
        let usual = "message m { optional group messages (LIST) { repeated group list { optional group element {
            optional binary role (STRING); } } } required binary text (STRING); }";
        assert_eq!(of(usual, &["messages", "list", "element", "role"]), Some((1, 2)));
        assert_eq!(of(usual, &["text"]), None);
        let old = "message m { repeated group messages { required binary role (STRING); } }";
        assert_eq!(of(old, &["messages", "role"]), Some((0, 1)));
    }

    #[test]
    fn rows_are_put_together_from_levels() {
        let bytes = |text: &str| ByteArray::from(text);
        // [u, a], null, [], [u, null].
        let rows = field("role", 0).rows(&[4, 4, 0, 1, 4, 3], &[0, 1, 0, 0, 0, 1], ["u", "a", "v"].map(bytes).to_vec());
        let shown: Vec<Option<Vec<Option<&str>>>> = rows
            .iter()
            .map(|row| {
                row.as_ref().map(|row| row.iter().map(|v| v.as_ref().map(|v| v.as_utf8().expect("text"))).collect())
            })
            .collect();
        assert_eq!(shown, [Some(vec![Some("u"), Some("a")]), None, Some(vec![]), Some(vec![Some("v"), None])]);
    }

    #[test]
    fn columns_that_contradict_each_other_are_no_conversations() {
        let decoded = |repetition: &[i16]| Decoded {
            definition: vec![4; repetition.len()],
            repetition: repetition.to_vec(),
            values: vec![ByteArray::from("x"); repetition.len()],
        };
        let fields = [field("role", 0), field("content", 1)];
        let of = |role: &[i16], content: &[i16]| conversations(&fields, vec![decoded(role), decoded(content)]);
        assert_eq!(of(&[0, 1, 0], &[0, 1, 0]).expect("two rows").len(), 2);
        assert!(of(&[0, 1, 0], &[0, 0]).is_none(), "other numbers of messages");
        assert!(of(&[0, 1], &[0, 1, 0]).is_none(), "other numbers of rows");
    }
}
