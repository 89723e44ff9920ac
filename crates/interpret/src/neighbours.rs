//! Which features of a dictionary write alike, and which fire together?
//!
//! `cos(i, j) = d_i . d_j / (|d_i| |d_j|)` over the rows d of the decoder: 1 for features that write the same, 0 for those
//! that have nothing to do with each other. `J(i, j) = n_ij / (n_i + n_j - n_ij)` over rows that were drawn: n_i those on which i fires,
//! n_ij those on which both do (Jaccard 1901).

use crate::error::InterpretError;
use crate::hash::mix;
use crate::progress::Progress;
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Codes, Description, Parts, Sae};
use untangle_schema::{Nearness, Neighbour, Observer, Unit};

/// Features whose cosines with all others are worked out at once.
const BLOCK: usize = 1024;
/// Rows that are drawn to see what fires together.
const ROWS: usize = 1 << 16;
/// Two features that fire together on fewer of them may do so by chance.
const TOGETHER: u32 = 3;

/// Of every feature the `n` others with the largest cosine of decoder rows above 0, the nearest first. A feature that writes nothing
/// has no neighbours and is none.
///
/// The decoder's rows are read by a dictionary of themselves, which keeps the largest products as training does.
///
/// # Errors
/// When the user asks to stop.
pub fn nearest(sae: &Sae, n: usize, observer: &dyn Observer) -> Result<Vec<Vec<Neighbour>>, InterpretError> {
    let (features, d) = (sae.d_sae(), sae.d_out());
    let n = n.min(features.saturating_sub(1));
    if n == 0 {
        return Ok(vec![Vec::new(); features]);
    }
    let directions = directions(sae);
    let of_directions = Parts {
        w_enc: Buffer::copy_of(&directions),
        b_enc: vec![0.0; features],
        w_dec: Buffer::zeros(features * d),
        b_dec: vec![0.0; d],
        w_skip: None,
        // One more than wanted: the nearest of all is the feature itself.
        activation: Activation::TopK { k: n + 1 },
    };
    let of_directions = Sae::new(Description::new(d, features), of_directions)?;
    let mut progress = Progress::start(observer, "neighbours", Unit::Examples, features as u64);
    let (mut nearest, mut codes) = (Vec::with_capacity(features), Codes::new());
    for block in directions.chunks(BLOCK * d) {
        of_directions.encode(block, &mut codes)?;
        for at in 0..codes.n_rows() {
            let (others, cosines) = codes.row(at);
            let own = nearest.len();
            let others = others.iter().zip(cosines).filter(|(other, _)| **other as usize != own);
            nearest.push(first(Nearness::Decoder, others.map(|(other, cosine)| (*other, cosine.min(1.0))), n));
        }
        progress.advance(codes.n_rows() as u64)?;
    }
    progress.finish();
    Ok(nearest)
}

/// The `n` with the largest values; of equals the lower number first, so that which comes is not left to chance.
fn first(kind: Nearness, all: impl Iterator<Item = (u32, f32)>, n: usize) -> Vec<Neighbour> {
    let mut all: Vec<Neighbour> =
        all.map(|(feature, value)| Neighbour { kind, feature: feature as usize, value }).collect();
    all.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.feature.cmp(&b.feature)));
    all.truncate(n);
    all
}

/// The decoder's rows in unit length, `[d_sae, d_out]`; zeros of a feature that writes nothing.
fn directions(sae: &Sae) -> Vec<f32> {
    let mut units = Vec::with_capacity(sae.d_sae() * sae.d_out());
    for feature in 0..sae.d_sae() {
        let row = sae.decoder_row(feature);
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let is_there = norm > 0.0 && norm.is_finite();
        units.extend(row.iter().map(|x| if is_there { (f64::from(*x) / norm) as f32 } else { 0.0 }));
    }
    units
}

/// Rows with the smallest hashes, each with the features that fire on it: a function of the rows, not of their order.
#[derive(Clone, Debug)]
pub(crate) struct Fired {
    salt: u64,
    kept: BinaryHeap<FiredRow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FiredRow {
    key: u64,
    features: Vec<u32>,
}

impl PartialOrd for FiredRow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FiredRow {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Fired {
    pub(crate) fn new(seed: u64) -> Self {
        Self { salt: mix(seed ^ 0x0066_6972_6564), kept: BinaryHeap::new() }
    }

    /// Considers a row.
    pub(crate) fn offer(&mut self, row: u64, features: &[u32]) {
        let key = mix(self.salt ^ row);
        if self.kept.len() == ROWS {
            if self.kept.peek().is_none_or(|largest| largest.key <= key) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(FiredRow { key, features: features.to_vec() });
    }

    /// Of each of `d_sae` features the `n` others that fire with it most, as a part of the rows on which either does.
    pub(crate) fn together(self, d_sae: usize, n: usize) -> Vec<Vec<Neighbour>> {
        let rows: Vec<Vec<u32>> = self.kept.into_iter().map(|row| row.features).collect();
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); d_sae];
        for (number, row) in rows.iter().enumerate() {
            row.iter().for_each(|feature| rows_of[*feature as usize].push(number as u32));
        }
        let of = |counts: &mut Vec<u32>, feature: usize| {
            counts.resize(d_sae, 0);
            let mut touched = Vec::new();
            for other in rows_of[feature].iter().flat_map(|row| &rows[*row as usize]) {
                let count = &mut counts[*other as usize];
                if *count == 0 {
                    touched.push(*other);
                }
                *count += 1;
            }
            let both: Vec<(u32, u32)> =
                touched.iter().map(|other| (*other, std::mem::take(&mut counts[*other as usize]))).collect();
            let often = both.into_iter().filter(|(other, n)| *other as usize != feature && *n >= TOGETHER);
            let jaccard = |(other, n): (u32, u32)| {
                let either = rows_of[feature].len() + rows_of[other as usize].len() - n as usize;
                (other, (f64::from(n) / either as f64) as f32)
            };
            first(Nearness::Coactivation, often.map(jaccard), n)
        };
        (0..d_sae).into_par_iter().map_init(Vec::new, of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fires_together_is_counted_by_hand() {
        let mut fired = Fired::new(0);
        // 0 fires on ten rows, 1 on five of them, 2 on four others and one of them, 3 with 1 twice, which is too rare.
        for row in 0..14u64 {
            let on = [row < 10, row < 5, row > 8, row < 2];
            let features: Vec<u32> = (0..4).filter(|feature| on[*feature as usize]).collect();
            fired.offer(row, &features);
        }
        let near = fired.together(5, 9);
        assert_eq!(near[0], [Neighbour { kind: Nearness::Coactivation, feature: 1, value: 0.5 }]);
        assert_eq!(near[1].iter().map(|near| near.feature).collect::<Vec<_>>(), [0]);
        assert!(near[2].is_empty() && near[3].is_empty() && near[4].is_empty());
    }
}
