//! The steps of the demo up to the features: what is made, and when an earlier demo's artefact will do.

use super::DemoArgs;
use crate::commands::capture::{capture_text, is_capture_of};
use crate::commands::dictionary::{Dictionary, Rows};
use crate::commands::evaluate::{Measured, measure};
use crate::commands::options::{open_store, parse_hook};
use crate::commands::text::{Text, TextArgs};
use crate::commands::train::{Asked, Calibration, Request, SHUFFLE_BYTES, train_dictionaries};
use crate::context::Context;
use crate::exit::Complaint;
use crate::models::NamedModel;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_capture::CaptureConfig;
use untangle_interpret::features::{FeaturesPlan, features};
use untangle_interpret::{Corpus, Database, InterpretError};
use untangle_model::LanguageModel;
use untangle_sae::Precision;
use untangle_schema::sae::files;
use untangle_schema::{HookPoint, Site};
use untangle_store::{ActivationSet, HeldOut};
use untangle_train::{TrainConfig, TrainingRecord, Width};

/// Tokens captured, where the text has as many.
pub(super) const CAPTURE_TOKENS: u64 = 1_000_000;
/// Features of the dictionary.
pub(super) const D_SAE: usize = 2048;
/// Features that are active at a token.
pub(super) const K: usize = 8;
/// Tokens trained on, repetitions included.
pub(super) const TRAIN_TOKENS: u64 = 4_000_000;
/// The organism's block whose output is looked at; of other models it is the middle one. Of blocks 2 to 4 its features
/// hold most of the world's concepts.
const ORGANISMS_BLOCK: usize = 2;
/// Rows per training step.
const BATCH: usize = 2048;
/// Contexts that the model is run on in the evaluation.
const CONTEXTS: usize = 256;

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) store: PathBuf,
    pub(super) sae: PathBuf,
    pub(super) database: PathBuf,
}

/// A demo under way.
pub(super) struct Demo<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) model: &'a LanguageModel,
    pub(super) context: &'a Context,
    pub(super) hook: HookPoint,
    pub(super) paths: Paths,
    /// Set by `--force`, and by the first step whose result is new: what follows from it is then made anew.
    anew: bool,
}

impl<'a> Demo<'a> {
    /// Plans a demo with `model`.
    pub(super) fn new(args: &'a DemoArgs, model: &'a LanguageModel, context: &'a Context) -> anyhow::Result<Self> {
        fs::create_dir_all(&args.out).map_err(|error| Complaint::io(format!("{}: {error}", args.out.display())))?;
        let path = |name: &str| args.out.join(name);
        Ok(Demo {
            args,
            model,
            context,
            hook: hook(args, model)?,
            paths: Paths { store: path("activations.h5"), sae: path("sae"), database: path("features.db") },
            anew: args.force,
        })
    }

    /// Prints a part of the story, unless the result is asked for as JSON.
    pub(super) fn say(&self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
        if self.context.output.is_json() { Ok(()) } else { self.context.output.write(text) }
    }

    /// Step 1: activations.
    pub(super) fn capture(&mut self) -> anyhow::Result<Arc<ActivationSet>> {
        let (path, tokens) = (&self.paths.store, self.args.size.tokens);
        let text = Text::find(&self.args.text, &TextArgs::default(), tokens, self.model, self.context)?;
        let config = CaptureConfig {
            tokens: Some(tokens),
            force: self.anew,
            ..CaptureConfig::new(vec![self.hook], path.clone())
        };
        let open = || open_store(&[path.to_string_lossy().into_owned()]);
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

    /// Step 2: a dictionary.
    pub(super) fn train(&mut self, store: &Arc<ActivationSet>) -> anyhow::Result<Dictionary> {
        let (column, size) = (store.column(&self.hook.to_string())?, &self.args.size);
        let config = TrainConfig {
            width: Width::Features(size.d_sae),
            k: size.k,
            tokens: Some(size.train_tokens),
            batch: BATCH,
            // At this width nothing is gained in bf16, and the same demo gives the same numbers on more machines.
            precision: Some(Precision::F32),
            ..TrainConfig::default()
        };
        if !self.anew && self.paths.sae.exists() {
            if !is_trained_on(&self.paths.sae, store, &config) {
                return Err(self.other_settings(&self.paths.sae, "other activations or with other settings"));
            }
            self.reuse(&self.paths.sae);
            return Dictionary::load(&self.paths.sae);
        }
        let request = Request {
            store: Arc::clone(store),
            order_seed: config.seed,
            asked: vec![Asked { name: String::new(), columns: vec![column], target: None, config }],
            held_out: HeldOut::default(),
            calibration: Calibration::Auto,
            keep_special: false,
            keep_outliers: false,
            shuffle_bytes: SHUFFLE_BYTES,
            out: &self.paths.sae,
            force: self.anew,
            checkpoint_every: None,
        };
        train_dictionaries(&request, self.context)?;
        self.anew = true;
        Dictionary::load(&self.paths.sae)
    }

    /// Step 3: what the dictionary keeps.
    pub(super) fn evaluate(&self, dictionary: &Dictionary, store: &Arc<ActivationSet>) -> anyhow::Result<Measured> {
        measure(dictionary, store, Rows::HeldOut, Some(self.model), CONTEXTS, self.context)
    }

    /// Step 4: what its features are about.
    pub(super) fn features(&mut self, dictionary: &Dictionary, store: &Arc<ActivationSet>) -> anyhow::Result<Database> {
        let path = &self.paths.database;
        if !self.anew && path.exists() && describes(path, dictionary, store)? {
            self.reuse(path);
        } else {
            let held_out = dictionary.rows_of(store, Rows::HeldOut).held_out;
            let corpus = Corpus::new(Arc::clone(store), &dictionary.sae, held_out)?;
            let (sae, name, plan) = (&dictionary.sae, &dictionary.name, FeaturesPlan::default());
            // A database that stands here describes something else.
            features(sae, name, &corpus, Some(self.model), &plan, path, true, &self.context.progress)?;
        }
        Ok(Database::open(path)?)
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

/// The hook point that was asked for, or else the end of a middle block.
fn hook(args: &DemoArgs, model: &LanguageModel) -> anyhow::Result<HookPoint> {
    if let Some(name) = &args.size.hook {
        return parse_hook(name);
    }
    let block = match NamedModel::find(&args.model)? {
        NamedModel::Organism(_) | NamedModel::Untrained => ORGANISMS_BLOCK,
        NamedModel::Directory(_) | NamedModel::Hub { .. } => model.n_layers() / 2,
    };
    Ok(HookPoint::block(block, Site::ResidPost))
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
        Err(InterpretError::DatabaseVersion { .. } | InterpretError::DamagedDatabase { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
