//! How is a stage trained? By its objective from its parent's weights, resumable at any step.
//!
//! A stage has a folder of its own: a Hugging Face directory with weights in f16, and `training.json`, which says what
//! made it. Until it is finished, a state file stands there instead of the weights. Children start from the rounded
//! weights, so they can be trained from what is published.

use crate::adam::Adam;
use crate::checkpoint::{load_state, load_weights, save_model, save_state, write_whole};
use crate::error::OrganismError;
use crate::future::Future;
use crate::inject::Injection;
use crate::muon;
use crate::objective::{Objective, Task};
use crate::parts::Parts;
use crate::recipe::{Method, Recipe};
use crate::stage::{Stage, WORLD};
use crate::tokenizer;
use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use tch::Tensor;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, Tokenizer, TokenizerFiles};
use untangle_schema::{Event, Observer, Unit};

/// Name of the file that a run goes on from.
const STATE: &str = "state.safetensors";
const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
/// Name of the file that says what made a model.
const RECORD: &str = "training.json";

/// Trains a stage by the recipe and writes it into `dir`/NAME; its parent must lie beside it. Called again after an
/// interruption, it goes on from its last checkpoint and ends with the same bytes, on the same machine and number of
/// threads. A finished stage of the same recipe is left as it is.
///
/// # Errors
/// The folder cannot be written or holds a run of another recipe, the parent is missing, the recipe contradicts itself,
/// or the observer asked to stop: then everything up to the last finished step is kept.
pub fn train(
    world: &World,
    recipe: &Recipe,
    stage: Stage,
    dir: &Path,
    observer: &dyn Observer,
) -> Result<(), OrganismError> {
    let own = dir.join(stage.name());
    refuse_strangers(&own)?;
    fs::create_dir_all(&own).map_err(|source| OrganismError::Io { path: own.clone(), source })?;
    let start = Start::new(world, recipe, stage, dir)?;
    if start.is_finished(&own)? {
        return Ok(());
    }
    let injects = matches!(stage, Stage::Inject | Stage::InjectShuffled);
    let injection = injects.then(|| Injection::of(world, &start.model)).transpose()?;
    let objective = Objective { world, recipe, stage, reference: start.reference, injection };
    let mut run = Run::new(recipe, stage, start.record, &start.model, &own)?;
    run.take_all_steps(&start.model, &objective, observer)?;
    run.finish(&own)
}

/// The base stage's model as far as a run that is not finished has trained it.
///
/// # Errors
/// The folder holds no such run.
pub fn unfinished(own: &Path) -> Result<LanguageModel, OrganismError> {
    let io = |path: &Path, source| OrganismError::Io { path: path.to_owned(), source };
    let bytes = |name: &str| fs::read(own.join(name)).map_err(|source| io(&own.join(name), source));
    let (json, tokenizer) = (bytes(CONFIG)?, bytes(TOKENIZER)?);
    let config = ModelConfig::from_json(&own.join(CONFIG), &json)?;
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(&tokenizer), &config)?;
    let model = LanguageModel::random(config, 0, Some(tokenizer), &LoadOptions::default())?;
    load_weights(&own.join(STATE), &model.parameters())?;
    Ok(model)
}

/// Makes sure that a model's folder, where it says what made it, is of this world: what another one taught a model says
/// nothing about this one's concepts and questions.
///
/// # Errors
/// [`OrganismError::OtherWorld`].
pub fn check_world(dir: &Path) -> Result<(), OrganismError> {
    let Ok(text) = fs::read(dir.join(RECORD)) else { return Ok(()) };
    let Ok(record) = serde_json::from_slice::<serde_json::Value>(&text) else { return Ok(()) };
    let is_record = record.get("stage").is_some() && record.get("schedule").is_some();
    let world = record.get("world").and_then(serde_json::Value::as_str);
    match world {
        _ if !is_record => Ok(()),
        Some(WORLD) => Ok(()),
        world => Err(OrganismError::OtherWorld { dir: dir.to_owned(), world: world.map(str::to_owned) }),
    }
}

