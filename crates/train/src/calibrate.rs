//! Thresholds for single rows, from rows that training did not read.
//!
//! ```text
//! f_i = p_i where p_i > theta_i + t        t such that, over n calibration rows, l0 n entries exceed
//! ```
//!
//! `theta` is zero for what chooses by batch, and `t` then the one threshold of all latents. The rows are neither those of
//! training nor those that will judge the dictionary. Of a crosscoder, `p_i c_i > t` takes the place of `p_i > t` (see
//! [`crate::arch::crosscoder`]), which is a threshold `t / c_i` of every latent's own.

use crate::activity::{Entries, Scratches};
use crate::arch::batch_top_k::{Ranks, find_largest, nth_largest};
use crate::error::TrainError;
use untangle_sae::kernels::encode::{EncoderWeights, TILE_ROWS};

/// Where the search for the threshold begins; it is lowered from there as far as needed.
const NO_GUESS: f32 = 0.0;

/// The shift `t` and the active features per row that it gives on these rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// `t`
    pub shift: f32,
    /// Active features per row at it.
    pub l0: f64,
}

/// Calibrates `weights`, whose `b_enc` has `theta` subtracted, on `rows`, `[n, d_in]`, of which the centre is subtracted.
/// `norm_sums` is `c`, empty where latents are alike, and `guess` a shift of about the right size, zero where none is known.
///
/// # Errors
/// When libtorch refuses a product.
pub fn calibrate(
    weights: &EncoderWeights<'_>,
    norm_sums: &[f32],
    rows: &[f32],
    l0: f64,
    guess: f32,
) -> Result<Calibration, TrainError> {
    let ranks = Ranks(norm_sums);
    let n = rows.len() / weights.d_in;
    let wanted = (l0 * n as f64).round() as usize;
    let mut tiles = vec![Entries::default(); n.div_ceil(TILE_ROWS)];
    let guess = if guess > 0.0 { guess / 2.0 } else { NO_GUESS };
    // One more than wanted, so that the shift can lie between the last that is to fire and the first that is not.
    find_largest(weights, ranks, wanted + 1, guess, &Scratches::default(), rows, &mut tiles)?;
    let found: usize = tiles.iter().map(|tile| tile.found.latents.len()).sum();
    let nth = |n| nth_largest(tiles.iter().flat_map(|tile| ranks.of(tile)), n);
    let shift = match (nth(wanted), nth(wanted + 1)) {
        (Some(last), Some(next)) => next + (last - next) / 2.0,
        // Everything that is positive fires.
        _ => 0.0,
    };
    let active = tiles.iter().flat_map(|t| ranks.of(t)).filter(|&rank| rank > shift).count();
    Ok(Calibration { shift, l0: active.min(found) as f64 / n.max(1) as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_lies_between_the_last_that_fires_and_the_first_that_does_not() {
        // One input of width 1, four latents with weights 1 to 4: rows 1 and 2 give p = 1 2 3 4 and 2 4 6 8.
        let (w_enc, b_enc) = ([1.0f32, 2.0, 3.0, 4.0], [0.0f32; 4]);
        let weights = EncoderWeights { w_enc: &w_enc, narrow: None, b_enc: &b_enc, d_in: 1 };
        let at = |l0, guess| calibrate(&weights, &[], &[1.0, 2.0], l0, guess).expect("fits");
        // Three of eight: 8, 6 and one of the two 4s cannot be told apart, so both or none; the middle of a tie is the tie.
        assert_eq!(at(1.0, 5.0), Calibration { shift: 5.0, l0: 1.0 });
        assert_eq!(at(2.5, 0.0), Calibration { shift: 2.5, l0: 2.5 });
        assert_eq!(at(4.0, 0.0).l0, 4.0);
        // With weights 8, 1, 1, 1 the ranks are 8 2 3 4 and 16 4 6 8: 16 and two 8s are the three largest.
        let weighted = calibrate(&weights, &[8.0, 1.0, 1.0, 1.0], &[1.0, 2.0], 1.5, 5.0).expect("fits");
        assert_eq!(weighted, Calibration { shift: 7.0, l0: 1.5 });
    }
}
