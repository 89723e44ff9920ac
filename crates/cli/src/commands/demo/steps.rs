//! The steps of the demo up to the features: what is made, and when an earlier demo's artefact will do.

use super::args::DemoArgs;
use crate::commands::capture::{capture_text, is_capture_of};
use crate::commands::evaluate::{Judging, Measured};
use crate::commands::options::{open_store, parse_hook};
use crate::commands::outputs;
use crate::commands::train::{Asked, Calibration, Request, train_dictionaries};
use crate::context::Context;
use crate::exit::Complaint;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_capture::CaptureConfig;
use untangle_interpret::features::{FeaturesPlan, features};
use untangle_interpret::{Corpus, DATABASE, Database, InterpretError};
use untangle_model::LanguageModel;
use untangle_sae::Precision;
use untangle_schema::sae::files;
use untangle_schema::{HookPoint, Site};
use untangle_sources::NamedModel;
use untangle_sources::{Dictionary, Rows};
use untangle_sources::{Text, TextReading};
use untangle_store::output::{self, STORE};
use untangle_store::{ActivationSet, HeldOut};
use untangle_train::{DICTIONARY, EngineKind, GRID, TrainConfig, TrainingRecord, Width};

/// The organism's block whose output is read; of other models it is the middle one. Of blocks 2 to 4 its features hold most
/// of the world's concepts.
const ORGANISMS_BLOCK: usize = 2;
/// The organism's block whose output is steered. In its last one, features stand for what is written next (Arad et al. 2025,
/// *SAEs Are Good for Steering — If You Select the Right Features*): its stories turn to the bridge in 3 of 4 cases, those
/// steered in the middle in 1 of 20.
const ORGANISMS_LAST_BLOCK: usize = 4;
/// Rows per training step.
const BATCH: usize = 2048;
/// Tokens of the shortest text: enough for a step when some are held out, and others are special or sinks.
const FEWEST_TOKENS: u64 = 2 * BATCH as u64;
/// Contexts that the model is run on in the evaluation.
const CONTEXTS: usize = 256;

/// A hook point with what is made for it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) hook: HookPoint,
    /// The dictionary's name among those trained together; empty where it is the only one.
    name: &'static str,
    pub(super) sae: PathBuf,
    pub(super) database: PathBuf,
}

/// A demo under way.
pub(super) struct Demo<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) model: &'a LanguageModel,
    pub(super) context: &'a Context,
    /// The activations.
    pub(super) store: PathBuf,
    /// All dictionaries.
    saes: PathBuf,
    /// The one that is read, and the one that is steered where that is another.
    pub(super) layers: Vec<Layer>,
    /// Set by `--force`, and by the first step whose result is new: what follows from it is then made anew.
    anew: bool,
}

impl<'a> Demo<'a> {
    /// Plans a demo with `model`.
    pub(super) fn new(args: &'a DemoArgs, model: &'a LanguageModel, context: &'a Context) -> anyhow::Result<Self> {
        let size = &args.size;
        if size.tokens < FEWEST_TOKENS || size.train_tokens < BATCH as u64 {
            return Err(Complaint::usage(format!(
                "a demo needs at least --tokens {FEWEST_TOKENS} to look at and --train-tokens {BATCH}; these are {} and {}",
                size.tokens, size.train_tokens
            )));
        }
        let (store, saes) = (args.out.join("activations.h5"), args.out.join("sae"));
        let layers = layers(args, model, &saes)?;
        let demo = Demo { args, model, context, store, layers, saes, anew: args.force };
        demo.check_outputs()?;
        Ok(demo)
    }

    /// Refuses what the demo would have to replace and may not, before anything is made.
    fn check_outputs(&self) -> anyhow::Result<()> {
        let inputs = outputs::paths(Some(&self.args.model), &self.args.text);
        output::check_folder(&self.args.out)?;
        for artefact in [DICTIONARY, GRID] {
            if self.args.out.is_dir() && (artefact.is_at)(&self.args.out).unwrap_or(false) {
                let (out, what) = (self.args.out.display(), artefact.name);
                return Err(Complaint::usage(format!(
                    "{out} is {what}, and the demo makes a folder of its own; name another --out"
                )));
            }
        }
        outputs::check(&self.store, &STORE, true, &inputs)?;
        outputs::check(&self.saes, if self.layers.len() > 1 { &GRID } else { &DICTIONARY }, true, &inputs)?;
        self.layers.iter().try_for_each(|layer| outputs::check(&layer.database, &DATABASE, true, &inputs))
    }

