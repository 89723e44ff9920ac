//! What is told of a run that labels features?

use super::material::{FEWEST, Material};
use super::work::Work;
use untangle_endpoint::Spent;
use untangle_schema::Label;

/// A feature that is done.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Labelled {
    /// The feature.
    pub feature: usize,
    /// Its labels of this source; none where nothing is in common, or no answer gave one.
    pub labels: Vec<Label>,
    /// What the input label was before it was tested, where it was changed.
    pub before: Option<String>,
    /// Texts that tested it.
    pub tested: usize,
    /// Why there is no input label, or no score of one.
    pub problem: Option<String>,
    /// Answers that could not be understood, besides those of judges, which scores count.
    pub unparseable: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct LabelReport {
    /// Source of the labels.
    pub source: String,
    /// Features that are done, in order.
    pub features: Vec<Labelled>,
    /// Features that the endpoint did not answer for, with the reason.
    pub left_out: Vec<(usize, String)>,
    /// Features that are not done, because the asking ended.
    pub unfinished: usize,
    /// Whether simulation was asked for of an endpoint that tells no probabilities of tokens, which it needs.
    pub without_odds: bool,
    /// What it took.
    pub spent: Spent,
}

/// The source of labels that a model gave.
pub fn source_of(model: &str) -> String {
    format!("llm:{}", model.chars().filter(|c| !c.is_control()).collect::<String>())
}

/// Why something is missing.
pub(super) fn problem(work: &Work, scores: bool) -> Option<String> {
    let Material { shown, fires, silent, .. } = &work.material;
    let told = match () {
        () if shown.is_empty() => "it never fires, so there is nothing to show".to_owned(),
        () if work.is_of_output_alone() => return None,
        () if work.label.is_none() && work.mixed > 0 => "mixed: its examples share nothing".to_owned(),
        () if work.label.is_none() => "no answer gave a label".to_owned(),
        () if scores && fires.len() < FEWEST => {
            format!("not judged: it fires in {} documents besides those that were shown", fires.len())
        }
        () if scores && silent.len() < FEWEST => {
            format!("not judged: {} excerpts are left in which it does not fire", silent.len())
        }
        () => return None,
    };
    Some(told)
}
