//! How is a model trained from scratch? Next-token prediction on training documents, resumable at any step.

use crate::adam::Adam;
use crate::checkpoint::{load_state, save_model, save_state, write_whole};
use crate::error::OrganismError;
use crate::recipe::Recipe;
use crate::world::World;
use crate::{rows, tokenizer};
use std::fs;
use std::path::Path;
use tch::Tensor;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, NoHook, Tokenizer, TokenizerFiles};
use untangle_schema::{Event, Observer, Unit};

/// Name of the file that a run goes on from.
const STATE: &str = "state.safetensors";

/// Trains a model by the recipe and writes it into `dir` as a Hugging Face directory with weights in f16. Called again
/// after an interruption, it goes on from its last checkpoint and ends with the same bytes, on the same machine and
/// number of threads.
///
/// # Errors
/// The folder cannot be written or holds a run of another recipe, the recipe contradicts itself, or the observer asked
/// to stop: then everything up to the last finished step is kept.
pub fn train_base(world: &World, recipe: &Recipe, dir: &Path, observer: &dyn Observer) -> Result<(), OrganismError> {
    fs::create_dir_all(dir).map_err(|source| OrganismError::Io { path: dir.to_owned(), source })?;
    let model = fresh_model(world, recipe, dir)?;
    let mut run = Run::new(recipe, &model, dir)?;
    let per_step = (recipe.batch * recipe.context) as u64;
    let (done, total) = (run.steps_done * per_step, recipe.steps * per_step);
    observer.event(Event::Started { task: "train the organism", unit: Unit::Tokens, done, total });
    while run.steps_done < recipe.steps {
        let tokens = rows::batch(world, model.tokenizer()?, recipe, run.steps_done)?;
        let loss = run.step(&model, &tokens)?;
        observer.event(Event::Advanced { done: run.steps_done * per_step, figures: &[("nats a token", loss)] });
        let stop = observer.interrupted();
        if stop || run.steps_done.is_multiple_of(recipe.checkpoint_every) {
            run.save()?;
        }
        if stop && run.steps_done < recipe.steps {
            return Err(OrganismError::Interrupted);
        }
    }
    run.save()?;
    save_model(&dir.join("model.safetensors"), &run.parameters)?;
    observer.event(Event::Finished);
    Ok(())
}

/// The model of the recipe's seed, with its configuration and tokenizer written.
fn fresh_model(world: &World, recipe: &Recipe, dir: &Path) -> Result<LanguageModel, OrganismError> {
    let config_path = dir.join("config.json");
    write_whole(&config_path, recipe.config_json().as_bytes())?;
    let config = ModelConfig::from_json(&config_path, recipe.config_json().as_bytes())?;
    let json = tokenizer::train(world, recipe.vocab_size, recipe.tokenizer_documents)?;
    write_whole(&dir.join("tokenizer.json"), &json)?;
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(&json), &config)?;
    Ok(LanguageModel::random(config, recipe.seed, Some(tokenizer), &LoadOptions::default())?)
}

/// Weights, moments and the number of finished steps.
struct Run<'a> {
    recipe: &'a Recipe,
    state: std::path::PathBuf,
    parameters: Vec<(String, Tensor)>,
    adam: Adam,
    steps_done: u64,
}

impl<'a> Run<'a> {
    fn new(recipe: &'a Recipe, model: &LanguageModel, dir: &Path) -> Result<Self, OrganismError> {
        let parameters: Vec<(String, Tensor)> =
            model.parameters().into_iter().map(|(name, tensor)| (name, tensor.set_requires_grad(true))).collect();
        let mut adam = Adam::new(&tensors(&parameters));
        let state = dir.join(STATE);
        let steps_done = load_state(&state, recipe, &parameters, &mut adam)?;
        Ok(Self { recipe, state, parameters, adam, steps_done })
    }

    /// One step; returns the mean loss in nats a token.
    fn step(&mut self, model: &LanguageModel, tokens: &[i64]) -> Result<f64, OrganismError> {
        let (batch, context) = (self.recipe.batch as i64, self.recipe.context as i64);
        let tokens = Tensor::from_slice(tokens).view([batch, context + 1]);
        let inputs = tokens.narrow(1, 0, context); // [batch, context]
        let targets = tokens.narrow(1, 1, context).reshape([-1]); // [batch * context]
        let logits = model.forward(&inputs, &mut NoHook)?.ok_or(OrganismError::NoLogits)?; // [batch, context, vocab]
        let loss = logits.flatten(0, 1).cross_entropy_for_logits(&targets);
        let mut parameters = tensors(&self.parameters);
        let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
        let lr = self.recipe.learning_rate_at(self.steps_done);
        self.adam.step(&mut parameters, &gradients, self.steps_done, lr);
        self.steps_done += 1;
        Ok(loss.double_value(&[]))
    }

    fn save(&self) -> Result<(), OrganismError> {
        save_state(&self.state, self.recipe, self.steps_done, &self.parameters, &self.adam)
    }
}

fn tensors(parameters: &[(String, Tensor)]) -> Vec<Tensor> {
    parameters.iter().map(|(_, tensor)| tensor.shallow_clone()).collect()
}
