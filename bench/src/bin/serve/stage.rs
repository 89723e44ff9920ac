//! A model of GPT-2 small's shape, a dictionary of 65,536 random features, and what a database would know of them.

use crate::shape::{config, dictionary, model};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use untangle_interpret::database::sae_sha256;
use untangle_interpret::steer::{Dictionary, Kind};
use untangle_interpret::{Database, DatabaseWriter, Run};
use untangle_model::{LanguageModel, Tokenizer, TokenizerFiles};
use untangle_sae::Sae;
use untangle_schema::mix::mix;
use untangle_schema::{
    BosPolicy, Event, Example, FeatureCard, Histogram, Label, LabelKind, LogitEffect, Nearness, Neighbour, Observer,
    Score,
};
use untangle_serve::{Limits, Listener, ServeOptions, Served, Server};

pub(crate) const FEATURES: usize = 65_536;
/// Examples of a feature, tokens of each, raised tokens and neighbours: those that `untangle features` keeps.
const EXAMPLES: usize = 20;
const WINDOW: usize = 32;
const EFFECTS: usize = 20;
const NEAR: usize = 10;

/// Ends the server when its clients are done.
struct Until(AtomicBool);

impl Observer for Until {
    fn event(&self, _: Event<'_>) {}

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Serves all of it while `clients` ask.
pub(crate) fn serving(clients: impl FnOnce(SocketAddr) + Send) {
    let (model, sae) = (model_of_letters(), dictionary(FEATURES));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.db");
    describe(&path, &sae);
    let database = Database::open(&path).expect("written");
    let dictionaries = [Dictionary { name: "wide", kind: Kind::Sae(&sae), database: Some(&database) }];
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), None).expect("a port");
    let (address, until) = (listener.address(), Until(AtomicBool::new(false)));
    let served = Served { model: &model, dictionaries: &dictionaries, vectors: &[] };
    let template = Err("this model does not reply".to_owned());
    let options = ServeOptions {
        limits: Limits::default(),
        bos: BosPolicy::Auto,
        template,
        variants: BTreeMap::new(),
        origin: Default::default(),
        tray: Vec::new(),
        trainings: None,
        subjects: None,
    };
    let server = Server::new(listener, served, options).expect("ready");
    thread::scope(|scope| {
        scope.spawn(|| {
            clients(address);
            until.0.store(true, Ordering::SeqCst);
        });
        server.run(&until);
    });
}

/// Of sixty-four letters, each a token, in a vocabulary of GPT-2's size.
fn model_of_letters() -> LanguageModel {
    let letters = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['.', ',']);
    let vocab: serde_json::Map<String, Value> =
        letters.enumerate().map(|(id, letter)| (letter.to_string(), json!(id))).collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": []}
    });
    let tokenizer = TokenizerFiles::in_memory(tokenizer.to_string().as_bytes());
    model(Some(Tokenizer::new(&tokenizer, &config()).expect("one")))
}

/// Writes a database with as much of every feature as a real one has.
fn describe(path: &Path, sae: &Sae) {
    let mut writer = DatabaseWriter::create(path, false).expect("a file");
    (0..FEATURES).for_each(|feature| writer.put(card(feature)).expect("written"));
    let run = Run {
        tool_version: "0".to_owned(),
        sae: "wide".to_owned(),
        config: serde_json::to_value(sae.written()).expect("JSON"),
        sae_sha256: sae_sha256(sae),
        store: "store.h5".to_owned(),
        store_content: String::new(),
        model: None,
        rows: 1_000_000,
        held_out_rows: 50_000,
        seed: 0,
        is_frozen: false,
        parts: Vec::new(),
        frozen: None,
    };
    writer.finish(&run).expect("finished");
}

fn card(feature: usize) -> FeatureCard {
    let drawn = |at: usize| mix((feature * 4096 + at) as u64);
    let word = |at: usize| format!(" word{}", drawn(at) % 5000);
    let example = |number: usize| Example {
        row: drawn(number) % 1_000_000,
        document: number as u32,
        position: 7,
        activation: 10.0 - number as f32 / 4.0,
        tokens: (0..WINDOW).map(|at| word(100 * number + at)).collect(),
        activations: (0..WINDOW).map(|at| if at == WINDOW / 2 { 10.0 - number as f32 / 4.0 } else { 0.0 }).collect(),
        peak: WINDOW / 2,
    };
    let effect = |at: usize| LogitEffect { token: word(9000 + at), id: at as u32, effect: 1.0 - at as f32 / 40.0 };
    let near = |kind: Nearness| {
        move |at: usize| Neighbour {
            kind,
            feature: (mix((feature * 64 + at) as u64) % FEATURES as u64) as usize,
            value: 0.5,
        }
    };
    let (value, scorer) = ((drawn(1) % 1000) as f64 / 1000.0, untangle_schema::label::F1.to_owned());
    let score = Score {
        judge: None,
        scorer,
        value,
        interval: None,
        floor: Some(0.1),
        control: Some(0.1),
        n: 50_000,
        detail: BTreeMap::new(),
    };
    let label = |kind, source: &str, text: String, scores| Label { kind, source: source.to_owned(), text, scores };
    FeatureCard {
        feature,
        density: 10_f64.powf(-1.0 - (drawn(2) % 400) as f64 / 100.0),
        max_activation: 10.0,
        mean_activation: 3.0,
        histogram: Histogram { edges: (0..21).map(|at| 1.2_f32.powi(at)).collect(), counts: vec![7; 20] },
        held_out_firings: 50,
        labels: vec![
            label(LabelKind::Input, "tokens", format!("\"{}\" / \"{}\"", word(0), word(1)), vec![score]),
            label(LabelKind::Output, "logit-lens", format!("makes likelier: {}", word(9000)), Vec::new()),
        ],
        examples: (0..EXAMPLES).map(example).collect(),
        sampled: (EXAMPLES..2 * EXAMPLES).map(example).collect(),
        top_logits: (0..EFFECTS).map(effect).collect(),
        bottom_logits: (EFFECTS..2 * EFFECTS).map(effect).collect(),
        neighbours: (0..NEAR)
            .map(near(Nearness::Decoder))
            .chain((NEAR..2 * NEAR).map(near(Nearness::Coactivation)))
            .collect(),
        ..FeatureCard::default()
    }
}
