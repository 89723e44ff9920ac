//! How does a column of message lists become conversations?
//!
//! Every field of the messages is handed to the chat template, whatever is nested in it, as it is from JSON lines. What a
//! table cannot tell from an absent field, one that is null, is left out of both (see [`Conversation`]).

use super::columns::{kind_unless_text, label_of_columns};
use super::kinds::Kind;
use super::leaves::Leaves;
use super::nested::{Cell, Node, Shape, locate};
use super::source::Source;
use crate::error::CaptureError;
use parquet::schema::types::SchemaDescriptor;
use untangle_model::{Beside, ChatTemplate, Conversation};

/// The fields that every message needs.
const NEEDED: [&str; 2] = ["role", "content"];

/// What is read of a row.
#[derive(Debug)]
pub(super) struct Nodes {
    messages: Node,
    /// What stands beside, in the order of [`Beside::NAMES`].
    beside: [Option<Node>; 2],
    /// The columns of all of it, in order.
    pub(super) columns: Vec<usize>,
}

impl Nodes {
    /// Finds the column of conversations and what the template asks for beside it.
    pub(super) fn find(
        source: Source<'_>,
        template: &ChatTemplate,
        schema: &SchemaDescriptor,
    ) -> Result<Self, CaptureError> {
        let messages = find_messages(source, schema)?;
        let mut beside = [None, None];
        for (name, found) in Beside::NAMES.into_iter().zip(&mut beside).filter(|(name, _)| template.asks_for(name)) {
            let name = beside_of(source.field, name);
            if let Some(place) = locate(schema.root_schema().get_fields(), &name) {
                *found = Some(checked(source, schema, Node::of(&place.field, place.above, place.column))?);
            }
        }
        let mut columns: Vec<usize> =
            [&messages].into_iter().chain(beside.iter().flatten()).flat_map(Node::range).collect();
        columns.sort_unstable();
        columns.dedup();
        Ok(Nodes { messages, beside, columns })
    }
}

/// The name of what stands beside a field.
pub(super) fn beside_of(field: &str, name: &str) -> String {
    field.rsplit_once('.').map_or_else(|| name.to_owned(), |(above, _)| format!("{above}.{name}"))
}

/// The node of the column that is read, which holds lists of messages.
fn find_messages(source: Source<'_>, schema: &SchemaDescriptor) -> Result<Node, CaptureError> {
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
    checked(source, schema, node)
}

/// The node, all of whose columns have a form in JSON.
fn checked(source: Source<'_>, schema: &SchemaDescriptor, node: Node) -> Result<Node, CaptureError> {
    let columns = node.range().map(|index| schema.column(index));
    let strange = columns.filter_map(|column| Some((column.path().string(), Kind::of(&column).err()?))).next();
    match strange {
        None => Ok(node),
        Some((name, found)) => Err(CaptureError::Unsupported {
            file: source.label.to_owned(),
            what: format!("field `{name}` of its conversations holds {found}, which has no form in JSON"),
            remedy: "write it as text, or leave it out".to_owned(),
        }),
    }
}

/// A conversation of a row, with the number of byte sequences that were replaced in it; none where it is null.
pub(super) type Row = Option<(Result<Conversation, String>, u64)>;

/// The conversations of some rows; none where the columns contradict each other.
pub(super) fn conversations(nodes: &Nodes, leaves: Leaves) -> Option<Vec<Row>> {
    let named = Beside::NAMES.into_iter().zip(&nodes.beside).filter_map(|(name, node)| Some((name, node.as_ref()?)));
    let (names, beside): (Vec<_>, Vec<_>) = named.unzip();
    let all: Vec<&Node> = [&nodes.messages].into_iter().chain(beside).collect();
    Some(leaves.rows(&all)?.into_iter().map(|cells| row(&names, &cells)).collect())
}

/// The conversation of a row, whose cells are its messages and what stands beside them under these names.
fn row(names: &[&str], cells: &[Cell]) -> Row {
    let (messages, beside) = cells.split_first().filter(|(messages, _)| **messages != Cell::Null)?;
    let conversation = Conversation::of_table(messages).and_then(|conversation| {
        let mut lists = <[Beside; 2]>::default();
        for (list, known) in lists.iter_mut().zip(Beside::NAMES) {
            let cell = names.iter().zip(beside).find(|(name, _)| **name == known);
            if let Some((name, cell)) = cell {
                *list = Beside::of_table(cell).map_err(|problem| format!("`{name}` beside it: {problem}"))?;
            }
        }
        Ok(conversation.with(lists))
    });
    Some((conversation, cells.iter().map(Cell::faults).sum()))
}

#[cfg(test)]
mod tests {
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
            Leaves::of(vec![column(role), column(content)])
                .rows(&[&node(USUAL, "messages")])
                .map(|rows| rows.into_iter().flatten().collect::<Vec<_>>())
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
