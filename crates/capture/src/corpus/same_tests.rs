//! Do the same rows give the same documents, whether they come as lines of JSON or as a table?

use super::tests::One;
use super::{CONVERSATION_FIELD, FIELD, Reading};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Everything is optional, as Arrow writes it. Fields stand in the order of their names, in which the lines have them.
const SCHEMA: &str = "message rows {
    optional group messages (LIST) { repeated group list { optional group element {
        optional boolean b;
        optional group call { optional group arguments { optional double x; } optional binary name (STRING); }
        optional binary content (STRING);
        optional int64 n;
        optional binary role (STRING);
        optional group tags (LIST) { repeated group list { optional binary element (STRING); } }
        optional double x;
    } } }
    optional binary text (STRING);
    optional group tools (LIST) { repeated group list { optional group element {
        optional group given (LIST) { repeated group list { optional int64 element; } }
        optional binary name (STRING);
        optional boolean strict;
    } } }
}";

/// The entries of a column: levels, and the values of those that have one.
#[derive(Default)]
struct Column {
    definition: Vec<i16>,
    repetition: Vec<i16>,
    values: Vec<Value>,
}

/// Levels of an entry, and how many lists are above it.
#[derive(Clone, Copy)]
struct At {
    definition: i16,
    repetition: i16,
    lists: i16,
}

/// Adds a value of this type to the columns that begin with `next`, as Dremel divides it (Melnik et al. 2010, section 4.2).
fn divide(kind: &Type, value: &Value, at: At, columns: &mut [Column], next: &mut usize) {
    let inside = At { definition: at.definition + 1, ..at };
    if value.is_null() {
        return end(kind, at, columns, next);
    }
    if kind.is_primitive() {
        columns[*next].values.push(value.clone());
        return end(kind, inside, columns, next);
    }
    let Some(items) = value.as_array() else {
        let field = |field: &Type| value.get(field.name()).unwrap_or(&Value::Null);
        return kind.get_fields().iter().for_each(|kind| divide(kind, field(kind), inside, columns, next));
    };
    if items.is_empty() {
        return end(kind, inside, columns, next);
    }
    let (element, first) = (&kind.get_fields()[0].get_fields()[0], *next);
    for (index, item) in items.iter().enumerate() {
        let repetition = if index == 0 { at.repetition } else { at.lists + 1 };
        *next = first;
        divide(element, item, At { definition: at.definition + 2, repetition, lists: at.lists + 1 }, columns, next);
    }
}

/// An entry in every column below, none of which has more.
fn end(kind: &Type, at: At, columns: &mut [Column], next: &mut usize) {
    if !kind.is_primitive() {
        return kind.get_fields().iter().for_each(|kind| end(kind, at, columns, next));
    }
    columns[*next].definition.push(at.definition);
    columns[*next].repetition.push(at.repetition);
    *next += 1;
}

/// The rows as a table, in groups of so many.
fn table(rows: &[Value], per_group: usize) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::clone(&schema), Arc::default()).expect("a writer");
    for rows in rows.chunks(per_group) {
        let mut columns: Vec<Column> = (0..32).map(|_| Column::default()).collect();
        let start = At { definition: 0, repetition: 0, lists: 0 };
        for row in rows {
            let mut next = 0;
            for kind in schema.get_fields() {
                divide(kind, row.get(kind.name()).unwrap_or(&Value::Null), start, &mut columns, &mut next);
            }
        }
        let (mut group, mut columns) = (writer.next_row_group().expect("a group"), columns.into_iter());
        while let Some(mut to) = group.next_column().expect("a column") {
            let Column { definition, repetition, values } = columns.next().expect("as many");
            let levels = (Some(&definition[..]), Some(&repetition[..]));
            let bytes = |value: &Value| ByteArray::from(value.as_str().expect("a text").as_bytes().to_vec());
            let written = match to.untyped() {
                parquet::column::writer::ColumnWriter::ByteArrayColumnWriter(_) => {
                    let values: Vec<ByteArray> = values.iter().map(bytes).collect();
                    to.typed::<ByteArrayType>().write_batch(&values, levels.0, levels.1)
                }
                parquet::column::writer::ColumnWriter::Int64ColumnWriter(_) => {
                    let values: Vec<i64> = values.iter().map(|value| value.as_i64().expect("whole")).collect();
                    to.typed::<Int64Type>().write_batch(&values, levels.0, levels.1)
                }
                parquet::column::writer::ColumnWriter::DoubleColumnWriter(_) => {
                    let values: Vec<f64> = values.iter().map(double).collect();
                    to.typed::<DoubleType>().write_batch(&values, levels.0, levels.1)
                }
                _ => {
                    let values: Vec<bool> = values.iter().map(|value| value.as_bool().expect("a truth")).collect();
                    to.typed::<BoolType>().write_batch(&values, levels.0, levels.1)
                }
            };
            written.expect("written");
            to.close().expect("closed");
        }
        group.close().expect("closed");
    }
    writer.into_inner().expect("finished")
}

/// What stands for numbers that JSON lacks until the rows are written.
const NOT_FINITE: [(&str, f64); 3] =
    [("§NaN", f64::NAN), ("§Infinity", f64::INFINITY), ("§-Infinity", f64::NEG_INFINITY)];

fn double(value: &Value) -> f64 {
    let found = NOT_FINITE.iter().find(|(name, _)| value == name).map(|(_, number)| *number);
    found.or(value.as_f64()).expect("a number")
}

