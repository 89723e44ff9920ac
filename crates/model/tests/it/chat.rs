//! Conversations become the text that transformers makes of them, and what no template can render is refused.

use crate::support::copy_of;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use untangle_model::{Beside, ChatTemplate, Conversation, LanguageModel, LoadOptions, ModelError};
use untangle_schema::{BosPolicy, Classify, Fault, Silent};

/// One of `tests/parity/make_chat_fixtures.py`.
#[derive(Deserialize)]
struct Case {
    template: String,
    special: BTreeMap<String, String>,
    messages: Value,
    add_generation_prompt: bool,
    text: Option<String>,
    error: Option<String>,
}

fn parity(what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity").join(what)
}

fn template(name: &str, special: &BTreeMap<String, String>) -> ChatTemplate {
    let path = parity("chat_templates").join(format!("{name}.jinja"));
    ChatTemplate::new(&path, &fs::read_to_string(&path).unwrap(), special).unwrap()
}

#[test]
fn texts_equal_those_of_transformers() {
    let file = fs::read_to_string(parity("fixtures/chat/cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&file).unwrap();
    // Once more as they stand, so that the order of an object's fields is that of the file.
    let conversations: Vec<Messages> = serde_json::from_str(&file).unwrap();
    assert!(cases.len() > 100);
    assert!(conversations.iter().filter(|conversation| conversation.tools.is_some()).count() > 50);
    for (case, Messages { messages, tools, documents }) in cases.iter().zip(conversations) {
        let template = template(&case.template, &case.special);
        let messages = messages.with([tools, documents].map(Option::unwrap_or_default));
        let found = template.render(&messages, case.add_generation_prompt, &Silent);
        let what = format!("{}: {}", case.template, case.messages);
        match (&case.text, &case.error, found) {
            (Some(text), _, found) => assert_eq!(&found.unwrap(), text, "{what}"),
            (_, Some(said), Err(ModelError::Conversation { reason, .. })) => assert_eq!(&reason, said, "{what}"),
            (_, _, found) => panic!("{what}: {found:?}"),
        }
    }
}

#[derive(Deserialize)]
struct Messages {
    messages: Conversation,
    tools: Option<Beside>,
    documents: Option<Beside>,
}

/// A folder with the tiny llama and these files of its tokenizer.
fn model(config: &Value, own_file: Option<&str>) -> (tempfile::TempDir, Result<LanguageModel, ModelError>) {
    let dir = copy_of("llama");
    let vocab: Vec<String> = ["<unk>", "<s>", "</s>", "u", "h", "i", ":", "a"].map(str::to_owned).into();
    let special = |id: usize| {
        json!({"id": id, "content": vocab[id], "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true})
    };
    let ids: BTreeMap<_, _> = vocab.iter().enumerate().map(|(id, token)| (token.clone(), id)).collect();
    let tokenizer = json!({"version": "1.0", "added_tokens": [special(0), special(1), special(2)], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": ids, "merges": [], "unk_token": "<unk>"}});
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    if let Some(own) = own_file {
        fs::write(dir.path().join("chat_template.jinja"), own).unwrap();
    }
    let loaded = LanguageModel::load(dir.path(), &LoadOptions::default());
    (dir, loaded)
}

fn rendered(config: Value, own_file: Option<&str>) -> Result<String, ModelError> {
    let (_dir, model) = model(&config, own_file);
    let model = model.unwrap();
    model.tokenizer().unwrap().chat_template()?.render(&Conversation::of_user("hi"), true, &Silent)
}

#[test]
fn the_template_is_found_where_tokenizers_keep_it() {
    let inside = "{{ bos_token }}u:{{ messages[0].content }}";
    let named = json!([{"name": "tool_use", "template": "x"}, {"name": "default", "template": inside}]);
    let bos = json!({"content": "<s>", "lstrip": false});
    assert_eq!(rendered(json!({"chat_template": inside, "bos_token": "<s>"}), None).unwrap(), "<s>u:hi");
    assert_eq!(rendered(json!({"chat_template": named, "bos_token": bos}), None).unwrap(), "<s>u:hi");
    let object = json!({"tool_use": "x", "default": inside});
    assert_eq!(rendered(json!({"chat_template": object, "bos_token": "<s>"}), None).unwrap(), "<s>u:hi");
    let none = rendered(json!({"chat_template": {"rag": inside}}), None).unwrap_err().to_string();
    assert!(none.contains("several chat templates, and none is called `default`"), "{none}");
    let own = Some("{{ messages[0].content }}{{ eos_token }}{{ add_generation_prompt }}");
    let found = rendered(json!({"chat_template": inside, "eos_token": "</s>"}), own).unwrap();
    assert_eq!(found, "hi</s>True", "the file of its own comes first");
}

#[test]
fn conversations_with_tools_take_the_template_that_is_meant_for_them() {
    let (_dir, model) =
        model(&json!({"chat_template": {"default": "plain", "tool_use": "{{ tools | length }}"}}), None);
    let template = model.unwrap().tokenizer().unwrap().chat_template().unwrap();
    let with = |tools: &str| {
        let talk = Conversation::of_user("hi").with([serde_json::from_str(tools).unwrap(), Beside::default()]);
        template.render(&talk, true, &Silent).unwrap()
    };
    assert_eq!([with("null"), with("[]"), with(r#"[{"name": "f"}]"#)], ["plain", "0", "1"]);
    assert_eq!(template.note(), None);
}

#[test]
fn a_template_that_asks_for_the_date_is_told_of() {
    let (_dir, model) = model(&json!({"chat_template": "{{ strftime_now('%d %b %Y') }}"}), None);
    let template = model.unwrap().tokenizer().unwrap().chat_template().unwrap();
    assert!(template.note().unwrap().contains("is told 26 July 2024 on every day"));
    assert_eq!(template.render(&Conversation::of_user("hi"), true, &Silent).unwrap(), "26 Jul 2024");
}

#[test]
fn models_without_a_template_or_with_a_damaged_one_say_so() {
    let missing = rendered(json!({}), None).unwrap_err();
    assert!(missing.to_string().contains("the model has no chat template"), "{missing}");
    assert_eq!(missing.fault(), Fault::BadInput);
    let damaged = rendered(json!({"chat_template": "{% for x in %}"}), None).unwrap_err();
    assert_eq!(damaged.fault(), Fault::BadInput);
    let text = damaged.to_string();
    assert!(
        text.contains("tokenizer_config.json: its chat template cannot be read: ") && !text.contains('\n'),
        "{text}"
    );
    let refused = rendered(json!({"chat_template": "{{ messages[0].content.x.y }}"}), None).unwrap_err();
    assert_eq!(refused.fault(), Fault::BadInput, "{refused}");
}

#[test]
fn the_beginning_of_sequence_token_of_a_template_is_not_doubled() {
    let (_dir, model) = model(&json!({"chat_template": "{{ bos_token }}u:hi", "bos_token": "<s>"}), None);
    let model = model.unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let text = tokenizer.chat_template().unwrap().render(&Conversation::of_user("hi"), false, &Silent).unwrap();
    assert_eq!(tokenizer.encode_with_bos(&text, BosPolicy::Auto).unwrap(), [1, 3, 6, 4, 5]);
}
