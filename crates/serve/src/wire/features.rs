//! `/api/v1/search` and `/api/v1/feature`: features that are looked for, and one of them.

use crate::limits::LISTED;
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use untangle_interpret::Summary;
use untangle_interpret::database::{Only, Query, Sort};
use untangle_schema::LabelKind;

/// Features of a list where no number is said.
const USUAL: u64 = 50;

/// Asks for features; without anything else for all, best label first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// Name of the dictionary; the first where it is left out.
    pub dictionary: Option<String>,
    /// Words, all of which stand in the label, the examples or the raised tokens.
    pub text: Option<String>,
    /// In which order.
    pub sort: Option<By>,
    /// The other way round.
    pub reversed: Option<bool>,
    /// Which of them.
    pub only: Option<Which>,
    /// Those with a label of what makes them fire, or of what they make the model say.
    pub kind: Option<Of>,
    /// Those whose label's F1 is at least that.
    pub min_score: Option<f64>,
    /// Those that fire on at least this part of the tokens.
    pub min_density: Option<f64>,
    /// Those that fire on at most this part.
    pub max_density: Option<f64>,
    /// At most so many.
    pub limit: Option<u64>,
    /// So many that would come first are passed over.
    pub offset: Option<u64>,
}

/// What features are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// How well the text fits.
    Match,
    /// F1 of the label.
    Score,
    /// Part of the tokens on which they fire.
    Density,
    /// Largest activation.
    Activation,
    /// Their number.
    Number,
}

/// Which features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// With a label of what makes them fire.
    Labelled,
    /// Without one, though they fire.
    Unlabelled,
    /// That never fired.
    Dead,
    /// That did.
    Alive,
}

/// What a label is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// What makes it fire.
    Input,
    /// What it makes the model say.
    Output,
}

/// Features that were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Name of the dictionary.
    pub dictionary: String,
    /// The features.
    pub features: Vec<Summary>,
    /// Whether there are others behind these.
    pub more: bool,
}

/// Asks for a feature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRequest {
    /// Name of the dictionary; the first where it is left out.
    pub dictionary: Option<String>,
    /// Its number.
    pub feature: Option<u64>,
}

/// Everything about a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureAnswer {
    /// Name of the dictionary.
    pub dictionary: String,
    /// Texts of tokens, to which examples point by number.
    pub tokens: Vec<String>,
    /// The feature, in the form that the dashboard's pages have it in.
    pub feature: Value,
    /// Labels of its neighbours that have one, by number.
    pub names: BTreeMap<usize, String>,
}

impl SearchRequest {
    /// Features of a list.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(USUAL) {
            limit if (1..=LISTED as u64).contains(&limit) => Ok(limit as usize),
            limit => Err(Problem::field("limit", format!("limit is {limit}; expected 1 to {LISTED}"))),
        }
    }

    /// The same as a query of a database, with one feature more than is told.
    pub(crate) fn query(&self) -> Result<Query, Problem> {
        Ok(Query {
            text: self.text.clone().unwrap_or_default(),
            sort: match self.sort {
                None | Some(By::Match) => Sort::Match,
                Some(By::Score) => Sort::Score(None),
                Some(By::Density) => Sort::Density,
                Some(By::Activation) => Sort::Activation,
                Some(By::Number) => Sort::Number,
            },
            reversed: self.reversed == Some(true),
            kind: self.kind.map(|kind| match kind {
                Of::Input => LabelKind::Input,
                Of::Output => LabelKind::Output,
            }),
            min_score: self.min_score,
            min_density: self.min_density,
            max_density: self.max_density,
            only: self.only.map(|only| match only {
                Which::Labelled => Only::Labelled,
                Which::Unlabelled => Only::Unlabelled,
                Which::Dead => Only::Dead,
                Which::Alive => Only::Alive,
            }),
            limit: Some(self.limit()? + 1),
            offset: usize::try_from(self.offset.unwrap_or(0)).unwrap_or(usize::MAX),
            ..Query::default()
        })
    }
}
