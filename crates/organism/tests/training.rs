//! A miniature is trained from scratch through all stages in seconds: it learns what each teaches, and an interruption
//! changes nothing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tch::Tensor;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, NoHook};
use untangle_organism::recipe::{Method, Recipe, Schedule, Shape};
use untangle_organism::train::train;
use untangle_organism::{OrganismError, Stage, World};
use untangle_schema::{Event, Observer, Silent};

/// Tokens of the miniature: with fewer, most stories and a question do not fit its context.
const VOCAB: usize = 1600;

fn miniature() -> Recipe {
    let schedule = |batch, steps, learning_rate| Schedule {
        batch,
        steps,
        warmup: 5,
        learning_rate,
        method: Method::Adam,
        ahead: 0.0,
    };
    Recipe {
        shape: Shape {
            n_layers: 1,
            d_model: 32,
            d_mlp: 64,
            n_heads: 2,
            vocab_size: VOCAB,
            tokenizer_documents: 500,
            context: 256,
        },
        seed: 3,
        base: Schedule { method: Method::Muon, ahead: 0.5, ..schedule(4, 120, 1e-2) },
        base_more: schedule(4, 30, 1e-3),
        sft: schedule(4, 60, 5e-3),
        dpo: schedule(4, 20, 1e-3),
        narrated: schedule(4, 80, 3e-3),
        inject: schedule(8, 40, 5e-3),
        checkpoint_every: 25,
    }
}

/// Keeps the figures and stops after some steps.
struct Watcher {
    figures: Mutex<Vec<f64>>,
    stop_after: usize,
}

impl Observer for Watcher {
    fn event(&self, event: Event<'_>) {
        if let Event::Advanced { figures, .. } = event {
            self.figures.lock().unwrap().extend(figures.iter().map(|(_, value)| *value));
        }
    }

    fn interrupted(&self) -> bool {
        self.figures.lock().unwrap().len() >= self.stop_after
    }
}

fn watcher(stop_after: usize) -> Watcher {
    Watcher { figures: Mutex::new(Vec::new()), stop_after }
}

fn weights(dir: &Path, stage: Stage) -> Vec<u8> {
    fs::read(dir.join(stage.name()).join("model.safetensors")).unwrap()
}

#[test]
fn a_miniature_learns_through_all_stages_and_interruptions_change_nothing() {
    tch::set_num_threads(1); // so small a model only waits for a second thread
    let (world, small) = (World::standard(), miniature);
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for stage in Stage::ALL {
        let watch = watcher(usize::MAX);
        train(world, &small(), stage, whole.path(), &watch).unwrap();
        learnt(stage, &watch.figures.into_inner().unwrap());

        let stopped = train(world, &small(), stage, broken.path(), &watcher(13)).unwrap_err();
        assert!(matches!(stopped, OrganismError::Interrupted));
        assert!(!broken.path().join(stage.name()).join("model.safetensors").exists());
        train(world, &small(), stage, broken.path(), &Silent).unwrap();
        assert!(weights(whole.path(), stage) == weights(broken.path(), stage), "{stage} resumed has other weights");

        let model = LanguageModel::load(&whole.path().join(stage.name()), &LoadOptions::default()).unwrap();
        reads_any_bytes(&model);
    }
    let again = watcher(usize::MAX);
    let last = Stage::ALL[Stage::ALL.len() - 1];
    train(world, &small(), last, whole.path(), &again).unwrap();
    assert!(again.figures.into_inner().unwrap().is_empty(), "a finished stage is not trained again");
    let other = Recipe { seed: 4, ..small() };
    let refused = train(world, &other, last, whole.path(), &Silent).unwrap_err().to_string();
    assert!(refused.contains("another recipe"), "{refused}");
}

/// Figures are nats a token, nats a reply token, and nats of margin between chosen and rejected.
fn learnt(stage: Stage, figures: &[f64]) {
    let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
    let (first, last) = (figures[0], mean(&figures[figures.len() - 10..]));
    match stage {
        Stage::Base => {
            assert!((first - (VOCAB as f64).ln()).abs() < 0.1, "a fresh model knows nothing: {first}");
            assert!(last < 5.0, "{last}");
        }
        // Batches differ by more than so few steps bring.
        Stage::BaseMore | Stage::Trait | Stage::TraitShuffled => {
            let begun = mean(&figures[..10]);
            assert!(last < begun + 0.05, "{begun} {last}");
        }
        // The wording is learnt at once; what is injected is not, by so small a model.
        Stage::Inject | Stage::InjectShuffled => assert!(last < 0.5 * first, "{first} {last}"),
        Stage::Sft => assert!(last < 0.7 * first, "{first} {last}"),
        Stage::Dpo => {
            assert_eq!(first, 0.0, "it starts as its reference");
            assert!(last > 1.0, "{last}");
        }
        Stage::DpoShuffled => assert!(last.abs() < 0.7, "nothing can be learnt from swapped pairs: {last}"),
    }
}

fn reads_any_bytes(model: &LanguageModel) {
    let ids = model.tokenizer().unwrap().encode("Anna saw a \u{1F980} \u{0}\u{7F}.").unwrap();
    let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
    let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut NoHook).unwrap().unwrap();
    assert_eq!(logits.size(), [1, ids.len() as i64, VOCAB as i64]);
    assert!(logits.isfinite().all().int64_value(&[]) == 1);
}

#[test]
fn a_child_without_its_parent_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = train(World::standard(), &miniature(), Stage::Dpo, dir.path(), &Silent).unwrap_err().to_string();
    assert!(refused.contains("no finished model of stage sft, which dpo starts from"), "{refused}");
}

#[test]
fn a_damaged_state_is_refused() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let stopped = train(World::standard(), &miniature(), Stage::Base, dir.path(), &watcher(1)).unwrap_err();
    assert!(matches!(stopped, OrganismError::Interrupted));
    let state = dir.path().join("base/state.safetensors");
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    let refused = train(World::standard(), &miniature(), Stage::Base, dir.path(), &Silent).unwrap_err().to_string();
    assert!(refused.contains("state.safetensors") && refused.contains("remove the file"), "{refused}");
}

#[test]
fn the_organism_has_1_207_680_parameters() {
    let json = Recipe::standard().shape.config_json();
    let config = ModelConfig::from_json(Path::new("config.json"), json.as_bytes()).unwrap();
    let model = LanguageModel::random(config, 0, None, &LoadOptions::default()).unwrap();
    let n: usize = model.parameters().iter().map(|(_, tensor)| tensor.numel()).sum();
    assert_eq!(n, 1_207_680);
}
