//! How well can a concept be read off the activations at all? The linear probe: the ceiling for single directions.
//!
//! A probe is logistic regression fitted on train tokens (see `fits`), with penalties of several strengths, taken from
//! strong to weak with each fit begun where the last one ended. Of them the one is kept that with its best threshold
//! has the highest F1 on validation tokens.

use super::detectors::{Dense, Detectors};
use super::fits::{Fits, matrices, on};
use super::labels::Labels;
use super::matching::Choice;
use super::principal::Principal;
use super::record::Rows;
use super::sweep::best_cut;
use crate::error::InterpretError;
use crate::intervene::flat;
use crate::label::Confusion;
use crate::progress::Progress;
use tch::Device;
use untangle_schema::{Observer, Unit};

/// Strengths of the penalty, strong to weak.
pub const STRENGTHS: [f64; 3] = [1e-1, 1e-2, 1e-3];

/// A probe for every concept that has one.
#[derive(Debug)]
pub struct Probes {
    basis: Principal,
    device: Device,
    d: usize,
    /// By concept, `[d + 1]`, b last; zeros where there is no probe.
    weights: Vec<Vec<f64>>,
    /// By concept, its own column with the threshold chosen on validation tokens.
    choices: Vec<Option<Choice>>,
    /// By concept, the strength chosen.
    strengths: Vec<f64>,
    /// Fits that were stopped before they were done.
    unfinished: usize,
}

/// Activations and concepts of the same tokens.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The activations.
    pub rows: &'a Rows,
    /// The concepts.
    pub labels: &'a Labels,
}

impl Probes {
    /// Fits on `train` and chooses on `validation`, for the concepts that are `judged`.
    ///
    /// # Errors
    /// libtorch fails, or the user asks to stop.
    pub fn fit(
        train: Labelled<'_>,
        validation: Labelled<'_>,
        judged: &[bool],
        device: Device,
        observer: &dyn Observer,
    ) -> Result<Self, InterpretError> {
        let basis = Principal::of_standardised(train.rows)?;
        let mut fits = Fits::new(&basis, train, judged, device)?;
        let d = train.rows.d;
        let mut probes = Self {
            basis,
            device,
            d,
            weights: vec![vec![0.0; d + 1]; judged.len()],
            choices: vec![None; judged.len()],
            strengths: vec![0.0; judged.len()],
            unfinished: 0,
        };
        let mut progress =
            Progress::start(observer, "fit probes", Unit::Steps, (STRENGTHS.len() * fits.columns.len()) as u64);
        for strength in STRENGTHS {
            probes.unfinished += fits.run(strength, &mut progress)?;
            probes.choose(&fits, strength, validation)?;
        }
        progress.finish();
        Ok(probes)
    }

    /// Takes over the fits that are better on validation tokens than what there is.
    fn choose(&mut self, fits: &Fits, strength: f64, validation: Labelled<'_>) -> Result<(), InterpretError> {
        let mut candidates = vec![vec![0.0; self.d + 1]; self.weights.len()];
        fits.columns.iter().for_each(|column| candidates[column.concept].clone_from(&column.weights));
        let logits = self.logits_of(&candidates, validation.rows)?;
        let mut scratch = Vec::new();
        for concept in fits.columns.iter().map(|column| column.concept) {
            let entries = logits.ranked(concept, &mut scratch);
            let none = Confusion { named: 0, fires: validation.labels.positives(concept), both: 0 };
            let so_far = self.choices[concept].map_or(0.0, |choice| choice.cut.f1);
            let marks = validation.labels.marks(concept);
            if let Some(cut) = best_cut(entries, logits.floor(), &marks, none, so_far) {
                self.choices[concept] = Some(Choice { detector: concept, cut });
                self.strengths[concept] = strength;
                self.weights[concept].clone_from(&candidates[concept]);
            }
        }
        Ok(())
    }

    /// The probes' values on `rows`, a column per concept.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn logits(&self, rows: &Rows) -> Result<Dense, InterpretError> {
        self.logits_of(&self.weights, rows)
    }

    fn logits_of(&self, weights: &[Vec<f64>], rows: &Rows) -> Result<Dense, InterpretError> {
        let (w, b) = matrices(weights.iter().map(Vec::as_slice), self.d, self.device);
        let y = on(&self.basis.project(rows)?, self.device); // [n, d]
        let logits = (w.tr().matmul(&y.tr()) + b.unsqueeze(1)).contiguous(); // [concepts, n]
        Ok(Dense::upper_ends(flat(&logits)?, rows.len()))
    }

    /// The choice for a concept: its column of [`Probes::logits`] and a threshold.
    pub fn choice(&self, concept: usize) -> Option<Choice> {
        self.choices[concept]
    }

    /// The strength of the penalty that was chosen for a concept.
    pub fn strength(&self, concept: usize) -> f64 {
        self.strengths[concept]
    }

    /// Fits, over all strengths, that were stopped before they were done.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::super::fits::tests::planted;
    use super::*;
    use crate::truth::labels::Label;
    use untangle_schema::Silent;

    #[test]
    fn probes_choose_on_validation_and_name_what_they_were_fitted_to() {
        let (rows, labels) = planted();
        let same = Labelled { rows: &rows, labels: &labels };
        let probes = Probes::fit(same, same, &[true, false], Device::Cpu, &Silent).expect("fits");
        let choice = probes.choice(0).expect("there is one");
        assert!(choice.cut.f1 > 0.85 && probes.choice(1).is_none() && probes.unfinished() == 0, "{choice:?}");
        assert!(STRENGTHS.contains(&probes.strength(0)));
        assert_eq!(probes.logits(&rows).expect("values").count(), 2);
    }

    #[test]
    fn where_there_is_little_to_learn_from_a_stronger_penalty_is_kept() {
        const D: usize = 30;
        // Concept c holds where coordinate c and as much noise are together above 1.
        let drawn = |seed, n| {
            let mut numbers = crate::hash::Numbers::new(seed);
            let (mut rows, mut labels) = (Rows { d: D, values: Vec::new() }, Labels::new(4));
            for _ in 0..n {
                let x: Vec<f64> = (0..D).map(|_| numbers.normal()).collect();
                let holds = |c: &u16| x[usize::from(*c)] + numbers.normal() > 1.0;
                let held: Vec<u16> = (0..4).filter(holds).collect();
                labels.push(held.into_iter().map(|concept| Label { concept, decided: true }));
                rows.values.extend(x.iter().map(|x| *x as f32));
            }
            (rows, labels)
        };
        let (train, validation) = (drawn(1, 120), drawn(2, 1000));
        let [train, validation] = [&train, &validation].map(|(rows, labels)| Labelled { rows, labels });
        let probes = Probes::fit(train, validation, &[true; 4], Device::Cpu, &Silent).expect("fits");
        let strengths: Vec<f64> = (0..4).map(|concept| probes.strength(concept)).collect();
        assert!(strengths.iter().any(|strength| *strength > STRENGTHS[2]), "{strengths:?}");
    }
}
