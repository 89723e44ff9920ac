//! How a dictionary is judged on rows: the one definition behind a training's report, `evaluate` and every table.
//!
//! The metrics ([`crate::metrics`]) are pooled over two sets of rows: the *ordinary* ones, neither of special tokens nor
//! with an outlier's norm, which are of the kind that training reads and what every headline is of; and all of them. Dead
//! and dense features are counted on the same rows as the figure beside them. A transcoder is judged by what it predicts, a
//! crosscoder by
//!
//! ```text
//! FVU = sum_m s_m^2 sum_rows |x^m - x_hat^m|^2 / sum_m s_m^2 sum_rows |x^m - mean(x^m)|^2
//! ```
//!
//! with the scales s_m by which training made its parts equally large: what training made small. Over the raw rows, the
//! part with the largest numbers would be judged almost alone; in a mean of the parts' own FVUs, one that hardly varies
//! would count as much as one that does. Every part's own FVU stands beside it.

use crate::codes::Codes;
use crate::crosscoder::Crosscoder;
use crate::error::SaeError;
use crate::metrics::{FiringCounts, Fvu};
use crate::sae::Sae;

/// Sums over one set of rows.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Of every part; one, but of crosscoders.
    parts: Vec<Fvu>,
    /// `s_m^2` of every part.
    weights: Vec<f64>,
    firing: FiringCounts,
}

impl Tally {
    /// Sums of rows whose parts have this width and these scales.
    fn new(width: usize, scales: &[f32], d_sae: usize) -> Self {
        Tally {
            parts: vec![Fvu::new(width); scales.len()],
            weights: scales.iter().map(|scale| f64::from(*scale).powi(2)).collect(),
            firing: FiringCounts::new(d_sae),
        }
    }

    fn add(&mut self, x: &[f32], x_hat: &[f32], features: &[u32]) {
        let width = x.len() / self.parts.len();
        let parts = x.chunks_exact(width).zip(x_hat.chunks_exact(width));
        self.parts.iter_mut().zip(parts).for_each(|(part, (x, x_hat))| part.update(x, x_hat));
        self.firing.add_row(features);
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.firing.rows()
    }

    /// Fraction of variance unexplained, parts equally large; lower is better, NaN where nothing varies.
    pub fn fvu(&self) -> f64 {
        let sum = |of: fn(&Fvu) -> f64| self.parts.iter().zip(&self.weights).map(|(part, w)| w * of(part)).sum::<f64>();
        sum(Fvu::squared_error) / sum(Fvu::squared_deviation)
    }

    /// That of every part on its own.
    pub fn part_fvus(&self) -> impl Iterator<Item = f64> + '_ {
        self.parts.iter().map(Fvu::value)
    }

    /// How often features fire.
    pub fn firing(&self) -> &FiringCounts {
        &self.firing
    }
}

/// Sums over rows, the ordinary ones and all.
#[derive(Debug)]
pub struct Judge<'a> {
    sae: &'a Sae,
    scales: Vec<f32>,
    ordinary: Tally,
    all: Tally,
    x_hat: Vec<f32>,
    /// What was to be reconstructed without the means of its rows, where the dictionary's own rows have none.
    centred: Vec<f32>,
}

impl<'a> Judge<'a> {
    /// Of an autoencoder or a transcoder.
    pub fn new(sae: &'a Sae) -> Self {
        Self::of_parts(sae, vec![1.0])
    }

    /// Of a crosscoder; rows are its parts side by side.
    pub fn of_crosscoder(crosscoder: &'a Crosscoder) -> Self {
        let scales = crosscoder.places().iter().map(|place| place.scale).collect();
        Self::of_parts(crosscoder.joined(), scales)
    }

    fn of_parts(sae: &'a Sae, scales: Vec<f32>) -> Self {
        let tally = Tally::new(sae.d_out() / scales.len(), &scales, sae.d_sae());
        Judge { sae, ordinary: tally.clone(), all: tally, x_hat: Vec::new(), centred: Vec::new(), scales }
    }