/// The rows as Python writes them.
fn lines(rows: &[Value]) -> Vec<u8> {
    let mut text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    for (name, _) in NOT_FINITE {
        text = text.replace(&format!("\"{name}\""), name.trim_start_matches('§'));
    }
    text.into_bytes()
}

fn texts() -> impl Strategy<Value = Value> {
    prop_oneof!["\\PC{0,12}", any::<String>(), Just("null".to_owned()), Just(" \n".to_owned())].prop_map(Value::from)
}

fn doubles() -> impl Strategy<Value = Value> {
    let finite = any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from);
    prop_oneof![4 => finite, 1 => Just(json!(-0.0)), 1 => Just(json!(3.0)), 1 => (0..3usize).prop_map(|at| json!(NOT_FINITE[at].0))]
}

/// An object of these fields, of which some are missing; where `nulls`, or null.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>, nulls: bool) -> BoxedStrategy<Value> {
    let field = |(name, value): (&'static str, BoxedStrategy<Value>)| {
        let null = if nulls { Just(Some(Value::Null)).boxed() } else { Just(None).boxed() };
        prop_oneof![3 => value.prop_map(Some), 1 => Just(None), 1 => null].prop_map(move |value| (name, value))
    };
    let fields: Vec<_> = fields.into_iter().map(field).collect();
    let made = |fields: Vec<(&str, Option<Value>)>| {
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>()
    };
    fields.prop_map(move |fields| Value::Object(made(fields))).boxed()
}

fn list(item: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop::collection::vec(item, 0..3).prop_map(Value::from).boxed()
}

fn row() -> BoxedStrategy<Value> {
    let call =
        object(vec![("name", texts().boxed()), ("arguments", object(vec![("x", doubles().boxed())], false))], false);
    let tags = list(prop_oneof![3 => texts(), 1 => Just(Value::Null)]);
    let message = object(
        vec![
            ("content", texts().boxed()),
            ("n", any::<i64>().prop_map(Value::from).boxed()),
            ("x", doubles().boxed()),
            ("b", any::<bool>().prop_map(Value::from).boxed()),
            ("tags", tags),
            ("call", call),
        ],
        true,
    );
    // A message has a role.
    let message = (texts(), message).prop_map(|(role, message)| {
        let rest = message.as_object().expect("an object").clone();
        Value::Object([("role".to_owned(), role)].into_iter().chain(rest).collect())
    });
    let items = list(prop_oneof![3 => any::<i64>().prop_map(Value::from), 1 => Just(Value::Null)]);
    let strict = any::<bool>().prop_map(Value::from).boxed();
    let tool = object(vec![("name", texts().boxed()), ("strict", strict), ("given", items)], false);
    object(vec![("text", texts().boxed()), (CONVERSATION_FIELD, list(message)), ("tools", list(tool))], true)
        // The field that is read is there, if only as null.
        .prop_map(|mut row| {
            for field in [FIELD, CONVERSATION_FIELD] {
                row.as_object_mut().expect("an object").entry(field).or_insert(Value::Null);
            }
            row
        })
        .boxed()
}

const TEMPLATE: &str = "{% for m in messages %}{% for k in ['role', 'content', 'n', 'x', 'b', 'tags', 'call'] %}\
    {% if k in m %}{{ k }}={{ m[k] }}/{{ m[k] | tojson }};{% endif %}{% endfor %}{{ m | length }}\n{% endfor %}\
    {{ tools }}{% for t in tools or [] %}{{ t.name }}{{ t.strict }}\
    {% if 'given' in t %}{{ t['given'] | tojson }}{% endif %}{{ t | length }}{% endfor %}";

fn read(name: &str, content: &[u8], chat: bool) -> Vec<String> {
    let template = untangle_model::ChatTemplate::new("t.jinja".as_ref(), TEMPLATE, &Default::default()).expect("valid");
    let field = if chat { CONVERSATION_FIELD } else { FIELD }.to_owned();
    let one = One::new(name, content);
    let reading = Reading { field, strict: true, chat: chat.then_some(template) };
    One { corpus: one.corpus.read_as(reading).expect("readable"), ..one }.texts()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn tables_and_lines_of_the_same_rows_give_the_same_texts(
        rows in prop::collection::vec(row(), 1..6), per_group in 1usize..6
    ) {
        let (table, lines) = (table(&rows, per_group), lines(&rows));
        for chat in [false, true] {
            prop_assert_eq!(read("a.parquet", &table, chat), read("a.jsonl", &lines, chat));
        }
    }
}

#[test]
fn the_rows_of_the_law_are_those_that_are_meant() {
    let rows = [
        json!({"text": "a", "messages": [{"role": "u", "content": "é", "x": "§NaN", "tags": ["t", null], "call": {"name": "f"}},
        {"role": "v", "n": 7, "b": true, "call": {"arguments": {"x": 0.5}}}], "tools": [{"name": "g", "given": [1, null]}]}),
    ];
    let texts = read("a.parquet", &table(&rows, 1), true);
    assert_eq!(texts, read("a.jsonl", &lines(&rows), true));
    assert!(
        texts[0]
            .starts_with("role=u/\"u\";content=é/\"é\";x=nan/NaN;tags=['t', None]/[\"t\", null];call={'name': 'f'}"),
        "{texts:?}"
    );
    assert!(texts[0].contains("n=7/7;b=True/true;call={'arguments': {'x': 0.5}}"), "{texts:?}");
    assert!(texts[0].ends_with("[{'given': [1, None], 'name': 'g'}]g[1, null]2"), "{texts:?}");
    assert_eq!(read("a.parquet", &table(&rows, 1), false), ["a"]);
}
