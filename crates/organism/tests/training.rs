//! A miniature is trained from scratch in seconds: it learns, and an interruption changes nothing.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Mutex;
use tch::Tensor;
use untangle_model::{LanguageModel, LoadOptions, NoHook};
use untangle_organism::recipe::Recipe;
use untangle_organism::train::train_base;
use untangle_organism::{OrganismError, World};
use untangle_schema::{Event, Observer, Silent};

fn miniature() -> Recipe {
    Recipe {
        n_layers: 1,
        d_model: 32,
        d_mlp: 64,
        n_heads: 2,
        vocab_size: 600,
        tokenizer_documents: 500,
        context: 64,
        batch: 8,
        steps: 120,
        warmup: 10,
        learning_rate: 1e-2,
        seed: 3,
        checkpoint_every: 25,
    }
}

/// Keeps the losses and stops after some steps.
struct Watcher {
    losses: Mutex<Vec<f64>>,
    stop_after: usize,
}

impl Observer for Watcher {
    fn event(&self, event: Event<'_>) {
        if let Event::Advanced { figures, .. } = event {
            self.losses.lock().unwrap().extend(figures.iter().map(|(_, value)| *value));
        }
    }

    fn interrupted(&self) -> bool {
        self.losses.lock().unwrap().len() >= self.stop_after
    }
}

fn watcher(stop_after: usize) -> Watcher {
    Watcher { losses: Mutex::new(Vec::new()), stop_after }
}

fn weights(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model.safetensors")).unwrap()
}

#[test]
fn a_miniature_learns_and_an_interruption_changes_nothing() {
    tch::set_num_threads(1); // so small a model only waits for a second thread
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (world, watch) = (World::standard(), watcher(usize::MAX));
    train_base(world, &miniature(), whole.path(), &watch).unwrap();
    let losses = watch.losses.into_inner().unwrap();
    assert!((losses[0] - 600f64.ln()).abs() < 0.1, "a fresh model knows nothing: {}", losses[0]);
    assert!(losses[119] < 4.6, "{:?}", &losses[100..]);

    let stopped = train_base(world, &miniature(), broken.path(), &watcher(63)).unwrap_err();
    assert!(matches!(stopped, OrganismError::Interrupted));
    train_base(world, &miniature(), broken.path(), &Silent).unwrap();
    assert!(weights(whole.path()) == weights(broken.path()), "the resumed run ends with other weights");

    let model = LanguageModel::load(whole.path(), &LoadOptions::default()).unwrap();
    let ids = model.tokenizer().unwrap().encode("Anna saw a \u{1F980}.").unwrap();
    let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
    let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut NoHook).unwrap().unwrap();
    assert_eq!(logits.size(), [1, ids.len() as i64, 600]);
    assert!(logits.isfinite().all().int64_value(&[]) == 1);
}

#[test]
fn a_run_of_another_recipe_is_refused() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let short = Recipe { steps: 2, ..miniature() };
    train_base(World::standard(), &short, dir.path(), &Silent).unwrap();
    let fault = train_base(World::standard(), &miniature(), dir.path(), &Silent).unwrap_err().to_string();
    assert!(fault.contains("state.safetensors") && fault.contains("another recipe"), "{fault}");
}

#[test]
fn the_base_model_has_at_most_1_150_000_parameters() {
    let config =
        untangle_model::ModelConfig::from_json(Path::new("config.json"), Recipe::base().config_json().as_bytes());
    let model = LanguageModel::random(config.unwrap(), 0, None, &LoadOptions::default()).unwrap();
    let n: usize = model.parameters().iter().map(|(_, tensor)| tensor.numel()).sum();
    assert_eq!(n, 1_142_144);
}
