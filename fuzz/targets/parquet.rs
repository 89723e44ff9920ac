//! Documents in a parquet table, of texts and of conversations.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use untangle_capture::corpus::{FIELD, Reading};
use untangle_capture::fuzz::documents;
use untangle_fuzz::Folder;
use untangle_model::ChatTemplate;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
static READINGS: LazyLock<Vec<Reading>> = LazyLock::new(|| {
    let template = "{% for message in messages %}{{ message }}\n{% endfor %}";
    let chat = ChatTemplate::new(Path::new("chat_template.jinja"), template, &BTreeMap::new()).expect("a template");
    let reading = |field: &str, strict, chat| Reading { field: field.to_owned(), strict, chat };
    vec![reading(FIELD, false, None), reading("meta.url", true, None), reading("messages", false, Some(chat))]
});

fuzz_target!(init: untangle_fuzz::catch_as_the_readers_do(), |data: &[u8]| {
    let path = FOLDER.file("x.parquet", data);
    for reading in READINGS.iter() {
        let _ = documents(&path, reading.clone());
    }
});