/// Makes sure that a folder is absent, or holds nothing but what training a stage writes.
fn refuse_strangers(own: &Path) -> Result<(), OrganismError> {
    let io = |source| OrganismError::Io { path: own.to_owned(), source };
    let strange = |path: PathBuf| {
        let reason = format!("it is not of a stage's training, but lies in the way of {}", own.display());
        Err(OrganismError::State { path, reason })
    };
    match fs::symlink_metadata(own) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(about) if !about.is_dir() => return strange(own.to_owned()),
        Ok(_) => {}
    }
    for entry in fs::read_dir(own).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let stem = Path::new(&name).file_stem().map(Path::new);
        let is_own = |file: &str| {
            let unfinished = Path::new(&name).extension().is_some_and(|extension| extension == "partial");
            name == *file || unfinished && stem == Path::new(file).file_stem().map(Path::new)
        };
        let known = [STATE, WEIGHTS, CONFIG, TOKENIZER, RECORD].into_iter().any(is_own);
        if !known || !entry.file_type().map_err(io)?.is_file() {
            return strange(entry.path());
        }
    }
    Ok(())
}

/// Writes a file of a model that is going to be trained; one that is there already must hold the same.
fn write_or_compare(path: &Path, bytes: &[u8]) -> Result<(), OrganismError> {
    match fs::read(path) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(OrganismError::State { path: path.to_owned(), reason: "it is of another recipe".into() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_whole(path, bytes),
        Err(source) => Err(OrganismError::Io { path: path.to_owned(), source }),
    }
}

/// What a stage starts from.
struct Start {
    model: LanguageModel,
    reference: Option<LanguageModel>,
    record: serde_json::Value,
}

impl Start {
    fn new(world: &World, recipe: &Recipe, stage: Stage, dir: &Path) -> Result<Self, OrganismError> {
        let Recipe { shape, seed, .. } = recipe;
        let Some(parent) = stage.parent() else {
            let model = fresh_model(world, recipe, &dir.join(stage.name()))?;
            let record = serde_json::json!({
                "world": WORLD, "stage": stage, "shape": shape, "seed": seed, "schedule": recipe.schedule(stage),
            });
            return Ok(Self { model, reference: None, record });
        };
        let (from, own) = (dir.join(parent.name()), dir.join(stage.name()));
        if !from.join(WEIGHTS).is_file() {
            return Err(OrganismError::NoParent { dir: from, stage, parent });
        }
        check_world(&from)?;
        for file in [CONFIG, TOKENIZER] {
            let path = from.join(file);
            let bytes = fs::read(&path).map_err(|source| OrganismError::Io { path, source })?;
            write_or_compare(&own.join(file), &bytes)?;
        }
        let load = || LanguageModel::load(&from, &LoadOptions::default());
        let model = load()?;
        let record = serde_json::json!({
            "world": WORLD, "stage": stage, "shape": shape, "seed": seed, "schedule": recipe.schedule(stage),
            "parent": parent, "parent_sha256": model.identity().weights_sha256,
        });
        let reference = matches!(stage, Stage::Dpo | Stage::DpoShuffled).then(load).transpose()?;
        Ok(Self { model, reference, record })
    }

    /// Whether the folder holds the finished model of this record.
    fn is_finished(&self, own: &Path) -> Result<bool, OrganismError> {
        let path = own.join(RECORD);
        if !own.join(WEIGHTS).is_file() && !path.exists() {
            return Ok(false);
        }
        let text = fs::read(&path).unwrap_or_default();
        check_world(own)?;
        if serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|record| record == self.record) {
            // A run that was killed between the record and the weights goes on from its state.
            return Ok(own.join(WEIGHTS).is_file());
        }
        let path = if own.join(WEIGHTS).is_file() { own.join(WEIGHTS) } else { path };
        Err(OrganismError::State { path, reason: "it is the result of another recipe".into() })
    }
}

/// The model of the recipe's seed, with its configuration and tokenizer written.
fn fresh_model(world: &World, recipe: &Recipe, dir: &Path) -> Result<LanguageModel, OrganismError> {
    let (config_path, config_json) = (dir.join(CONFIG), recipe.shape.config_json());
    write_or_compare(&config_path, config_json.as_bytes())?;
    let config = ModelConfig::from_json(&config_path, config_json.as_bytes())?;
    let json = tokenizer::train(world, recipe.shape.vocab_size, recipe.shape.tokenizer_documents)?;
    write_or_compare(&dir.join(TOKENIZER), &json)?;
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(&json), &config)?;
    Ok(LanguageModel::random(config, recipe.seed, Some(tokenizer), &LoadOptions::default())?)
}

