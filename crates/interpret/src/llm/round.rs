//! What does the studied model say to texts that the labeller writes?
//!
//! - a label is tested: texts that should fire the feature, and texts that come near and should not; the labeller sees what
//!   became of them and keeps the label or changes it
//! - `sensitivity`: of new texts that the label describes, written after it was final, the share that fires the feature, 0 to 1,
//!   higher is better (arXiv 2509.23717). Its floor is the share of any texts of the corpus of this length that does, its
//!   control the share of the texts that were written for other features
//!
//! The two never share texts: those that decided over a label would flatter it.

use super::answers::{Named, label, texts};
use super::material::FEWEST;
use super::prompts::{self, Tested, WRITTEN};
use super::work::Work;
use crate::error::InterpretError;
use crate::read::Reader;
use std::collections::BTreeMap;
use untangle_endpoint::Reply;
use untangle_model::ModelError;
use untangle_schema::label::SENSITIVITY_WRITTEN;
use untangle_schema::{LabelKind, Score, Share};

/// Texts written for other features that are a control, at least, as far as there are any.
const OTHERS: usize = 4 * WRITTEN;

/// A text as the studied model reads it.
struct Read {
    tokens: Vec<String>,
    /// Of every feature that was asked for, its activation at each token.
    activations: Vec<Vec<f32>>,
}

/// Reads a text; none where it is one that the model cannot read, such as one without a token that it knows.
fn read(reader: &Reader<'_>, text: &str, features: &[usize]) -> Result<Option<Read>, InterpretError> {
    let (ids, tokens) = match reader.tokens(text) {
        Ok(found) if !found.0.is_empty() => found,
        Ok(_) | Err(InterpretError::Model(ModelError::Tokenizer { .. } | ModelError::TokenBeyondEmbedding { .. })) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut activations = vec![vec![0.0; tokens.len()]; features.len()];
    for (at, fired) in reader.firings(&ids, features)?.iter().enumerate() {
        for active in fired {
            for (own, _) in activations.iter_mut().zip(features).filter(|(_, feature)| **feature == active.feature) {
                own[at] = active.activation;
            }
        }
    }
    Ok(Some(Read { tokens, activations }))
}

/// Takes the texts of an answer that test a label, and reads them.
pub(super) fn test(work: &mut Work, reader: &Reader<'_>, answer: &Reply) -> Result<(), InterpretError> {
    let feature = work.card.feature;
    for (fits, text) in texts(&answer.text) {
        if let Some(read) = read(reader, &text, &[feature])? {
            work.tested.push(Tested { fits, tokens: read.tokens, activations: read.activations.concat() });
        }
    }
    work.unparseable += u64::from(work.tested.is_empty());
    Ok(())
}

/// Keeps the label or takes another, as the labeller says.
pub(super) fn revise(work: &mut Work, answer: &Reply) {
    let before = work.label.take();
    match label(&answer.text) {
        Named::Label(label) => {
            work.before = before.filter(|before| *before != label);
            work.label = Some(label);
        }
        Named::Mixed => (work.before, work.mixed) = (before, work.mixed + 1),
        // An answer that cannot be understood is no reason to give a label up.
        Named::Nothing => (work.label, work.unparseable) = (before, work.unparseable + 1),
    }
}

/// Takes the texts of an answer that a label describes.
pub(super) fn take(work: &mut Work, answer: &Reply) {
    work.written = texts(&answer.text).into_iter().filter(|(fits, _)| *fits).map(|(_, text)| text).collect();
    work.written.truncate(WRITTEN);
    work.unparseable += u64::from(work.written.len() < FEWEST);
}

/// Reads all texts that were written and scores every feature that has enough of them. `floors` are the shares of any texts that
/// fire each feature, `earlier` texts that were written for features before these, which have no others where few are labelled together.
pub(super) fn sensitivity(
    works: &mut [Work],
    reader: &Reader<'_>,
    floors: &BTreeMap<usize, f64>,
    earlier: &mut Vec<String>,
) -> Result<(), InterpretError> {
    let features: Vec<usize> = works.iter().map(|work| work.card.feature).collect();
    // Of every text whose it is, and which of the features it fires.
    let own = works.iter().enumerate().filter(|(_, work)| work.is_going() && work.label.is_some());
    let own: Vec<(Option<usize>, String)> =
        own.flat_map(|(owner, work)| work.written.iter().map(move |text| (Some(owner), text.clone()))).collect();
    let wanted = OTHERS.saturating_sub(own.len()).min(earlier.len());
    let before = earlier[earlier.len() - wanted..].iter().map(|text| (None, text.clone()));
    let mut fired: Vec<(Option<usize>, Vec<bool>)> = Vec::new();
    for (owner, text) in before.chain(own.iter().cloned()).collect::<Vec<_>>() {
        // What cannot be read fires nothing.
        let found = read(reader, &text, &features)?
            .map(|read| read.activations.iter().map(|own| own.iter().any(|activation| *activation != 0.0)).collect());
        fired.push((owner, found.unwrap_or_else(|| vec![false; features.len()])));
    }
    earlier.extend(own.into_iter().map(|(_, text)| text));
    earlier.drain(..earlier.len().saturating_sub(OTHERS));
    for (at, work) in works.iter_mut().enumerate() {
        let share =
            |own: bool| Share::of(fired.iter().filter(|(of, _)| (*of == Some(at)) == own).map(|(_, fires)| fires[at]));
        let (own, others) = (share(true), share(false));
        if work.label.is_none() || (own.trials as usize) < FEWEST {
            continue;
        }
        let detail =
            BTreeMap::from([("asked".to_owned(), WRITTEN as f64), ("others".to_owned(), others.trials as f64)]);
        let score = Score {
            judge: None,
            scorer: SENSITIVITY_WRITTEN.to_owned(),
            value: own.value(),
            interval: Some(own.interval()),
            floor: floors.get(&work.card.feature).copied(),
            control: (others.trials as usize >= FEWEST).then(|| others.value()),
            n: own.trials,
            detail,
        };
        work.scores.push((LabelKind::Input, score));
    }
    Ok(())
}

/// Asks whether the label is kept, where it was tested.
pub(super) fn revision(work: &Work) -> Vec<untangle_endpoint::Request> {
    match &work.label {
        Some(label) if !work.tested.is_empty() => {
            vec![prompts::revise(label, &work.material.shown, &work.tested, work.card.max_activation)]
        }
        _ => Vec::new(),
    }
}
