//! The features of a few rows, such as those of a prompt or of a token that is being written: from all pre-activations, in f32.

use crate::codes::Codes;
use crate::kernels::few::pre_acts_of;
use crate::kernels::select::{Candidate, Running, keep_best};
use crate::parts::Activation;
use crate::sae::Sae;
use rayon::prelude::*;

/// Latents that a thread looks at in one go: their pre-activations of all rows stay in its second cache.
const LATENTS: usize = 2048;

impl Sae {
    /// Appends the active features of `rows`, `[n, d_in]`, to `codes`.
    pub(crate) fn encode_few(&self, rows: &[f32], codes: &mut Codes) {
        let (weights, centred) = (self.weights(), self.centred(rows));
        let (n, f) = (rows.len() / self.d_in(), self.d_sae());
        let part = |first: usize| -> Vec<Vec<(u32, f32)>> {
            let latents = first..(first + LATENTS).min(f);
            let width = latents.len();
            let mut pre_acts = vec![0f32; n * width];
            pre_acts_of(&weights, &centred, latents, &mut pre_acts);
            pre_acts.chunks_exact(width).map(|pre_acts| self.fire(first, pre_acts)).collect()
        };
        let firsts: Vec<usize> = (0..f).step_by(LATENTS).collect();
        let parts: Vec<_> = firsts.into_par_iter().map(part).collect();
        for row in 0..n {
            let all = parts.iter().flat_map(|part| part[row].iter().copied());
            match self.k() {
                Some(k) => codes.push_row(largest(all, k)),
                None => codes.push_row(all),
            }
        }
    }

    /// What may fire among the latents from `first` on, ascending, by their pre-activations in one row: of a dictionary with a
    /// fixed k, as many as fire at most.
    pub(crate) fn fire(&self, first: usize, pre_acts: &[f32]) -> Vec<(u32, f32)> {
        let indexed = (first as u32..).zip(pre_acts.iter().copied());
        match &self.parts().activation {
            Activation::Relu => indexed.filter(|&(_, p)| p > 0.0).collect(),
            Activation::JumpRelu { threshold } => indexed
                .zip(&threshold[first..])
                .filter(|((_, p), theta)| p > theta && *p > 0.0)
                .map(|(pair, _)| pair)
                .collect(),
            Activation::Gated { .. } => {
                let open = indexed.filter(|&(_, p)| p > 0.0).map(|(i, p)| (i, self.magnitude(i, p)));
                open.filter(|&(_, f)| f > 0.0).collect()
            }
            Activation::TopK { k } => {
                let mut running = Running::new(*k);
                running.offer(pre_acts, &[0.0; LATENTS][..pre_acts.len()], first);
                let mut best: Vec<Candidate> = running.finish().iter().copied().filter(|c| c.value() > 0.0).collect();
                best.sort_unstable_by_key(|c| c.index());
                best.into_iter().map(|c| (c.index(), c.value())).collect()
            }
            Activation::AbsTopK { k } => largest(indexed.filter(|&(_, p)| p != 0.0), *k),
        }
    }
}

/// The `k` entries of the largest magnitudes, ascending by index; ties of the last place go to the lower one.
fn largest(entries: impl Iterator<Item = (u32, f32)>, k: usize) -> Vec<(u32, f32)> {
    let entries: Vec<(u32, f32)> = entries.collect();
    if entries.len() <= k {
        return entries;
    }
    let candidate = |(place, (_, p)): (usize, &(u32, f32))| Candidate::new(p.abs(), place as u32);
    let mut best: Vec<Candidate> = entries.iter().enumerate().map(candidate).collect();
    keep_best(&mut best, k);
    best.sort_unstable_by_key(|c| c.index());
    best.into_iter().map(|c| entries[c.index() as usize]).collect()
}
