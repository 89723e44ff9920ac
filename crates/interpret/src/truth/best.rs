//! The best single detector of every concept, and where that is reported.

use super::detectors::Detectors;
use super::matching::{Detection, Matching, Trial, match_concepts};
use super::report::ConceptReport;
use crate::error::InterpretError;
use crate::progress::Progress;
use untangle_schema::{Observer, Unit};

/// Who matches whom, and for every concept how well the best single detector does.
pub(crate) fn best_of<D: Detectors>(
    trial: &Trial<'_, D>,
    judged: &[bool],
    task: &str,
    observer: &dyn Observer,
) -> Result<(Matching, Vec<Option<Detection>>), InterpretError> {
    let mut progress = Progress::start(observer, task, Unit::Steps, trial.validation.detectors.count() as u64);
    let matching = match_concepts(trial, judged, &mut progress)?;
    progress.finish();
    let choices = matching.choices.iter().enumerate();
    let best = choices.map(|(concept, choice)| choice.map(|choice| trial.test.detection(&[choice], concept))).collect();
    Ok((matching, best))
}

/// Puts what was found where it belongs.
pub(crate) fn fill(
    concepts: &mut [ConceptReport],
    found: Vec<Option<Detection>>,
    field: fn(&mut ConceptReport) -> &mut Option<Detection>,
) {
    concepts.iter_mut().zip(found).for_each(|(concept, found)| *field(concept) = found);
}
