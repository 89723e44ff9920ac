//! A tiny random model that reads characters, and observers.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use untangle_capture::{CaptureConfig, CaptureError, CapturePlan, Captured, Corpus, capture};
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, Tokenizer, TokenizerFiles};
use untangle_schema::{Event, HookPoint, Observer};

/// Id of `<s>`, the beginning-of-sequence token.
pub const BOS: u32 = 0;
/// Characters that have a token; their ids follow those of `<s>` and `<unk>`.
pub const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz .,\n";

/// Two blocks, width 16, contexts of up to 64.
pub fn model(with_bos: bool) -> LanguageModel {
    let characters = CHARACTERS.chars().enumerate();
    let vocab: Vec<String> =
        characters.map(|(id, c)| format!("{}: {}", serde_json::to_string(&c).expect("json"), id + 2)).collect();
    let bos = if with_bos { r#""bos_token_id": 0, "# } else { "" };
    let config = format!(
        r#"{{"model_type": "gpt2", "vocab_size": {}, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, {bos}
            "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}}"#,
        vocab.len() + 2
    );
    let tokenizer = format!(
        r#"{{"version": "1.0", "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "added_tokens": [{{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}}],
            "model": {{"type": "BPE", "vocab": {{"<s>": 0, "<unk>": 1, {}}}, "merges": [], "unk_token": "<unk>"}}}}"#,
        vocab.join(", ")
    );
    let config = ModelConfig::from_json(Path::new("config.json"), config.as_bytes()).expect("valid");
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(tokenizer.as_bytes()), &config).expect("valid");
    LanguageModel::random(config, 7, Some(tokenizer), &LoadOptions::default()).expect("made")
}

pub fn hooks(names: &[&str]) -> Vec<HookPoint> {
    names.iter().map(|name| name.parse().expect("a hook point")).collect()
}

/// `n` little stories, separated, of different lengths.
pub fn stories(n: usize) -> String {
    let story = |i: usize| {
        let words = ["the cat sat on a mat. ", "one day, ", "a dog ran. ", "they all went home."];
        (0..2 + i * 7 % 11).map(|j| words[(i * 3 + j) % words.len()]).collect::<String>()
    };
    (0..n).map(|i| story(i) + "\n<|endoftext|>\n").collect()
}

pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("written");
    path
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

pub fn run(
    config: &CaptureConfig,
    model: &LanguageModel,
    text: &[PathBuf],
    observer: &dyn Observer,
) -> Result<Captured, CaptureError> {
    let corpus = Corpus::open(text)?;
    capture(&CapturePlan::new(config, model)?, model, &corpus, observer)
}

/// Asks to stop at the `n`-th time that it is asked.
pub struct StopAt {
    left: AtomicU64,
}

impl StopAt {
    pub fn new(n: u64) -> Self {
        StopAt { left: AtomicU64::new(n) }
    }
}

impl Observer for StopAt {
    fn event(&self, _: Event<'_>) {}

    fn interrupted(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub struct Recording {
    pub lines: Mutex<Vec<String>>,
}

impl Observer for Recording {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Started { task, unit, done, total } => format!("{task} {unit:?} {done} of {total}"),
            Event::Advanced { done, figures } => format!("{done} {}", figures[0].0),
            Event::Compared { done, points } => format!("{done} of {}", points.len()),
            Event::Finished => "finished".to_owned(),
            Event::Note(text) => format!("note: {text}"),
            Event::Warning(text) => format!("warning: {text}"),
        };
        self.lines.lock().expect("no panic").push(line);
    }
}
