//! The exact change that editing features makes to an activation.
//!
//! `x' = x + s sum_i (f'_i - f_i) d_i`, i over the edited features, d_i decoder rows. s is 1 but in dictionaries that scale
//! every row before they encode it: their features are in units of the row's own scale, which s gives back.
//!
//! | operator | f'_i |
//! |---|---|
//! | add v | f_i + v (not clipped: a negative v pushes the other way, and the encoder is not needed) |
//! | set v | v (v = 0 ablates) |
//! | mul v | v f_i |
//! | min v | at least v |
//! | max v | at most v |
//!
//! This is the reference: one set of edits for all rows, on the host. Models are steered by [`super::steering`], which does
//! the same in the pass, row by row and at several points; a test holds the two together.

use super::problem::SteerProblem;
use crate::error::InterpretError;
use crate::hash::Numbers;
use crate::intervene::{Intervene, Rewrite, Shift, on_host};
use tch::Tensor;
use untangle_sae::{Codes, Sae};

/// What is done to a feature's activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operator {
    /// A value is added.
    Add(f32),
    /// It becomes a value; 0 ablates the feature.
    Set(f32),
    /// It is multiplied.
    Mul(f32),
    /// It becomes at least a value.
    Min(f32),
    /// It becomes at most a value.
    Max(f32),
}

impl Operator {
    /// f' - f.
    pub(super) fn change(self, f: f32) -> f32 {
        match self {
            Operator::Add(v) => v,
            Operator::Set(v) => v - f,
            Operator::Mul(v) => v * f - f,
            Operator::Min(v) => (v - f).max(0.0),
            Operator::Max(v) => (v - f).min(0.0),
        }
    }

    /// Whether f' - f depends on f.
    pub(super) fn reads(self) -> bool {
        !matches!(self, Operator::Add(_))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Add(_) => "add",
            Operator::Set(_) => "set",
            Operator::Mul(_) => "mul",
            Operator::Min(_) => "min",
            Operator::Max(_) => "max",
        }
    }

    /// Its value.
    pub fn value(self) -> f32 {
        match self {
            Operator::Add(v) | Operator::Set(v) | Operator::Mul(v) | Operator::Min(v) | Operator::Max(v) => v,
        }
    }

    /// The same operator with another value.
    pub fn with_value(self, value: f32) -> Self {
        match self {
            Operator::Add(_) => Operator::Add(value),
            Operator::Set(_) => Operator::Set(value),
            Operator::Mul(_) => Operator::Mul(value),
            Operator::Min(_) => Operator::Min(value),
            Operator::Max(_) => Operator::Max(value),
        }
    }
}

/// One feature and what is done to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edit {
    /// The feature.
    pub feature: usize,
    /// What is done.
    pub operator: Operator,
}

/// Applies edits to rows.
#[derive(Debug)]
pub struct Steer<'a> {
    sae: &'a Sae,
    edits: Vec<Edit>,
    codes: Codes,
}

impl<'a> Steer<'a> {
    /// Steers features of `sae`, at most one edit each.
    ///
    /// # Errors
    /// When a feature does not exist or is edited twice.
    pub fn new(sae: &'a Sae, edits: &[Edit]) -> Result<Self, InterpretError> {
        for (at, Edit { feature, .. }) in edits.iter().enumerate() {
            if *feature >= sae.d_sae() {
                return Err(InterpretError::NoSuchFeature { feature: *feature, d_sae: sae.d_sae() });
            }
            if let Some(first) = edits[..at].iter().find(|edit| edit.feature == *feature) {
                let words = |edit: &Edit| format!("{feature}:{}={}", edit.operator.name(), edit.operator.value());
                let (first, second) = (words(first), words(&edits[at]));
                return Err(SteerProblem::Twice { feature: *feature, first, second }.into());
            }
        }
        let mut edits = edits.to_vec();
        // The order in which the user names features does not show in the last bit of a sum.
        edits.sort_by_key(|edit| edit.feature);
        Ok(Self { sae, edits, codes: Codes::new() })
    }

    /// The changes of features on every row, as codes, those that change nothing left out; `read` is what the dictionary
    /// reads at these rows, `[n, d_in]`.
    fn changes(&mut self, read: &[f32]) -> Result<Vec<Vec<(usize, f32)>>, InterpretError> {
        let reads = self.edits.iter().any(|edit| edit.operator.reads());
        if reads {
            self.sae.encode(read, &mut self.codes)?;
        }
        let of_row = |row: usize| {
            let f = |feature| if reads { self.codes.activation(row, feature) } else { 0.0 };
            let change = |edit: &Edit| (edit.feature, edit.operator.change(f(edit.feature)));
            self.edits.iter().map(change).filter(|(_, change)| *change != 0.0).collect()
        };
        Ok((0..read.len() / self.sae.d_in()).map(of_row).collect())
    }