    /// Adds rows, `[n, d_in]`, with their codes and what is to be reconstructed, `[n, d_out]`: the rows themselves, but of
    /// transcoders. `ordinary` says which are.
    ///
    /// # Errors
    /// When the slices are not of as many rows.
    pub fn add(&mut self, read: &[f32], target: &[f32], codes: &Codes, ordinary: &[bool]) -> Result<(), SaeError> {
        let d = self.sae.d_out();
        self.x_hat.resize(target.len(), 0.0);
        self.sae.reconstruct(read, codes, &mut self.x_hat)?;
        if self.sae.judges_centred() {
            self.centred.clear();
            self.centred.extend_from_slice(target);
            self.sae.centre_judged(&mut self.centred, &mut self.x_hat);
        }
        let target = if self.sae.judges_centred() { &self.centred[..] } else { target };
        let rows = target.chunks_exact(d).zip(self.x_hat.chunks_exact(d)).zip(ordinary);
        for (at, ((x, x_hat), is_ordinary)) in rows.enumerate() {
            let (features, _) = codes.row(at);
            self.all.add(x, x_hat, features);
            if *is_ordinary {
                self.ordinary.add(x, x_hat, features);
            }
        }
        Ok(())
    }

    /// What the rows that were added last are compared with, where `target` was to be reconstructed, `[n, d_out]`.
    pub fn judged<'b>(&'b self, target: &'b [f32]) -> &'b [f32] {
        if self.sae.judges_centred() { &self.centred } else { target }
    }

    /// Reconstructions of the rows that were added last, `[n, d_out]`.
    pub fn x_hat(&self) -> &[f32] {
        &self.x_hat
    }

    /// Scale of every part.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Over the ordinary rows.
    pub fn ordinary(&self) -> &Tally {
        &self.ordinary
    }

    /// Over all rows.
    pub fn all(&self) -> &Tally {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Description, Place, Provenance};
    use crate::kernels::buffer::Buffer;
    use crate::parts::{Activation, Parts};

    #[test]
    fn parts_weigh_by_their_scales_and_the_headline_is_of_ordinary_rows() {
        let reads = [1.0, 0.5].map(|scale| Place { hook: Some("a".to_owned()), scale, ..Place::default() }).to_vec();
        let provenance = Provenance { reads, ..Provenance::default() };
        let description = Description { provenance, ..Description::new(2, 2) };
        // Feature 0 is the first part; the second is never reconstructed, and feature 1 fires above 5 in the first.
        let parts = Parts {
            w_enc: Buffer::copy_of(&[1.0, 0.0, 1.0, 0.0]),
            b_enc: vec![0.0, -5.0],
            w_dec: Buffer::copy_of(&[1.0, 0.0, 0.0, 0.0]),
            b_dec: vec![0.0, 0.0],
            w_skip: None,
            activation: Activation::JumpRelu { threshold: vec![0.0; 2] },
        };
        let crosscoder = Crosscoder::new(description, parts).expect("fits");
        let rows = [0.0f32, 4.0, 2.0, -4.0, 100.0, 0.0];
        let mut codes = Codes::new();
        crosscoder.encode(&rows, &mut codes).expect("fits");
        let mut judge = Judge::of_crosscoder(&crosscoder);
        judge.add(&rows, &rows, &codes, &[true, true, false]).expect("fits");
        // Ordinary: errors 0 and 32, deviations 2 and 32, and the second weighs a quarter.
        assert_eq!(judge.ordinary().fvu(), 8.0 / 10.0);
        assert_eq!(judge.ordinary().part_fvus().collect::<Vec<_>>(), [0.0, 1.0]);
        assert_eq!((judge.ordinary().rows(), judge.all().rows()), (2, 3));
        assert_eq!([judge.ordinary(), judge.all()].map(|tally| tally.firing().dead()), [1, 0]);
        // All: the first deviates by 34^2 + 32^2 + 66^2, the second by 32.
        assert_eq!(judge.all().fvu(), 8.0 / (34.0f64.powi(2) + 32.0f64.powi(2) + 66.0f64.powi(2) + 8.0));
    }
}
