//! What templates of the field are made of gives what Python's Jinja2 gives, and what takes too much is refused.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use untangle_model::{ChatTemplate, Conversation, ModelError};
use untangle_schema::{Classify, Event, Fault, Observer, Silent};

/// What `tests/parity/make_chat_fixtures.py` writes.
#[derive(Deserialize)]
struct Idioms {
    conversations: Vec<Conversation>,
    cases: Vec<(String, Vec<Option<String>>)>,
}

fn rendered(source: &str, conversation: &Conversation) -> Result<String, ModelError> {
    let special = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.into(), text.into()));
    ChatTemplate::new(Path::new("t.jinja"), source, &BTreeMap::from(special))?.render(conversation, false, &Silent)
}

/// Parts of sources that Python refuses, or writes addresses of memory for, and that are not here either.
const NOT_HERE: [&str; 1] = [r"\N{DASH}"];

#[test]
fn idioms_give_what_python_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/chat/idioms.json");
    let idioms: Idioms = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(idioms.cases.len() > 500);
    let mut lacking = Vec::new();
    for (source, texts) in &idioms.cases {
        for (text, conversation) in texts.iter().zip(&idioms.conversations) {
            let found = rendered(source, conversation);
            // What Python refuses is refused for what it is, not because something is lacking here.
            if let Err(error) = &found {
                let said = error.to_string();
                let lacks =
                    ["is not supported", "are not supported", "supported only", "steps that one", "MiB of texts"];
                let known = NOT_HERE.iter().any(|part| source.contains(part));
                if !known && lacks.iter().any(|words| said.contains(words)) {
                    lacking.push(format!("{source}: {said}"));
                }
            }
            assert_eq!(found.ok(), *text, "{source}");
        }
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
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

/// Asks to stop when it was asked so often.
struct StopsAt(AtomicU32);

impl Observer for StopsAt {
    fn event(&self, _: Event<'_>) {}

    fn interrupted(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[test]
fn whoever_asks_to_stop_is_heard_within_a_conversation() {
    let source = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(Path::new("t.jinja"), source, &BTreeMap::new()).unwrap();
    for asked in [1, 2, 40] {
        let observer = StopsAt(AtomicU32::new(asked));
        let error = template.render(&Conversation::of_user("Hello"), false, &observer).expect_err("stopped");
        assert!(matches!(error, ModelError::Interrupted), "{error}");
        assert_eq!(error.fault(), Fault::Interrupted);
        assert_eq!(observer.0.into_inner(), 0, "it was asked once more");
    }
    // Also where each takes few steps.
    let short = ChatTemplate::new(Path::new("t.jinja"), "x", &BTreeMap::new()).unwrap();
    let stopped = short.render(&Conversation::of_user("Hello"), false, &StopsAt(AtomicU32::new(1)));
    assert!(matches!(stopped, Err(ModelError::Interrupted)));
}

/// That what is refused, or given, comes within the time that the budget stands for; generous, for slow machines.
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let found = work();
    assert!(began.elapsed() < Duration::from_secs(20), "{what} took {:?}", began.elapsed());
    found
}

#[test]
fn what_a_step_does_takes_no_longer_with_many_names() {
    let names: String = (0..40_000).map(|n| format!("{{%set a{n}=1%}}")).collect();
    let loops = "{% for i in range(99999) %}{% for j in range(99999) %}{{ zz }}{% endfor %}{% endfor %}";
    let said = soon("a name beside many", || refused(&format!("{names}{loops}")));
    assert!(said.contains("steps"), "{said}");
    let parts = |part: &str| part.repeat(200_000);
    let said = soon("a filter of many names", || refused(&format!("{{{{ x|a{} }}}}", parts(".a"))));
    assert!(said.contains("No filter named 'a.a.a") && said.len() < 300, "{said}");
    let said = soon("a test of many names", || refused(&format!("{{{{ x is a{} }}}}", parts(".a"))));
    assert!(said.contains("No test named 'a.a.a") && said.len() < 300, "{said}");
    let said = refused(&format!("{{{{ {} }}}}", "a".repeat(2_000)));
    assert!(said.contains("a name of 2000 bytes"), "{said}");
    let text = soon("many literals", || rendered(&format!("{{{{ {} }}}}", parts("'a'")), &Conversation::of_user("x")));
    assert_eq!(text.unwrap().len(), 200_000);
    let list = |each: &dyn Fn(u32) -> String| (0..20_000).map(each).collect::<Vec<_>>().join(",");
    let (parameters, given) = (list(&|n| format!("a{n}")), list(&|n| format!("a{n}={n}")));
    let call = format!("{{% macro f({parameters}) %}}{{{{ a19999 }}}}{{% endmacro %}}{{{{ f({given}) }}}}");
    assert_eq!(soon("many arguments", || rendered(&call, &Conversation::of_user("x"))).unwrap(), "19999");
}

#[test]
fn work_on_long_texts_is_paid_for_by_their_length() {
    let works = [
        "t | wordcount",
        "t.isprintable()",
        "t.isalpha()",
        "'%r' % t",
        "[t] | string",
        "t.title()",
        "t is lower",
        "t is sameas(u)",
        "d[t]",
        "{}.get(t)",
        "t.strip(u)",
        "t | trim(u)",
        "t.startswith(l)",
        "('x' * 1000000) | wordwrap(1)",
        "[{}] | map(attribute=p, default={}) | list",
        "t | int",
    ];
    let given = "{% set t = 'é' * 1000000 %}{% set u = ('é' * 999999) ~ 'ü' %}{% set d = {t: 1} %}\
        {% set l = ('a', u, u, u, u, u, u, u, u) * 500 %}{% set p = 'a.' * 500000 %}";
    for work in works {
        let loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = ";
        let source = format!("{given}{loops}{work} %}}{{% endfor %}}{{% endfor %}}");
        let said = soon(work, || refused(&source));
        assert!(said.contains("steps") || said.contains("MiB of"), "{work}: {said}");
    }
}
