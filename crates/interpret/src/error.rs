//! What can go wrong when dictionaries are interpreted.

use crate::read::problem::ReadProblem;
use crate::steer::problem::SteerProblem;
use crate::truth::problem::AnnotationProblem;
use crate::vectors::problem::VectorProblem;
use std::path::PathBuf;
use untangle_endpoint::EndpointError;
use untangle_model::ModelError;
use untangle_sae::SaeError;
use untangle_schema::{AnnotatedSplit, HookPoint};
use untangle_store::StoreError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterpretError {
    /// An activation file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A dictionary.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// A language model that is asked over HTTP.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A model that cannot be steered so.
    #[error(transparent)]
    Steer(#[from] SteerProblem),
    /// Models that a crosscoder cannot read a text in.
    #[error(transparent)]
    Read(#[from] ReadProblem),
    /// Texts without a vector between them, or a file without one.
    #[error(transparent)]
    Vector(#[from] VectorProblem),
    /// A name that another tool makes paths and keys of.
    #[error(
        "{name:?}: names for other tools have letters, digits, `-`, `_` and `.` alone, and do not begin with a dot"
    )]
    NoExportName {
        /// The name.
        name: String,
    },
    /// Where features fire is asked for without the activations in which they do.
    #[error("where features fire is found in a store, by the dictionary; give both")]
    NothingToEncode,
    /// A table that cannot be written.
    #[error("{path}: {source}", path = .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: parquet::errors::ParquetError,
    },
    /// A file that holds no explanations.
    #[error("{path}: {reason}", path = .path.display())]
    NoExplanations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The dictionary reads rows of another width.
    #[error(
        "the dictionary reads activations of width {d_in}, {what} has width {found}; take the ones it was trained on"
    )]
    WidthDiffers {
        /// Width that the dictionary reads.
        d_in: usize,
        /// The column of the store, or the hook point of the model.
        what: String,
        /// Its width.
        found: usize,
    },
    /// The dictionary predicts rows of another width.
    #[error(
        "the dictionary predicts activations of width {d_out}, {what} has width {found}; take the ones it was trained on"
    )]
    OutputWidthDiffers {
        /// Width that the dictionary predicts.
        d_out: usize,
        /// The column of the store, or the hook point of the model.
        what: String,
        /// Its width.
        found: usize,
    },
    /// The store lacks what the transcoder predicts.
    #[error("the dictionary predicts {own}, {store} holds {holds}; capture both hook points into one store")]
    OutputMissing {
        /// Hook point, or column, that is predicted.
        own: String,
        /// The store.
        store: String,
        /// Its columns.
        holds: String,
    },
    /// The store lacks one of the activations that a crosscoder reads.
    #[error("the crosscoder reads {own}, {store} holds {holds}; name the stores of its other models --with")]
    PartMissing {
        /// Hook point, or column, and its model.
        own: String,
        /// The store.
        store: String,
        /// Its columns.
        holds: String,
    },
    /// `cfg.json` of a transcoder does not say what it predicts, or nothing that Untangle knows.
    #[error("the transcoder does not say what it predicts ({found}); set metadata.hook_name_out in its cfg.json")]
    NoOutputPoint {
        /// What stands there.
        found: String,
    },
    /// What a transcoder reads comes after what it predicts, so that it cannot take its place.
    #[error(
        "{written} comes before {read} in the model, so what is predicted from {read} cannot be put there; leave --model out"
    )]
    Backwards {
        /// Where the transcoder reads.
        read: HookPoint,
        /// What it predicts.
        written: HookPoint,
    },
    /// The store was captured from another model than the one at hand.
    #[error(
        "the store was captured from the model {expected}, this is {found}; name that model, capture from this one, or, where both read the same tokens, take it all the same with --other-model"
    )]
    OtherModel {
        /// Model of the store.
        expected: String,
        /// Model that was given.
        found: String,
    },
    /// The dictionary was trained on another model than the one at hand.
    #[error(
        "the dictionary was trained on the model {expected}, this is {found}; name that model or a store of it, train on this one, or take it all the same with --other-model"
    )]
    OtherModelThanDictionary {
        /// Model of the dictionary.
        expected: String,
        /// Model that was given.
        found: String,
    },
    /// The dictionary takes means off rows of a model whose rows have them.
    #[error(
        "the dictionary's cfg.json says center_writing_weights, which TransformerLens passes over in models with RMSNorm, such as \
         {model}; name that model in it (metadata.model_name), or take the key out"
    )]
    CentredWithoutMean {
        /// The model.
        model: String,
    },
    /// The store holds other hook points than the dictionary's.
    #[error("the dictionary belongs to {own}, {store} holds {holds}; name a store that was captured at {own}")]
    OtherHook {
        /// Hook point, or column, of the dictionary.
        own: String,
        /// The store.
        store: String,
        /// Its columns.
        holds: String,
    },
    /// `cfg.json` names no hook point, or none that Untangle knows.
    #[error("the dictionary does not say where it belongs ({found}); set metadata.hook_name in its cfg.json")]
    NoHookPoint {
        /// What stands there.
        found: String,
    },
    /// A hook point whose activations no dictionary can read row by row.
    #[error("activations at {point} are not rows of a fixed width; a dictionary belongs elsewhere")]
    NotRows {
        /// The hook point.
        point: HookPoint,
    },
    /// Nothing to measure on.
    #[error("{store}: {part} has no rows besides special tokens; capture more text")]
    NoRows {
        /// The store.
        store: String,
        /// Which part of it.
        part: &'static str,
    },
    /// The store has no tokens, which the task needs.
    #[error("{store}: has no tokens, so there is no text to show or to run the model on; use a captured store")]
    NoTokens {
        /// The store.
        store: String,
    },
    /// A token id that the model's vocabulary lacks.
    #[error("{store}: row {row} has token {token}, the model knows {vocabulary}; give the model that was captured")]
    TokenOutside {
        /// The store.
        store: String,
        /// The row.
        row: u64,
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// Contexts without a token to predict.
    #[error("{contexts} contexts have no token to predict; give more text, in contexts of at least two tokens")]
    NothingPredicted {
        /// Contexts given.
        contexts: usize,
    },
    /// A text without a single token.
    #[error("the prompt has no tokens, so there is nothing to read; give text")]
    NothingToRead,
    /// A feature index beyond the dictionary.
    #[error("there is no feature {feature}: the dictionary has {d_sae}, from 0")]
    NoSuchFeature {
        /// The index.
        feature: usize,
        /// Number of features.
        d_sae: usize,
    },
    /// A feature specification that cannot be read.
    #[error(
        "`{spec}`: {problem}; write ID-or-label[:OP=VALUE][ at TOKENS][ when CONDITION] with OP add, set, mul, min or max \
         (12:add=8, 12:add=2x), ablate, add-direction, project-out, cap or swap"
    )]
    Spec {
        /// The text.
        spec: String,
        /// What is wrong.
        problem: String,
    },
    /// A sweep over nothing that has a value.
    #[error("--sweep: {specs} has no value to sweep; add, set, mul, min, max, add-direction and cap have strengths")]
    NothingToSweep {
        /// The specifications.
        specs: String,
    },
    /// A strength in multiples of the largest activation, which is not known.
    #[error("`{spec}`: {problem}")]
    NeedsDatabase {
        /// The text.
        spec: String,
        /// What cannot be known without it.
        problem: &'static str,
    },
    /// No label matches.
    #[error("no feature is labelled `{label}`; labels like it: {near}", near = listing(.near))]
    NoSuchLabel {
        /// What was asked for.
        label: String,
        /// Labels that share a word, with their feature.
        near: Vec<String>,
    },
    /// Several labels match.
    #[error("`{label}` fits {n} features, name one by its number: {listed}", n = .candidates.len(), listed = listing(.candidates))]
    AmbiguousLabel {
        /// What was asked for.
        label: String,
        /// Feature and label of the candidates.
        candidates: Vec<String>,
    },
    /// The feature database belongs to another dictionary.
    #[error("{path} describes a dictionary of {found} features, this one has {d_sae}; run `untangle features` on it", path = .path.display())]
    OtherDictionary {
        /// The database.
        path: PathBuf,
        /// Features that it describes.
        found: usize,
        /// Features of the dictionary.
        d_sae: usize,
    },
    /// The feature database belongs to another dictionary of the same size.
    #[error(
        "{path} describes the dictionary {described}, whose weights are others than these; run `untangle features` on this one",
        path = .path.display()
    )]
    OtherWeights {
        /// The database.
        path: PathBuf,
        /// Name of the dictionary that it describes.
        described: String,
    },
    /// A file that is not a feature database.
    #[error("{path} is not a feature database; make one with `untangle features`", path = .path.display())]
    NotAFeatureDatabase {
        /// The file.
        path: PathBuf,
    },
    /// A feature database that is cut short or damaged.
    #[error("{path} is cut short or damaged; make it again with `untangle features SAE --store STORE --out {path} --force`", path = .path.display())]
    DamagedDatabase {
        /// The file.
        path: PathBuf,
    },
    /// A feature database that this program did not write, or that was changed since.
    #[error("{path} is not as `untangle features` writes it ({problem}); make it again with that", path = .path.display())]
    ForeignDatabase {
        /// The file.
        path: PathBuf,
        /// What stands there.
        problem: String,
    },
    /// A feature database of another version.
    #[error("{path} has version {found}, this program reads version {supported}; make it again with `untangle features SAE --store STORE --out {path} --force`", path = .path.display())]
    DatabaseVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The version of this program.
        supported: i32,
    },
    /// Another process adds to the database.
    #[error("{path}: another process adds to it; wait until it is done", path = .path.display())]
    DatabaseTaken {
        /// The file.
        path: PathBuf,
    },
    /// SQLite failed.
    #[error("{path}: {source}", path = .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// libtorch failed.
    #[error("{doing}: {source}")]
    Torch {
        /// What was being done.
        doing: &'static str,
        /// What libtorch said.
        source: tch::TchError,
    },
    /// Annotated text that contradicts itself.
    #[error("{place}: {problem}")]
    AnnotatedText {
        /// File and line, or number of the document.
        place: String,
        /// What is wrong, and what to do.
        problem: AnnotationProblem,
    },
    /// A file of annotated text that cannot be read.
    #[error("{path}: {source}; give a file of annotated text", path = .path.display())]
    ReadText {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Documents without a single token.
    #[error("the documents for {split} have no tokens besides special ones; give text")]
    NoTokensIn {
        /// What they are for.
        split: AnnotatedSplit,
    },
    /// Columns over other tokens than those that are labelled.
    #[error("there are labels of {labelled} tokens and values of {found}; record the text that was labelled")]
    TokensDiffer {
        /// Tokens with labels.
        labelled: usize,
        /// Tokens with values.
        found: usize,
    },
    /// An activation that is not a number, or not finite.
    #[error("activations at {point} are not finite; use other weights, or run the model in f32")]
    NotFinite {
        /// The hook point.
        point: HookPoint,
    },
    /// There is no feature that could be steered towards a topic.
    #[error("no feature has a label that holds on held-out text, so there is none to steer with")]
    NothingToTry,
    /// The endpoint took not a single request.
    #[error("{what}; no feature was labelled")]
    NothingAnswered {
        /// What it did instead.
        what: String,
    },
    /// The user asked to stop. Nothing was written.
    #[error("stopped before the end; nothing was written")]
    Interrupted,
}

impl InterpretError {
    pub(crate) fn torch(doing: &'static str) -> impl Fn(tch::TchError) -> Self {
        move |source| InterpretError::Torch { doing, source }
    }
}

fn listing(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    if names.is_empty() { "none".to_owned() } else { format!("{}{more}", names[..names.len().min(SHOWN)].join(", ")) }
}
