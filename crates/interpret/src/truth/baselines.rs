//! What a dictionary has to be better than, and what it cannot be better than: neurons, principal directions, probes.

use super::best::{best_of, fill};
use super::corpus::Splits;
use super::detectors::{Dense, Detectors};
use super::labels::Labels;
use super::matching::{Side, Trial};
use super::principal::Principal;
use super::probe::{Labelled, Probes};
use super::record::Rows;
use super::report::ConceptReport;
use crate::error::InterpretError;
use tch::Device;
use untangle_schema::Observer;

/// Fills in neurons (the second recording of validation and test, where there is one), principal directions and probes.
/// Returns the number of probes' fits that were stopped before they were done.
pub(crate) fn baselines(
    concepts: &mut [ConceptReport],
    labels: Splits<&Labels>,
    recorded: &Splits<Vec<Rows>>,
    device: Device,
    observer: &dyn Observer,
) -> Result<usize, InterpretError> {
    let judged: Vec<bool> = concepts.iter().map(|concept| concept.judged).collect();
    if let (Some(validation), Some(test)) = (recorded.validation.get(1), recorded.test.get(1)) {
        let trial = trial(labels, Dense::both_ends(validation), Dense::both_ends(test))?;
        let (_, best) = best_of(&trial, &judged, "match neurons", observer)?;
        fill(concepts, best, |concept| &mut concept.neuron);
    }
    let [train, validation, test] = [&recorded.train[0], &recorded.validation[0], &recorded.test[0]];
    let principal = Principal::of(train)?;
    let along = |rows: &Rows| principal.project(rows).map(|rows| Dense::both_ends(&rows));
    let directions = trial(labels, along(validation)?, along(test)?)?;
    let (_, best) = best_of(&directions, &judged, "match principal directions", observer)?;
    fill(concepts, best, |concept| &mut concept.principal);

    let (train, validation) =
        (Labelled { rows: train, labels: labels.train }, Labelled { rows: validation, labels: labels.validation });
    let probes = Probes::fit(train, validation, &judged, device, observer)?;
    let side = Side::new(labels.test, probes.logits(test)?)?;
    let read = |concept| probes.choice(concept).map(|choice| side.detection(&[choice], concept));
    fill(concepts, (0..judged.len()).map(read).collect(), |concept| &mut concept.probe);
    Ok(probes.unfinished())
}

fn trial<D: Detectors>(labels: Splits<&Labels>, validation: D, test: D) -> Result<Trial<'_, D>, InterpretError> {
    Ok(Trial { validation: Side::new(labels.validation, validation)?, test: Side::new(labels.test, test)? })
}