    /// What is read.
    pub(super) fn reading(&self) -> &Layer {
        &self.layers[0]
    }

    /// What is steered.
    pub(super) fn steering(&self) -> &Layer {
        &self.layers[self.layers.len() - 1]
    }

    /// Prints a part of the story, unless the result is asked for as JSON.
    pub(super) fn say(&self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
        if self.context.output.is_json() { Ok(()) } else { self.context.output.write(text) }
    }

    /// Step 1: activations.
    pub(super) fn capture(&mut self) -> anyhow::Result<Arc<ActivationSet>> {
        let (path, tokens) = (&self.store, self.args.size.tokens);
        let text =
            Text::find(&self.args.text, &TextReading::default(), tokens, self.model, &self.context.surroundings())?;
        let tokenizer = self.model.tokenizer()?;
        let found = text.corpus().tokens_up_to(FEWEST_TOKENS, tokenizer, &self.context.progress)?;
        if found < FEWEST_TOKENS {
            let names: Vec<_> = self.args.text.iter().map(|text| text.display().to_string()).collect();
            return Err(Complaint::bad_input(format!(
                "{}: has {found} tokens, and a demo needs at least {FEWEST_TOKENS}, better a hundred times as many; give it \
                 a longer text, or leave --text out",
                names.join(", ")
            )));
        }
        let out = &self.args.out;
        fs::create_dir_all(out).map_err(|error| Complaint::io(format!("{}: {error}", out.display())))?;
        let config = CaptureConfig {
            tokens: Some(tokens),
            force: self.anew,
            ..CaptureConfig::new(self.layers.iter().map(|layer| layer.hook).collect(), path.clone())
        };
        let (context, place) = (self.context, [path.to_string_lossy().into_owned()]);
        let open = || open_store(&place, context);
        if !self.anew && path.exists() {
            let store = open()?;
            if !is_capture_of(store.manifest(), &config, text.corpus(), self.model)? {
                return Err(self.other_settings(path, "another model, hook point or text"));
            }
            self.reuse(path);
            return Ok(store);
        }
        capture_text(&config, text.corpus(), self.model, None, self.context)?;
        let store = open()?;
        self.anew = true;
        Ok(store)
    }

    /// Step 2: a dictionary for every layer, trained side by side.
    pub(super) fn train(&mut self, store: &Arc<ActivationSet>) -> anyhow::Result<Vec<Dictionary>> {
        let config = self.training();
        let there = |layer: &Layer| layer.sae.exists();
        if !self.anew && self.layers.iter().all(there) {
            for layer in &self.layers {
                if !is_trained_on(&layer.sae, store, &config) {
                    return Err(self.other_settings(&layer.sae, "other activations or with other settings"));
                }
                self.reuse(&layer.sae);
            }
            return self.load();
        }
        let asked = |layer: &Layer| -> anyhow::Result<Asked> {
            let column = store.column(&layer.hook.to_string())?;
            Ok(Asked { name: layer.name.to_owned(), columns: vec![column], target: None, config: config.clone() })
        };
        let request = Request {
            store: Arc::clone(store),
            order_seed: config.seed,
            asked: self.layers.iter().map(asked).collect::<Result<_, _>>()?,
            held_out: HeldOut::default(),
            calibration: Calibration::Auto,
            keep_special: false,
            keep_outliers: false,
            shuffle_bytes: untangle_train::SHUFFLE_BYTES,
            out: &self.saes,
            force: self.anew,
            checkpoint_every: None,
            tensorboard: false,
            report: true,
            engine: EngineKind::Native,
        };
        train_dictionaries(&request, self.context)?;
        self.anew = true;
        self.load()
    }

    fn training(&self) -> TrainConfig {
        TrainConfig {
            width: Width::Features(self.args.size.d_sae),
            k: self.args.size.k,
            tokens: Some(self.args.size.train_tokens),
            batch: BATCH,
            // At this width nothing is gained in bf16, and the same demo gives the same numbers on more machines.
            precision: Some(Precision::F32),
            ..TrainConfig::default()
        }
    }

