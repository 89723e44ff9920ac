//! Do conversations become the text that the template makes of them, from whatever they are read?

use super::tests::One;
use super::{Place, Reading};
use crate::error::CaptureError;
use proptest::prelude::*;
use untangle_model::ModelError;
use untangle_schema::{Classify, Event, Fault, Observer, Silent};

/// Written by pyarrow 26 in groups of 7 rows, of which some are null and some empty; `name` is null but for a few
/// messages, and `calls` is a list of its own. The lines of JSON hold the same conversations.
const TABLE: &[u8] = include_bytes!("../../tests/fixtures/chat.parquet");
const LINES: &[u8] = include_bytes!("../../tests/fixtures/chat.jsonl");

fn chat(content: &[u8], strict: bool) -> One {
    chat_of("a.jsonl", content, "messages", strict)
}

fn chat_of(name: &str, content: &[u8], field: &str, strict: bool) -> One {
    templated(TEMPLATE, name, content, field, strict)
}

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}{% if m.name %} ({{ m.name }}){% endif %}: {{ m.content | trim }}{{ eos_token }}{% endfor %}\
        {% if messages and messages[0].role != 'user' %}{{ raise_exception('users come first') }}{% endif %}";

fn templated(template: &str, name: &str, content: &[u8], field: &str, strict: bool) -> One {
    let special = [("eos_token".to_owned(), "</s>".to_owned())].into();
    let template =
        untangle_model::ChatTemplate::new("chat_template.jinja".as_ref(), template, &special).expect("valid");
    let one = One::new(name, content);
    let reading = Reading { field: field.to_owned(), strict, chat: Some(template) };
    One { corpus: one.corpus.read_as(reading).expect("readable"), ..one }
}

#[test]
fn conversations_become_text_by_the_template() {
    let turn =
        "{\"messages\": [{\"role\": \"user\", \"content\": \" Hi \"}, {\"role\": \"model\", \"content\": \"Yes?\"}]}\n";
    let one = chat(format!("{turn}{{\"messages\": null}}\n{turn}").as_bytes(), true);
    assert_eq!(one.texts(), ["user: Hi</s>model: Yes?</s>"; 2]);
    assert_eq!(one.assert_resumes(), 2);
    let wrong = |line: &str| chat(format!("{turn}{line}\n").as_bytes(), false).refusal();
    let refused = wrong("{\"messages\": [{\"role\": \"model\", \"content\": \"x\"}]}");
    assert_eq!(refused, "a.jsonl: line 2 is a conversation that the chat template refuses: users come first");
    assert!(wrong("{\"messages\": \"x\"}").contains("line 2 field `messages`: a string where a list of messages"));
    assert!(wrong("{\"text\": \"x\"}").contains("line 2 has no field `messages`"));
    let bytes = b"{\"messages\": [{\"role\": \"user\", \"content\": \"a\xff\"}]}";
    let found = chat(bytes, false).read(Place::default());
    assert_eq!((found[0].text.as_str(), found[0].replaced), ("user: a\u{fffd}</s>", 1));
    assert!(chat(bytes, true).refusal().starts_with("a.jsonl: line 1 (byte 44) is not UTF-8"));
    let reading = chat(b"", false).corpus.reading().clone();
    let plain = One::new("a.txt", b"x").corpus.read_as(reading).expect_err("no conversations").to_string();
    assert!(plain.contains("conversations are read from JSON lines"), "{plain}");
}

