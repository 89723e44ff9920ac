//! The activations of some features alone: what steering asks for at every token.
//!
//! Where a feature's activation follows from its own pre-activation, no other is computed. Of the k largest that fire, one has to
//! know how many lie before it, and a feature that does not fire has k before it soon: the walk through the encoder ends
//! where that is so of all that were asked for.

use crate::codes::Codes;
use crate::error::SaeError;
use crate::kernels::few::pre_acts_of;
use crate::kernels::select::Candidate;
use crate::parts::Activation;
use crate::sae::Sae;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Latents that a thread looks at in one go, after which it looks whether any are needed still (chosen).
const LATENTS: usize = 512;

/// A feature on a row that fires if fewer than k latents of the row lie before it.
struct Candidacy {
    row: usize,
    /// Where the answer goes.
    place: usize,
    pre_act: f32,
    rank: Candidate,
    before: AtomicUsize,
}

impl Sae {
    /// The activations of `features` on `rows`, `[n, d_in]`, each as [`Sae::encode`] has it; zero where one does not fire.
    ///
    /// # Shapes
    /// `[n, features]`
    ///
    /// # Errors
    /// When the slice is not a number of whole rows.
    pub fn activations(&self, rows: &[f32], features: &[usize]) -> Result<Vec<f32>, SaeError> {
        let (n, k) = (rows.len() / self.d_in(), self.k());
        if features.is_empty() {
            return Ok(Vec::new());
        }
        if k.is_some() && n > self.few_rows() || !rows.len().is_multiple_of(self.d_in()) {
            let mut codes = Codes::new();
            self.encode(rows, &mut codes)?;
            let of_row = |row| features.iter().map(move |feature| (row, *feature));
            return Ok((0..n).flat_map(of_row).map(|(row, feature)| codes.activation(row, feature)).collect());
        }
        let centred = self.centred(rows);
        let mut found = vec![0.0; n * features.len()];
        for (at, feature) in features.iter().enumerate() {
            let mut pre_acts = vec![0.0; n];
            pre_acts_of(&self.weights(), &centred, *feature..*feature + 1, &mut pre_acts);
            found.iter_mut().skip(at).step_by(features.len()).zip(pre_acts).for_each(|(found, p)| *found = p);
        }
        match k {
            None => self.fire_alone(features, &mut found),
            Some(k) => self.keep_those_that_fire(&centred, features, k, &mut found),
        }
        Ok(found)
    }

    /// Turns pre-activations, `[n, features]`, into activations, where these follow from nothing else.
    fn fire_alone(&self, features: &[usize], found: &mut [f32]) {
        for (found, feature) in found.iter_mut().zip(features.iter().cycle()) {
            *found = self.fire(*feature, &[*found]).first().map_or(0.0, |(_, activation)| *activation);
        }
    }

