//! How does a column of message lists become conversations?
//!
//! Every field of the messages is handed to the chat template, whatever is nested in it, as it is from JSON lines. What a
//! table cannot tell from an absent field, one that is null, is left out of both (see [`Conversation`]).

use super::Source;
use super::kinds::Kind;
use super::leaves::Leaves;
use super::nested::{Node, Shape, locate};
use super::table::{kind_unless_text, label_of_columns};
use crate::error::CaptureError;
use parquet::schema::types::SchemaDescriptor;
use untangle_model::Conversation;

/// The fields that every message needs.
const NEEDED: [&str; 2] = ["role", "content"];

/// The node of the column that is read, which holds lists of messages.
pub(super) fn find_messages(source: Source<'_>, schema: &SchemaDescriptor) -> Result<Node, CaptureError> {
    let (file, field) = (|| source.label.to_owned(), source.field.to_owned());
    let Some(place) = locate(schema.root_schema().get_fields(), source.field) else {
        return Err(CaptureError::NoColumn { file: file(), field, found: label_of_columns(schema) });
    };
    let node = Node::of(&place.field, place.above, place.column);
    let fields = match &node.shape {
        Shape::List(element, _) => match &element.shape {
            Shape::Fields(fields) => fields.as_slice(),
            _ => &[],
        },
        _ => &[],
    };
    let has = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        let is_text = |node: &Node| node.shape == Shape::Leaf && kind_unless_text(&schema.column(node.first)).is_none();
        // A content may have parts, of text and of other kinds; the role is a word.
        found.is_some_and(|(name, node)| is_text(node) || (name == NEEDED[1] && node.shape != Shape::Leaf))
    };
    if let Some(missing) = NEEDED.into_iter().find(|needed| !has(needed)) {
        return Err(CaptureError::NoMessages { file: file(), field, missing });
    }
    let columns = (node.first..node.first + node.columns).map(|index| schema.column(index));
    let strange = columns.filter_map(|column| Some((column.path().string(), Kind::of(&column).err()?))).next();
    match strange {
        None => Ok(node),
        Some((name, found)) => Err(CaptureError::Unsupported {
            file: file(),
            what: format!("field `{name}` of its messages holds {found}, which has no form in JSON"),
            remedy: "write it as text, or leave it out".to_owned(),
        }),
    }
}

/// A conversation of a row, with the number of byte sequences that were replaced in it; none where it is null.
pub(super) type Row = Option<(Result<Conversation, String>, u64)>;

/// The conversations of some rows; none where the columns contradict each other.
pub(super) fn conversations(node: &Node, leaves: Leaves) -> Option<Vec<Row>> {
    let rows = leaves.rows(node)?;
    let row = |cell: super::nested::Cell| match cell {
        super::nested::Cell::Null => None,
        cell => Some((Conversation::of_table(&cell), cell.faults())),
    };
    Some(rows.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::super::nested::Cell;
    use super::*;
    use parquet::schema::parser::parse_message_type;

    const USUAL: &str = "message m { optional group messages (LIST) { repeated group list { optional group element {
        optional binary role (STRING); optional binary content (STRING); } } } required binary text (STRING); }";

    fn node(schema: &str, name: &str) -> Node {
        let schema = parse_message_type(schema).expect("a schema");
        let place = locate(schema.get_fields(), name).expect("a field");
        Node::of(&place.field, place.above, place.column)
    }

    #[test]
    fn lists_of_all_three_forms_are_lists() {
        let levels = |schema: &str| match node(schema, "messages").shape {
            Shape::List(_, repeated) => (repeated.filled, repeated.again),
            other => panic!("{other:?}"),
        };
        assert_eq!(levels(USUAL), (2, 1));
        assert_eq!(levels("message m { repeated group messages { required binary role (STRING); } }"), (1, 1));
        let two =
            "message m { required group messages (LIST) { repeated group array { optional binary role (STRING); } } }";
        assert_eq!(levels(two), (1, 1));
        assert_eq!(node("message m { optional group a { required binary b (STRING); } }", "a.b").there, 1);
    }

    #[test]
    fn floats_that_are_not_finite_stay() {
        let json = |number: f64| serde_json::to_string(&Cell::Float(number)).expect("JSON");
        for (number, known) in [(f64::NAN, "0e-0999999999"), (f64::INFINITY, "1e999"), (f64::NEG_INFINITY, "-1e999")] {
            assert_eq!((json(number).as_str(), Conversation::json_of_not_finite(number)), (known, known));
        }
        assert_eq!(json(0.5), "0.5");
    }

    #[test]
    fn rows_are_put_together_from_levels_or_contradict_each_other() {
        let text = |text: &str| Cell::Text(text.into());
        let of = |role: &[(i16, i16)], content: &[(i16, i16)]| {
            let column = |levels: &[(i16, i16)]| {
                let values = levels.iter().filter(|level| level.0 == 4).map(|_| text("x")).collect();
                (4, levels.to_vec(), values)
            };
            Leaves::of(vec![column(role), column(content)]).rows(&node(USUAL, "messages"))
        };
        let message = |content: Cell| Cell::Fields(vec![(text("role"), text("x")), (text("content"), content)]);
        // Two messages, null, none, one without content.
        let rows = of(&[(4, 0), (4, 1), (0, 0), (1, 0), (4, 0)], &[(4, 0), (4, 1), (0, 0), (1, 0), (3, 0)]);
        let two = Cell::List(vec![message(text("x")), message(text("x"))]);
        assert_eq!(rows, Some(vec![two, Cell::Null, Cell::List(vec![]), Cell::List(vec![message(Cell::Null)])]));
        assert_eq!(of(&[(4, 0), (4, 1)], &[(4, 0), (4, 0)]), None, "other numbers of messages");
        assert_eq!(of(&[(4, 0), (4, 1)], &[(4, 0)]), None, "a column that ends");
        assert_eq!(of(&[(4, 1)], &[(4, 1)]), None, "a row that begins in its middle");
    }
}
