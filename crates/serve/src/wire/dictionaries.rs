//! `/api/v1/dictionaries` and `/api/v1/overview`: which dictionaries are there, and what is each as a whole?

use serde::{Deserialize, Serialize};
use untangle_interpret::Summary;
use untangle_interpret::page::Tallies;

/// All dictionaries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DictionaryList {
    /// Of what features are read and turned.
    pub model: String,
    /// Version of the program.
    pub tool_version: &'static str,
    /// In the order in which the server was given them; where a request names none, the first is meant.
    pub dictionaries: Vec<DictionaryInfo>,
    /// Where all of it lies, so that a recipe of the page is one of the command line.
    pub origin: Origin,
    /// Interventions that the page begins with.
    pub tray: Vec<String>,
}

/// Where model, dictionaries and databases lie, as `untangle steer --recipe` finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// A name or a directory.
    pub model: String,
    /// Directories of dictionaries.
    pub sae: Vec<String>,
    /// Feature databases.
    pub features: Vec<String>,
    /// Whether dictionaries may be of another model.
    pub other_model: bool,
}

/// A dictionary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DictionaryInfo {
    /// Its name.
    pub name: String,
    /// `autoencoder`, `transcoder` or `crosscoder`.
    pub kind: &'static str,
    /// `topk`, `jumprelu` and the like.
    pub architecture: String,
    /// Features that are active at a token, where their number is fixed.
    pub k: Option<usize>,
    /// The number of its features.
    pub features: usize,
    /// Numbers of an activation that it reads.
    pub width: usize,
    /// Where it reads.
    pub hook: Option<String>,
    /// Where a transcoder writes.
    pub writes: Option<String>,
    /// Whether it reads texts: a crosscoder of other models as well does not.
    pub reads: bool,
    /// What should be known of it.
    pub notes: Vec<String>,
    /// How what is known of its features was found; null where nothing is.
    pub described: Option<Described>,
}

/// How a database of features was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    /// Tokens behind statistics and examples.
    pub rows: u64,
    /// Tokens behind the scores of labels.
    pub held_out_rows: u64,
    /// Name of the activation file.
    pub store: String,
    /// The model that the activations come from.
    pub model: Option<String>,
    /// The parts of a crosscoder, in order.
    pub parts: Vec<String>,
    /// Version of the program that made it.
    pub tool_version: String,
    /// Who gave labels.
    pub sources: Vec<String>,
    /// Who scored them.
    pub scorers: Vec<String>,
}

/// Asks for a dictionary as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OverviewRequest {
    /// Its name; the first where it is left out.
    pub dictionary: Option<String>,
}

/// A dictionary as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// Its name.
    pub dictionary: String,
    /// How many features are of which kind.
    #[serde(flatten)]
    pub tallies: Tallies,
    /// Mean F1 of the labels that have one.
    pub mean_f1: Option<f64>,
    /// The features that are understood best.
    pub best: Vec<Summary>,
}
