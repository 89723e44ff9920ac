//! What templates of the field are made of gives what Python's Jinja2 gives, and what takes too much is refused.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use untangle_model::{ChatTemplate, Conversation, ModelError};

/// What `tests/parity/make_chat_fixtures.py` writes.
#[derive(Deserialize)]
struct Idioms {
    conversations: Vec<Conversation>,
    cases: Vec<(String, Vec<Option<String>>)>,
}

fn rendered(source: &str, conversation: &Conversation) -> Result<String, ModelError> {
    let special = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.into(), text.into()));
    ChatTemplate::new(Path::new("t.jinja"), source, &BTreeMap::from(special))?.render(conversation, false)
}

#[test]
fn idioms_give_what_python_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/chat/idioms.json");
    let idioms: Idioms = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(idioms.cases.len() > 500);
    for (source, texts) in &idioms.cases {
        for (text, conversation) in texts.iter().zip(&idioms.conversations) {
            assert_eq!(rendered(source, conversation).ok(), *text, "{source}");
        }
    }
}

/// The error of a template that must be refused.
fn refused(source: &str) -> String {
    rendered(source, &Conversation::of_user("Hello")).expect_err(source).to_string()
}

#[test]
fn work_without_end_is_refused_by_the_budget_that_it_exceeds() {
    let double = |what: &str| {
        format!(
            "{{% set ns = namespace(a='<%' * 999) %}}{{% for i in range(60) %}}{{% set ns.a = {what} %}}{{% endfor %}}"
        )
    };
    let doubled = [
        "ns.a ~ ns.a",
        "ns.a + ns.a",
        "ns.a * 2",
        "ns.a.replace('<', '<<')",
        "[ns.a, ns.a] | join",
        "'%s%s' % (ns.a, ns.a)",
        "'{0}{0}'.format(ns.a)",
        "[ns.a, ns.a] | string",
        "[ns.a, ns.a] | tojson",
        "(ns.a | list) * 2",
    ];
    for what in doubled {
        let said = refused(&double(what));
        assert!(said.contains("MiB of texts and lists") || said.contains("steps"), "{what}: {said}");
    }
    for wide in [
        "'x' * 10**12",
        "[1] * 10**12",
        "'a'.ljust(10**15)",
        "'a' | center(10**15)",
        "'%9999999999d' % 3",
        "'{:>9999999999}'.format('a')",
        "'a\\nb' | indent(10**15)",
        "'\\t'.expandtabs(10**15)",
        "[1] | tojson(indent=10**15)",
        "[1] | batch(10**15, 0) | list",
    ] {
        let said = refused(&format!("{{{{ {wide} }}}}"));
        assert!(said.contains("MiB of texts and lists"), "{wide}: {said}");
    }
    let shared = "{% set ns = namespace(a=(1,)) %}{% for i in range(200) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}";
    for source in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x".to_owned(),
        "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}".to_owned(),
        format!("{shared}{{{{ ns.a }}}}"),
        format!("{shared}{{{{ ns.a == ns.a[0] or {{ns.a: 1}} }}}}"),
        format!("{shared}{{{{ ns.a | tojson }}}}"),
    ] {
        let said = refused(&source);
        assert!(said.contains("steps") || said.contains("MiB of"), "{source}: {said}");
    }
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
    ] {
        assert!(refused(source).contains("levels inside each other"), "{source}");
    }
    let deep = "{% set ns = namespace(a=1) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% endfor %}";
    assert!(refused(deep).contains("nested more than"));
}

#[test]
fn chains_of_any_length_overflow_no_stack() {
    let chain = |head: &str, link: &str| format!("{{{{ {head}{} }}}}", link.repeat(60_000));
    let around = |open: &str, close: &str| format!("{{{{ {}1{} }}}}", open.repeat(60_000), close.repeat(60_000));
    for source in [
        chain("1", " + 1"),
        chain("x", ".a"),
        chain("x", "|e"),
        chain("x", "()"),
        chain("x", "[0]"),
        chain("1", " and 1"),
        chain("1", " if 1"),
        chain("1", " if 1 else 1"),
        around("(", ")"),
        around("[", "]"),
        around("{1:", "}"),
        around("not ", ""),
        around("-", ""),
        around("{% if 1 %}", ""),
        around("{% set ((", ""),
    ] {
        let said = refused(&source);
        assert!(said.len() < 300, "{said}");
    }
    // What is long and not deep is fine.
    let found = rendered(&chain("1", " ~ 1"), &Conversation::of_user("Hello")).unwrap();
    assert_eq!(found.len(), 60_001);
    assert_eq!(rendered(&"{{ 1 }}\n\n".repeat(20_000), &Conversation::of_user("Hello")).unwrap().len(), 59_999);
}

#[test]
fn what_a_template_raises_is_said_as_it_says_it() {
    assert!(refused("{{ raise_exception('No \"way\", é') }}").ends_with("No \"way\", é"));
}
