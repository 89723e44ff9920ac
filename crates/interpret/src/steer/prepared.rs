//! Can a step be taken in a pass of this model, and what does it need to know for it?

use super::dictionary::{Dictionary, Part, width_at};
use super::heard::{Probe, Reader};
use super::problem::SteerProblem;
use super::step::{Change, Direction, Step, Value};
use crate::error::InterpretError;
use untangle_model::LanguageModel;
use untangle_schema::HookPoint;

/// A step with where it is taken and what is listened to for it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) step: Step,
    /// Where it changes the model.
    pub(super) parts: Vec<Part>,
    /// Dictionaries that are read.
    pub(super) readers: Vec<usize>,
    /// Probes of its tests, one each where they are of directions.
    pub(super) probes: Vec<Option<usize>>,
    /// Whether every row is moved alike.
    pub(super) is_plain: bool,
}

/// All that is listened to.
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// By dictionary.
    pub(super) readers: Vec<Option<Reader>>,
    pub(super) probes: Vec<Probe>,
}

impl Prepared {
    /// Checks a step, and adds to `ears` what it needs.
    pub(super) fn new(
        step: &Step,
        model: &LanguageModel,
        dictionaries: &[Dictionary<'_>],
        ears: &mut Ears,
    ) -> Result<Self, InterpretError> {
        let parts = match &step.change {
            Change::Feature { dictionary, feature, .. } => {
                dictionaries[*dictionary].check_feature(*feature)?;
                dictionaries[*dictionary].writes(model)?
            }
            Change::Along { directions, .. } => directions
                .iter()
                .map(|direction| part_of(direction, &step.in_words(), model))
                .collect::<Result<_, _>>()?,
        };
        let first = parts.iter().map(|part| part.point).min();
        let mut prepared = Prepared {
            is_plain: !step.of_norm && step.change.is_addition(),
            step: step.clone(),
            parts,
            readers: Vec::new(),
            probes: Vec::new(),
        };
        if let Change::Feature { dictionary, feature, operator } = step.change {
            let (reads, scales) = (operator.reads(), dictionaries[dictionary].sae().scales_rows());
            prepared.is_plain &= !scales;
            if reads || scales {
                let why = if reads { step.done() } else { "a dictionary that scales its rows" };
                prepared.read(dictionary, reads.then_some(feature), why, first, (model, dictionaries), ears)?;
            }
        }
        for test in &step.tests {
            let probe = match &test.value {
                Value::Activation { dictionary, feature } => {
                    dictionaries[*dictionary].check_feature(*feature)?;
                    prepared.read(*dictionary, Some(*feature), "the condition", first, (model, dictionaries), ears)?;
                    None
                }
                Value::Along(direction) => {
                    part_of(direction, &step.in_words(), model)?;
                    prepared.check_order(direction.point, "the condition", first)?;
                    Some(ears.probe(direction))
                }
            };
            prepared.probes.push(probe);
        }
        Ok(prepared)
    }

    /// Whether `read` comes before the first change, at `first`.
    fn check_order(&self, read: HookPoint, why: &str, first: Option<HookPoint>) -> Result<(), InterpretError> {
        match first {
            Some(first) if read > first => Err(self.refuse(format!(
                "{why} needs what is read at {read}, which comes after {first}, where it would change the model; add, add-direction, \
                 project-out, cap and swap need nothing that is read later"
            ))),
            _ => Ok(()),
        }
    }

    /// Has a dictionary read in time, and a feature's activation known where there is one.
    fn read(
        &mut self,
        dictionary: usize,
        feature: Option<usize>,
        why: &str,
        first: Option<HookPoint>,
        (model, dictionaries): (&LanguageModel, &[Dictionary<'_>]),
        ears: &mut Ears,
    ) -> Result<(), InterpretError> {
        let parts = dictionaries[dictionary].reads(model)?;
        let parts = parts.map_err(|problem| {
            self.refuse(format!(
                "{why} needs a feature's activation, {problem}; add, add-direction, project-out, cap and swap do not"
            ))
        })?;
        for part in &parts {
            self.check_order(part.point, why, first)?;
        }
        let reader = ears.readers[dictionary].get_or_insert_with(|| Reader::new(parts));
        if let Some(feature) = feature {
            reader.listen_for(feature);
        }
        if !self.readers.contains(&dictionary) {
            self.readers.push(dictionary);
        }
        Ok(())
    }

    fn refuse(&self, problem: String) -> InterpretError {
        SteerProblem::Impossible { what: self.step.in_words(), problem }.into()
    }

    /// Where it changes the model at a point, and the number of that among its parts.
    pub(super) fn part_at(&self, point: HookPoint) -> Option<(usize, Part)> {
        self.parts.iter().copied().enumerate().find(|(_, part)| part.point == point)
    }
}

impl Ears {
    fn probe(&mut self, direction: &Direction) -> usize {
        let known = self.probes.iter().position(|probe| probe.direction == *direction);
        known.unwrap_or_else(|| {
            self.probes.push(Probe::new(direction.clone()));
            self.probes.len() - 1
        })
    }

    /// All points that are listened to.
    pub(super) fn points(&self) -> impl Iterator<Item = HookPoint> + '_ {
        let of_readers = self.readers.iter().flatten().flat_map(|reader| reader.parts.iter().map(|part| part.point));
        of_readers.chain(self.probes.iter().map(|probe| probe.direction.point))
    }
}

/// Where a direction lies.
fn part_of(direction: &Direction, step: &str, model: &LanguageModel) -> Result<Part, InterpretError> {
    let (point, d) = (direction.point, direction.unit.len());
    let found = width_at(model, point)?;
    match found == d {
        true => Ok(Part { point, first: 0, width: d }),
        false => {
            let (what, point) = (step.to_owned(), point.to_string());
            Err(SteerProblem::OtherWidth { what, point, found: d, expected: found }.into())
        }
    }
}