#[test]
fn numbers_are_those_that_python_reads() {
    let template = "{{ messages[0].content }} {{ messages[0] | tojson }}";
    let half = "\u{fffd}";
    let cases = [
        ("12345678901234567890123", "12345678901234567890123", "12345678901234567890123", 0),
        ("-0", "0", "0", 0),
        ("-0.0", "-0.0", "-0.0", 0),
        ("1e400", "inf", "Infinity", 0),
        ("NaN", "nan", "NaN", 0),
        ("[Infinity, -Infinity]", "[inf, -inf]", "[Infinity, -Infinity]", 0),
        (r#""\ud83d NaN""#, &format!("{half} NaN"), &format!("\"{half} NaN\""), 1),
        (r#"[NaN, "\ud83d"]"#, &format!("[nan, '{half}']"), &format!("[NaN, \"{half}\"]"), 1),
    ];
    for (json, shown, dumped, replaced) in cases {
        // What stands beside the conversation does not matter.
        let line = format!("{{\"n\": NaN, \"messages\": [{{\"role\": \"a\", \"content\": {json}}}]}}");
        let found = templated(template, "a.jsonl", line.as_bytes(), "messages", false).read(Place::default());
        let expected = format!("{shown} {{\"role\": \"a\", \"content\": {dumped}}}");
        assert_eq!((found[0].text.as_str(), found[0].replaced), (expected.as_str(), replaced));
    }
    let refused = chat(b"{\"messages\": [{\"role\": \"user\", \"content\": 1e}]}", false).refusal();
    assert!(refused.contains("line 1 is no JSON"), "{refused}");
    let long = format!("{{\"messages\": [{{\"role\": \"user\", \"content\": {}}}]}}", "9".repeat(60));
    assert!(chat(long.as_bytes(), false).refusal().contains("more than 128 bits"));
}

const TOOLED: &str = "{% for m in messages %}{{ m.content }}{% endfor %}|{{ tools is none }}{% if tools %}{% for t in tools %}\
    {{ t | tojson }}{% endfor %}{% endif %}|{{ documents[0].title if documents else '-' }}";

#[test]
fn tools_and_documents_beside_a_conversation_reach_the_template() {
    let turn = r#"[{"role": "user", "content": "Hi"}]"#;
    let tool = r#"{"name": "f", "x": null}"#;
    let text = serde_json::to_string(&format!("[{tool}]")).expect("JSON");
    let read = |field: &str, line: String| {
        let found = templated(TOOLED, "a.jsonl", line.as_bytes(), field, false).read(Place::default());
        found[0].text.clone()
    };
    let with = format!("Hi|False{tool}|-");
    assert_eq!(read("messages", format!(r#"{{"messages": {turn}}}"#)), "Hi|True|-");
    for tools in ["null", "\"\"", "\"null\""] {
        assert_eq!(read("messages", format!(r#"{{"tools": {tools}, "messages": {turn}}}"#)), "Hi|True|-");
    }
    assert_eq!(read("messages", format!(r#"{{"tools": [], "messages": {turn}}}"#)), "Hi|False|-");
    assert_eq!(read("messages", format!(r#"{{"tools": [{tool}], "messages": {turn}}}"#)), with);
    assert_eq!(read("messages", format!(r#"{{"messages": {turn}, "tools": {text}}}"#)), with);
    // Those beside the field that is read, and no others.
    let nested =
        format!(r#"{{"a": {{"messages": {turn}, "tools": [{tool}]}}, "tools": [], "documents": [{{"title": "T"}}]}}"#);
    assert_eq!(read("a.messages", nested), with);
    let documents = format!(r#"{{"messages": {turn}, "documents": [{{"title": "T"}}]}}"#);
    assert_eq!(read("messages", documents), "Hi|True|T");
    let line = format!(r#"{{"messages": {turn}, "tools": ["search"]}}"#);
    let refused = templated(TOOLED, "a.jsonl", line.as_bytes(), "messages", false).refusal();
    assert!(refused.contains("line 1 field `tools`: a list with a string where a list of objects"), "{refused}");
    // A template that has no word of them gets none.
    assert_eq!(templated("{{ messages[0].content }}", "a.jsonl", line.as_bytes(), "messages", false).texts(), ["Hi"]);
}

/// Asks to stop at once.
struct Stops;

impl Observer for Stops {
    fn event(&self, _: Event<'_>) {}

    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn whoever_asks_to_stop_is_heard_while_a_template_is_at_work() {
    let endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    let line = b"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}";
    for (name, content) in [("a.jsonl", &line[..]), ("a.parquet", TABLE)] {
        let one = templated(endless, name, content, "messages", false);
        let (file, path) = (&one.corpus.files()[0], one.corpus.files()[0].bring(&Silent).expect("there"));
        let mut documents = one.corpus.documents(file, &path, false, Place::default(), &Stops).expect("opened");
        let error = documents.next().expect_err("stopped");
        assert!(matches!(error, CaptureError::Model(ModelError::Interrupted)), "{error}");
        assert_eq!(error.fault(), Fault::Interrupted);
    }
}

fn table(field: &str, strict: bool) -> One {
    chat_of("a.parquet", TABLE, field, strict)
}

#[test]
fn tables_give_the_conversations_of_lines() {
    let (of_table, of_lines) = (table("messages", true), chat(LINES, true));
    let texts = of_table.texts();
    // 40 rows, of which rows 5, 18 and 31 are null and 9, 22 and 35 hold no message.
    assert_eq!(texts.len(), 34);
    assert_eq!(texts[0], "user (Anna): Is cat 0 on mat 0?</s>assistant: It is.</s>");
    assert_eq!(texts, of_lines.texts());
    assert_eq!(of_table.assert_resumes(), 34);
}

#[test]
fn tables_without_conversations_are_refused_by_column_and_row() {
    let refusal = |field: &str| table(field, false).refusal();
    let listed = "it has id, messages.list.element.role, messages.list.element.content, ";
    assert!(refusal("turns").starts_with(&format!("a.parquet: no column `turns`; {listed}")), "{}", refusal("turns"));
    let no_list = "a.parquet: column `id` is no list of messages with text as `role` and `content` (it lacks `role`)";
    assert!(refusal("id").starts_with(no_list), "{}", refusal("id"));
    assert!(
        refusal("odd").contains("column `odd` is no list of messages") && refusal("odd").contains("lacks `content`")
    );
    assert_eq!(refusal("bad"), "a.parquet: row 31 column `bad`: message 0 is no object with a `role`");
}

#[test]
fn bytes_in_tables_that_are_not_utf8_are_replaced_and_counted_or_refused() {
    let content = super::tests::conversation_table(b"a\xffb");
    let one = chat_of("a.parquet", &content, "messages", false);
    let found = one.read(Place::default());
    assert_eq!((found[0].text.as_str(), found[0].replaced), ("user: a\u{fffd}b</s>", 1));
    let refused = chat_of("a.parquet", &content, "messages", true).refusal();
    assert!(refused.starts_with("a.parquet: row 1 is not UTF-8"), "{refused}");
}

/// Written by pyarrow: `tool_calls` and `name` are null in every message, of which Arrow makes columns of nothing.
#[test]
fn fields_that_are_null_in_every_message_are_none() {
    let content = include_bytes!("../../tests/fixtures/nulls.parquet");
    let texts = chat_of("a.parquet", content, "messages", true).texts();
    assert!(!texts.is_empty());
    assert!(texts.iter().all(|text| text.starts_with("user: ")), "{texts:?}");
}

/// Written by pyarrow; the values are those that Python's `str` gives of what pyarrow reads.
#[test]
fn values_that_json_lacks_are_written_as_python_writes_them() {
    let content = include_bytes!("../../tests/fixtures/kinds.parquet");
    let template = "{% for m in messages %}{% for name in ['us_utc', 'ms', 'ns', 'date', 'time', 'time_ms', 'decimal', 'half', \
        'nothing', 'flag', 'big'] %}{{ m[name] }}|{% endfor %}{{ '\\n' }}{% endfor %}";
    let texts = templated(template, "a.parquet", content, "messages", true).texts();
    let expected = [
        "2023-04-09 00:02:53+00:00|2023-04-09 00:02:53|2023-04-09 00:02:53+00:00|2023-04-09|00:02:53|00:02:53|-1.250|-1.25||True|18446744073709551615|",
        "1969-12-31 23:59:59.999999+00:00|1969-12-31 23:59:59.999000|1969-12-31 23:59:59.999999+00:00|1969-12-31|23:59:59.999999|23:59:59|1234.500|1234.0||False|18446744073709551615|",
    ];
    assert_eq!(texts, [format!("{}\n{}\n", expected[0], expected[1])]);
}

/// Written by pyarrow, in less than two kilobytes each: one row of 30 million messages that are null, and one of 80 times the same
/// mebibyte behind one that is read.
#[test]
fn rows_that_no_memory_holds_are_named_before_they_are_made() {
    for (content, said) in [
        (
            &include_bytes!("../../tests/fixtures/long-row.parquet")[..],
            "a.parquet: row 1 has more than 262144 messages",
        ),
        (include_bytes!("../../tests/fixtures/repeated-text.parquet"), "a.parquet: row 2 is longer than 64 MiB"),
    ] {
        assert!(content.len() < 2000);
        let refusal = chat_of("a.parquet", content, "messages", false).refusal();
        assert!(refusal.starts_with(said), "`{refusal}` does not say `{said}`");
    }
}

proptest! {
    /// Whatever is done to a table, reading it ends, in conversations or in an error.
    #[test]
    fn no_damage_makes_reading_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut content = TABLE.to_vec();
        let at = at.index(content.len());
        content[at] = byte;
        let _ = chat_of("a.parquet", &content, "messages", false).try_read(Place::default());
    }
}
