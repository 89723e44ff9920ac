//! From text to a steered continuation, in one program: capture, train, steer.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use untangle_capture::{CaptureConfig, CapturePlan, capture};
use untangle_interpret::{Edit, Operator, Scope, SteerOptions, steer};
use untangle_model::GenerateOptions;
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, Silent};
use untangle_sources::{NamedModel, Surroundings, Text, TextReading};
use untangle_store::ActivationSet;
use untangle_train::{TrainConfig, Width, train_on_store};

fn main() -> Result<(), Box<dyn Error>> {
    run(Path::new("example-output"), 200_000)
}

fn run(folder: &Path, tokens: u64) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    // Words name things here as on the command line: a directory or `owner/name` of the hub would do as well.
    let surroundings = Surroundings { offline: true, observer: &Silent };
    let model = NamedModel::find("organism".as_ref())?.fetch(&surroundings)?.load(&Default::default())?;
    let text = Text::find(&["organism".into()], &TextReading::default(), tokens, &model, &surroundings)?;

    let hook = "blocks.4.hook_resid_post".parse()?;
    let asked = CaptureConfig { tokens: Some(tokens), ..CaptureConfig::new(vec![hook], folder.join("store.h5")) };
    capture(&CapturePlan::new(&asked, &model)?, &model, text.corpus(), &Silent)?;

    let store = Arc::new(ActivationSet::open(&[asked.output.to_string_lossy()])?);
    let config = TrainConfig { width: Width::Features(512), k: 8, tokens: Some(2 * tokens), ..TrainConfig::default() };
    let finished = train_on_store(&store, 0, &config, &folder.join("sae"), &Silent)?;
    println!("missing of the variance: {:.3}", finished.last.fvu);

    let sae = Sae::load(&folder.join("sae"))?;
    let generate = GenerateOptions { max_new_tokens: 40, ..GenerateOptions::default() };
    let options = SteerOptions { generate, scope: Scope::All, bos: BosPolicy::Auto };
    let edits = [Edit { feature: 7, operator: Operator::Add(20.0) }];
    let story = steer(&model, &sae, &edits, "One day, Anna met her friend Ben. They", &options)?;
    println!("as it is: {}\nsteered:  {}", story.baseline, story.steered);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_from_text_to_story() {
        let folder = tempfile::tempdir().expect("a folder");
        run(folder.path(), 20_000).expect("it runs");
        assert!(folder.path().join("sae/sae_weights.safetensors").is_file());
    }
}