    /// Puts zeros for pre-activations, `[n, features]`, that are not among the `k` largest of their row.
    fn keep_those_that_fire(&self, centred: &[f32], features: &[usize], k: usize, found: &mut [f32]) {
        let by_magnitude = matches!(self.parts().activation, Activation::AbsTopK { .. });
        let size = |p: f32| if by_magnitude { p.abs() } else { p };
        let candidacy = |(place, (pre_act, feature)): (usize, (&f32, &usize))| Candidacy {
            row: place / features.len(),
            place,
            pre_act: *pre_act,
            rank: Candidate::new(size(*pre_act), *feature as u32),
            before: AtomicUsize::new(0),
        };
        let all = found.iter().zip(features.iter().cycle()).enumerate().map(candidacy);
        let candidacies: Vec<Candidacy> = all.filter(|one| size(one.pre_act) > 0.0).collect();
        let d = self.d_in();
        let firsts: Vec<usize> = (0..self.d_sae()).step_by(LATENTS).collect();
        firsts.into_par_iter().for_each(|first| {
            let is_open = |one: &&Candidacy| one.before.load(Ordering::Relaxed) < k;
            let open: Vec<&Candidacy> = candidacies.iter().filter(is_open).collect();
            for of_row in open.chunk_by(|a, b| a.row == b.row) {
                let row = of_row[0].row;
                let latents = first..(first + LATENTS).min(self.d_sae());
                let mut pre_acts = vec![0f32; latents.len()];
                pre_acts_of(&self.weights(), &centred[row * d..(row + 1) * d], latents, &mut pre_acts);
                let ranked = pre_acts.iter().zip(first as u32..).map(|(p, latent)| Candidate::new(size(*p), latent));
                let ranked: Vec<Candidate> = ranked.collect();
                for one in of_row {
                    let before = ranked.iter().filter(|other| **other < one.rank).count();
                    one.before.fetch_add(before, Ordering::Relaxed);
                }
            }
        });
        found.fill(0.0);
        for one in candidacies {
            found[one.place] = if one.before.into_inner() < k { one.pre_act } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::Description;
    use crate::kernels::buffer::Buffer;
    use crate::parts::Parts;
    use proptest::prelude::*;
    use untangle_schema::mix::mix;

    /// A dictionary and rows of small whole numbers, so that many pre-activations are the same.
    fn drawn(activation: Activation, d: usize, f: usize, n: usize, seed: u64) -> (Sae, Vec<f32>) {
        let number = |at: usize| (mix(seed.wrapping_add(at as u64)) % 7) as f32 - 3.0;
        let numbers = |from: usize, n: usize| -> Vec<f32> { (from..from + n).map(number).collect() };
        let w_enc = Buffer::copy_of(&numbers(0, f * d));
        let (b_enc, b_dec) = (numbers(1 << 20, f), vec![0.0; d]);
        let parts = Parts { w_dec: w_enc.clone(), w_enc, b_enc, b_dec, w_skip: None, activation };
        (Sae::new(Description::new(d, f), parts).expect("fits"), numbers(1 << 21, n * d))
    }

    fn activations(f: usize) -> impl Strategy<Value = Activation> {
        let numbers = |f: usize| prop::collection::vec(-2.0f32..2.0, f);
        prop_oneof![
            Just(Activation::Relu),
            numbers(f).prop_map(|threshold| Activation::JumpRelu { threshold }),
            (numbers(f), numbers(f)).prop_map(|(r_mag, b_mag)| Activation::Gated { r_mag, b_mag }),
            (1..=f).prop_map(|k| Activation::TopK { k }),
            (1..=f).prop_map(|k| Activation::AbsTopK { k }),
        ]
    }

    proptest! {
        #[test]
        fn they_are_those_of_all_features_bit_for_bit(
            (f, activation) in prop_oneof![3 => 1usize..40, 1 => 1usize..1300].prop_flat_map(|f| (Just(f), activations(f))),
            d in 1usize..12, n in 0usize..5, few in 0usize..4, seed in any::<u64>(),
        ) {
            let (sae, rows) = drawn(activation, d, f, n, seed);
            // Of few features all, so that the last one that fires is among them.
            let asked = |at: usize| if f < 40 { at } else { mix(seed ^ at as u64) as usize % f };
            let features: Vec<usize> = (0..if f < 40 { f } else { few }).map(asked).collect();
            let mut codes = Codes::new();
            sae.encode(&rows, &mut codes).expect("whole rows");
            let expected: Vec<f32> =
                (0..n).flat_map(|row| features.iter().map(|i| codes.activation(row, *i)).collect::<Vec<_>>()).collect();
            prop_assert_eq!(sae.activations(&rows, &features).expect("whole rows"), expected);
        }
    }

    #[test]
    fn a_part_of_a_row_is_refused() {
        let (sae, _) = drawn(Activation::Relu, 3, 4, 0, 0);
        assert!(sae.activations(&[1.0; 4], &[0]).is_err());
    }
}