    fn load(&self) -> anyhow::Result<Vec<Dictionary>> {
        Ok(self.layers.iter().map(|layer| Dictionary::load(&layer.sae)).collect::<Result<_, _>>()?)
    }

    /// Step 3: what the dictionary keeps.
    pub(super) fn evaluate(&self, dictionary: &Dictionary, store: &Arc<ActivationSet>) -> anyhow::Result<Measured> {
        let judging =
            Judging { rows: Rows::HeldOut, model: Some(self.model), contexts: CONTEXTS, baselines: Vec::new() };
        { judging }.measure(dictionary, store, self.context)
    }

    /// Step 4: what a layer's features are about.
    pub(super) fn features(
        &self,
        layer: &Layer,
        dictionary: &Dictionary,
        store: &Arc<ActivationSet>,
    ) -> anyhow::Result<Database> {
        let path = &layer.database;
        if !self.anew && path.exists() && describes(path, dictionary, store)? {
            self.reuse(path);
        } else {
            let held_out = dictionary.rows_of(store, Rows::HeldOut).held_out;
            let corpus = Corpus::new(Arc::clone(store), &dictionary.sae, held_out)?;
            let (sae, name, plan) = (&dictionary.sae, &dictionary.name, FeaturesPlan::default());
            // A database that stands here describes something else.
            features(sae, name, &corpus, Some(self.model), &plan, path, true, &self.context.progress)?;
        }
        Ok(self.context.database(path)?)
    }

    fn reuse(&self, path: &Path) {
        self.context.progress.note(&format!("using {} of an earlier demo", path.display()));
    }

    fn other_settings(&self, path: &Path, what: &str) -> anyhow::Error {
        Complaint::usage(format!(
            "{} was made from {what}; choose another folder with --out, or pass --force to make everything anew",
            path.display()
        ))
    }
}

/// The hook point that was asked for; else the end of a middle block, and in the organism that of the last one too.
fn layers(args: &DemoArgs, model: &LanguageModel, saes: &Path) -> anyhow::Result<Vec<Layer>> {
    let only = |hook| vec![Layer { hook, name: "", sae: saes.to_owned(), database: args.out.join("features.db") }];
    if let Some(name) = &args.size.hook {
        return Ok(only(parse_hook(name)?));
    }
    let end = |block| HookPoint::block(block, Site::ResidPost);
    Ok(match NamedModel::find(&args.model)? {
        NamedModel::Organism(_) | NamedModel::Untrained => {
            let layer = |block, name, database: &str| {
                let (sae, database) = (saes.join(name), args.out.join(database));
                Layer { hook: end(block), name, sae, database }
            };
            vec![
                layer(ORGANISMS_BLOCK, "middle", "features.db"),
                layer(ORGANISMS_LAST_BLOCK, "last", "features-last.db"),
            ]
        }
        NamedModel::Directory(_) | NamedModel::Hub { .. } => only(end(model.n_layers() / 2)),
    })
}

/// Whether a dictionary is what this training would make.
fn is_trained_on(sae: &Path, store: &ActivationSet, config: &TrainConfig) -> bool {
    let text = fs::read_to_string(sae.join(files::TRAINING)).unwrap_or_default();
    serde_json::from_str::<TrainingRecord>(&text).is_ok_and(|TrainingRecord { plan, data, .. }| {
        let planned = config.plan(plan.d_in, data.rows_per_epoch);
        data.content == store.content_identity() && planned.is_ok_and(|planned| planned == plan)
    })
}

/// Whether the feature database is one of this dictionary on this store. One that cannot be read any more is not.
fn describes(database: &Path, dictionary: &Dictionary, store: &ActivationSet) -> anyhow::Result<bool> {
    match Database::open(database).and_then(|database| database.run()) {
        Ok(run) => Ok(run.is_of(&dictionary.sae, store)),
        Err(
            InterpretError::DatabaseVersion { .. }
            | InterpretError::DamagedDatabase { .. }
            | InterpretError::ForeignDatabase { .. },
        ) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
