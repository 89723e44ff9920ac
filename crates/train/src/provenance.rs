//! How a dictionary came about: where its rows came from, and what is written beside it.

use crate::plan::TrainPlan;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use untangle_schema::{CaptureManifest, ModelIdentity};

/// Where the training rows came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataProvenance {
    /// File names of the store; none where the rows came straight from a model.
    pub stores: Vec<String>,
    /// Hash over manifests and row counts.
    pub content: String,
    /// The column that was trained on: a hook point, or a data set's name.
    pub column: String,
    /// The column that a transcoder predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_out: Option<String>,
    /// What a crosscoder reads, in order; empty of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartOrigin>,
    /// Where stores were read side by side, rows without a pair: of the first store, and of each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpaired: Vec<[u64; 2]>,
    /// What `train` did not read and `evaluate` uses, as the store describes it.
    pub held_out: Value,
    /// What neither training nor the judge reads: rows for thresholds.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub calibration: Value,
    /// Whether rows of special tokens were trained on.
    pub keep_special: bool,
    /// Whether rows whose norm is an outlier (attention sinks) were trained on.
    #[serde(default)]
    pub keep_outliers: bool,
    /// Seed of the order of rows.
    pub order_seed: u64,
    /// Memory that rows were shuffled in; decides the order where the store is larger.
    pub shuffle_bytes: u64,
    /// Training rows of one epoch.
    pub rows_per_epoch: u64,
    /// Manifest of the capture, where the rows came from one, or of the one that would give the same rows.
    pub capture: Option<CaptureManifest>,
}

impl DataProvenance {
    /// What is read and what is predicted, in words. The errors of two dictionaries compare where it is the same.
    pub(crate) fn subject(&self) -> String {
        let read: Vec<&str> = match &self.parts[..] {
            [] => vec![&self.column],
            parts => parts.iter().map(|part| part.column.as_str()).collect(),
        };
        let read = read.join(" and ");
        self.column_out.as_ref().map_or_else(|| read.clone(), |out| format!("{read} to {out}"))
    }
}

/// Where one of the activations comes from that a crosscoder reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartOrigin {
    /// The column: a hook point, or a data set's name.
    pub column: String,
    /// The model, where the rows were captured.
    pub model: Option<ModelIdentity>,
}

/// `training.json`: everything that decided the result, and what came of it. No clock, host or path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Version of the tool.
    pub tool_version: String,
    /// The plan.
    pub plan: TrainPlan,
    /// The data.
    pub data: DataProvenance,
    /// What rows were multiplied by in training; already folded into the weights.
    pub scale: f32,
    /// What the rows that a transcoder predicts were multiplied by; folded as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_out: Option<f32>,
    /// The last step's figures, without the clock.
    pub last_step: Value,
    /// Active features per row on the calibration rows, where thresholds were calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated_l0: Option<f64>,
}
