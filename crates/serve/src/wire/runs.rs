//! `/api/v1/runs`: trainings, how far each is and what came of it.

use serde::Serialize;

/// All trainings that the server was shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunList {
    /// The folder that is looked into, where there is one.
    pub folder: Option<String>,
    /// In the order of their names.
    pub runs: Vec<RunInfo>,
}

/// Whether a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It logged a step lately.
    Running,
    /// It has not, and is not finished.
    Stopped,
    /// The dictionary is there.
    Finished,
}

/// A training of a dictionary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunInfo {
    /// Its folder, as far as it lies below the one that is looked into.
    pub name: String,
    /// Name of the dictionary among those that are served, where it is one.
    pub dictionary: Option<String>,
    /// Whether it goes on.
    pub state: RunState,
    /// What is trained on: errors of two dictionaries compare where it is the same.
    pub subject: Option<String>,
    /// What is trained, in words.
    pub summary: Option<String>,
    /// What is frozen, of a dictionary that is a baseline.
    pub frozen: Option<String>,
    /// Steps that it was to have.
    pub steps: Option<u64>,
    /// Seconds since its last step was logged.
    pub quiet_for: Option<f64>,
    /// Logged steps, at most some hundred of them.
    pub curve: Vec<RunPoint>,
    /// What `untangle evaluate --json` measured on rows that training never saw, where a file in the folder says so.
    pub held_out: Option<HeldOutFigures>,
}

/// A logged step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RunPoint {
    /// Steps done.
    pub step: u64,
    /// Mean squared error per row.
    pub loss: f64,
    /// The same as a part of the variance.
    pub fvu: f64,
    /// Features that are active at a token.
    pub l0: f64,
    /// Features that have been silent for long.
    pub dead: u64,
}

/// Figures of unseen rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOutFigures {
    /// Fraction of variance unexplained.
    pub fvu: f64,
    /// Features that are active at a token.
    pub l0: f64,
    /// Features that fire on none of the rows.
    pub dead: u64,
}

/// Looks at trainings, each time it is asked: files grow meanwhile. Which ones is decided by whoever starts the server.
pub trait Trainings: std::fmt::Debug + Send + Sync {
    /// How they stand.
    fn all(&self) -> RunList;
}
