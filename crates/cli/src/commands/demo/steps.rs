//! The steps of the demo up to the features: what is made, and when an earlier demo's artefact will do.

use super::args::DemoArgs;
use crate::canvas::Canvas;
use crate::commands::capture::{capture_text, is_capture_of};
use crate::commands::evaluate::{Judging, Measured};
use crate::commands::options::{open_store, parse_hook};
use crate::commands::outputs;
use crate::commands::train::{Asked, Calibration, Request, train_dictionaries};
use crate::context::Context;
use crate::exit::Complaint;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_capture::CaptureConfig;
use untangle_interpret::features::{FeaturesPlan, features};
use untangle_interpret::{Corpus, DATABASE, Database, InterpretError, steer};
use untangle_model::LanguageModel;
use untangle_sae::Precision;
use untangle_schema::sae::files;
use untangle_schema::{HookPoint, Site};
use untangle_sources::{Dictionary, Rows};
use untangle_sources::{Text, TextReading};
use untangle_store::output::{self, STORE};
use untangle_store::{ActivationSet, HeldOut};
use untangle_train::{DICTIONARY, EngineKind, GRID, TrainConfig, TrainingRecord, Width};

/// Rows per training step.
const BATCH: usize = 2048;
/// Tokens of the shortest text: enough for a step when some are held out, and others are special or sinks.
const FEWEST_TOKENS: u64 = 2 * BATCH as u64;
/// Contexts that the model is run on in the evaluation.
const CONTEXTS: usize = 256;

/// A demo under way.
pub(super) struct Demo<'a> {
    pub(super) args: &'a DemoArgs,
    pub(super) model: &'a LanguageModel,
    pub(super) context: &'a Context,
    /// What is looked at and steered.
    pub(super) hook: HookPoint,
    /// Its activations.
    pub(super) store: PathBuf,
    pub(super) sae: PathBuf,
    pub(super) database: PathBuf,
    /// Features of the dictionary.
    pub(super) d_sae: usize,
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
        let hook = match &size.hook {
            Some(name) => parse_hook(name)?,
            None => HookPoint::block(model.n_layers() / 2, Site::ResidPost),
        };
        let [store, sae, database] = ["activations.h5", "sae", "features.db"].map(|name| args.out.join(name));
        let d_sae = size.features(model.width_of(hook)?);
        let demo = Demo { args, model, context, hook, store, sae, database, d_sae, anew: args.force };
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
        outputs::check(&self.sae, &DICTIONARY, true, &inputs)?;
        outputs::check(&self.database, &DATABASE, true, &inputs)
    }

    /// Prints a part of the story, unless the result is asked for as JSON.
    pub(super) fn say(&self, draw: impl FnOnce(&mut Canvas<'_>) -> io::Result<()>) -> anyhow::Result<()> {
        if self.context.output.is_json() { Ok(()) } else { self.context.output.drawing(&(), draw) }
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
        fs::create_dir_all(out).map_err(|error| Complaint::io(out, &error))?;
        let config = CaptureConfig {
            tokens: Some(tokens),
            force: self.anew,
            ..CaptureConfig::new(vec![self.hook], path.clone())
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

    /// Step 2: the dictionary.
    pub(super) fn train(&mut self, store: &Arc<ActivationSet>) -> anyhow::Result<Dictionary> {
        let config = self.training();
        if !self.anew && self.sae.exists() {
            if !is_trained_on(&self.sae, store, &config) {
                return Err(self.other_settings(&self.sae, "other activations or with other settings"));
            }
            self.reuse(&self.sae);
            return Ok(Dictionary::load(&self.sae)?);
        }
        let column = store.column(&self.hook.to_string())?;
        let asked = Asked { name: String::new(), columns: vec![column], target: None, config: config.clone() };
        let request = Request {
            store: Arc::clone(store),
            order_seed: config.seed,
            asked: vec![asked],
            held_out: HeldOut::default(),
            calibration: Calibration::Auto,
            keep_special: false,
            keep_outliers: false,
            shuffle_bytes: untangle_train::SHUFFLE_BYTES,
            out: &self.sae,
            force: self.anew,
            checkpoint_every: None,
            tensorboard: false,
            report: true,
            engine: EngineKind::Native,
        };
        train_dictionaries(&request, self.context)?;
        self.anew = true;
        Ok(Dictionary::load(&self.sae)?)
    }

    fn training(&self) -> TrainConfig {
        TrainConfig {
            width: Width::Features(self.d_sae),
            k: self.args.size.k,
            tokens: Some(self.args.size.train_tokens),
            batch: BATCH,
            seed: self.args.size.seed,
            // At this width nothing is gained in bf16, and the same demo gives the same numbers on more machines.
            precision: Some(Precision::F32),
            ..TrainConfig::default()
        }
    }

    /// Step 3: what the dictionary keeps.
    pub(super) fn evaluate(&self, dictionary: &Dictionary, store: &Arc<ActivationSet>) -> anyhow::Result<Measured> {
        let judging =
            Judging { rows: Rows::HeldOut, model: Some(self.model), contexts: CONTEXTS, baselines: Vec::new() };
        { judging }.measure(dictionary, store, self.context)
    }

    /// Step 4: what the features are about.
    pub(super) fn features(&self, dictionary: &Dictionary, store: &Arc<ActivationSet>) -> anyhow::Result<Database> {
        let path = &self.database;
        if !self.anew && path.exists() && describes(path, dictionary, store)? {
            self.reuse(path);
        } else {
            let held_out = dictionary.rows_of(store, Rows::HeldOut).held_out;
            let corpus = Corpus::new(Arc::clone(store), &dictionary.sae, held_out)?;
            let named = steer::Dictionary { name: &dictionary.name, ..steer::Dictionary::only(&dictionary.sae) };
            let (plan, observer) = (FeaturesPlan::default(), &self.context.progress);
            // A database that stands here describes something else.
            features(named, &corpus, Some(self.model), None, &plan, path, true, observer)?;
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