    /// Calls `step(row, decode(f') - decode(f))` on every row that the edits change, and on no other: adding 0 would
    /// turn -0 into 0. Says whether there was one.
    fn each_changed(
        &mut self,
        rows: &mut [f32],
        read: Option<&[f32]>,
        mut step: impl FnMut(&mut [f32], &[f32]),
    ) -> Result<bool, InterpretError> {
        let changes = self.changes(read.unwrap_or(rows))?;
        let (d, d_in) = (self.sae.d_out(), self.sae.d_in());
        let mut delta = vec![0.0; d];
        for (at, (row, changes)) in rows.chunks_exact_mut(d).zip(&changes).enumerate() {
            if changes.is_empty() {
                continue;
            }
            let scale = self.sae.scale_of(read.map_or(&*row, |read| &read[at * d_in..(at + 1) * d_in]));
            delta.fill(0.0);
            for (feature, change) in changes {
                let (direction, change) = (self.sae.decoder_row(*feature), change * scale);
                delta.iter_mut().zip(direction).for_each(|(delta, d)| *delta += change * d);
            }
            step(row, &delta);
        }
        Ok(changes.iter().any(|changes| !changes.is_empty()))
    }

    /// The step that every row gets alike, where only additions are asked for and the dictionary does not scale its rows.
    fn step_of_all(&self) -> Option<Vec<f32>> {
        let adds = self.edits.iter().all(|edit| matches!(edit.operator, Operator::Add(_)));
        if !adds || self.sae.scales_rows() {
            return None;
        }
        let mut step = vec![0.0; self.sae.d_out()];
        for edit in &self.edits {
            let change = edit.operator.change(0.0);
            let direction = self.sae.decoder_row(edit.feature);
            // As on the host: what changes nothing takes no part, so that the sums are the same to the bit.
            if change != 0.0 {
                step.iter_mut().zip(direction).for_each(|(step, d)| *step += change * d);
            }
        }
        Some(step)
    }
}

impl Intervene for Steer<'_> {
    /// Additions are one step for all rows, and stay where the pass is; what depends on the features' activations is
    /// computed on the host, where the dictionary is.
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        match self.step_of_all() {
            None => on_host(self, rows, read),
            Some(_) if self.edits.iter().all(|edit| edit.operator.change(0.0) == 0.0) => Ok(None),
            Some(step) => Shift { step: Tensor::from_slice(&step) }.intervene(rows, read),
        }
    }
}

impl Rewrite for Steer<'_> {
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError> {
        self.each_changed(rows, read, |row, delta| row.iter_mut().zip(delta).for_each(|(x, delta)| *x += delta))
    }
}

/// The control of a steering: on every row, a step as long as that of [`Steer`], in another direction.
#[derive(Debug)]
pub struct OtherStep<'a> {
    steer: Steer<'a>,
    direction: Vec<f32>,
}

impl<'a> OtherStep<'a> {
    /// Steps as long as those of `steer`, in a direction drawn uniformly with `seed`.
    pub fn random(steer: Steer<'a>, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let drawn: Vec<f64> = (0..steer.sae.d_out()).map(|_| numbers.normal()).collect();
        let norm = drawn.iter().map(|x| x * x).sum::<f64>().sqrt();
        Self { steer, direction: drawn.iter().map(|x| (x / norm) as f32).collect() }
    }

    /// Steps as long as those of `steer`, in the direction of another feature.
    ///
    /// # Errors
    /// When the feature does not exist.
    pub fn along(steer: Steer<'a>, feature: usize) -> Result<Self, InterpretError> {
        if feature >= steer.sae.d_sae() {
            return Err(InterpretError::NoSuchFeature { feature, d_sae: steer.sae.d_sae() });
        }
        let direction = steer.sae.decoder_row(feature).to_vec();
        Ok(Self { steer, direction })
    }
}

impl Intervene for OtherStep<'_> {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(self, rows, read)
    }
}

impl Rewrite for OtherStep<'_> {
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError> {
        let direction = &self.direction;
        self.steer.each_changed(rows, read, |row, delta| {
            let length = delta.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
            row.iter_mut().zip(direction).for_each(|(x, u)| *x += length * u);
        })
    }
}