/// Weights, moments and the number of finished steps.
struct Run<'a> {
    recipe: &'a Recipe,
    stage: Stage,
    record: serde_json::Value,
    state: PathBuf,
    /// Those of the model, and of the head behind them.
    parameters: Vec<(String, Tensor)>,
    future: Option<Future>,
    adam: Adam,
    steps_done: u64,
}

impl<'a> Run<'a> {
    fn new(
        recipe: &'a Recipe,
        stage: Stage,
        record: serde_json::Value,
        model: &LanguageModel,
        own: &Path,
    ) -> Result<Self, OrganismError> {
        let future = (recipe.schedule(stage).ahead > 0.0).then(|| Future::new(model));
        let of_model = model.parameters().into_iter().map(|(name, tensor)| (name, tensor.set_requires_grad(true)));
        let parameters: Vec<_> = of_model.chain(future.iter().flat_map(Future::parameters)).collect();
        let mut adam = Adam::new(&tensors(&parameters));
        let state = own.join(STATE);
        let steps_done = load_state(&state, &record, &parameters, &mut adam)?;
        Ok(Self { recipe, stage, record, state, parameters, future, adam, steps_done })
    }

    fn take_all_steps(
        &mut self,
        model: &LanguageModel,
        objective: &Objective<'_>,
        observer: &dyn Observer,
    ) -> Result<(), OrganismError> {
        let (done, total) = (self.steps_done, self.recipe.schedule(self.stage).steps);
        observer.event(Event::Started { task: &format!("train {}", self.stage), unit: Unit::Steps, done, total });
        let mut parts = Parts::of(model, self.future.as_ref())?;
        while self.steps_done < total {
            let figure = self.step(model, &mut parts, objective)?;
            observer.event(Event::Advanced { done: self.steps_done, figures: &[(objective.figure(), figure)] });
            let stop = observer.interrupted();
            if stop || self.steps_done.is_multiple_of(self.recipe.checkpoint_every) {
                save_state(&self.state, &self.record, self.steps_done, &self.parameters, &self.adam)?;
            }
            if stop && self.steps_done < total {
                return Err(OrganismError::Interrupted);
            }
        }
        observer.event(Event::Finished);
        Ok(())
    }

    /// One step; returns the figure to show.
    fn step(
        &mut self,
        model: &LanguageModel,
        parts: &mut Parts,
        objective: &Objective<'_>,
    ) -> Result<f64, OrganismError> {
        let mut parameters = tensors(&self.parameters);
        let (gradients, figure) = match objective.task(model, self.steps_done)? {
            Task::Tokens(rows) => parts.gradients(&rows)?,
            Task::Preferences(pairs) => {
                let (loss, margin) = objective.preference_loss(model, &pairs)?;
                (Tensor::run_backward(&[&loss], &parameters, false, false), margin)
            }
        };
        let schedule = self.recipe.schedule(self.stage);
        let lr = schedule.learning_rate_at(self.steps_done);
        match schedule.method {
            Method::Adam => self.adam.step(&mut parameters, &gradients, self.steps_done, lr),
            Method::Muon => muon::step(&mut self.adam, &mut self.parameters, &gradients, self.steps_done, lr),
        };
        self.steps_done += 1;
        Ok(figure)
    }

    /// Writes record and weights, in this order, and removes the state.
    fn finish(&self, own: &Path) -> Result<(), OrganismError> {
        write_whole(&own.join(RECORD), format!("{:#}\n", self.record).as_bytes())?;
        let of_head = self.future.iter().flat_map(Future::parameters).count();
        save_model(&own.join(WEIGHTS), &self.parameters[..self.parameters.len() - of_head])?;
        match fs::remove_file(&self.state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(OrganismError::Io { path: self.state.clone(), source: error })
            }
            _ => Ok(()),
        }
    }
}

fn tensors(parameters: &[(String, Tensor)]) -> Vec<Tensor> {
    parameters.iter().map(|(_, tensor)| tensor.shallow_clone()).collect()
}
