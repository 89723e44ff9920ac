//! A chat template, and a conversation that it renders.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::Path;
use untangle_fuzz::two;
use untangle_model::{ChatTemplate, Conversation};
use untangle_schema::Silent;

fuzz_target!(init: untangle_fuzz::catch_as_the_readers_do(), |data: &[u8]| {
    let (template, conversation) = two(data);
    let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    let Ok(template) =
        ChatTemplate::new(Path::new("chat_template.jinja"), &String::from_utf8_lossy(template), &special)
    else {
        return;
    };
    let conversation = serde_json::from_slice(conversation).unwrap_or_else(|_| Conversation::of_user("hello"));
    let _ = template.render(&conversation, true, &Silent);
});
