//! p-annealing: ReLU with an Lp penalty whose p falls from 1, so that it ends close to counting (Karvonen et al. 2024).
//!
//! ```text
//! f = relu(p)        L = 1/n sum_r |W_dec^T f_r - z_r|^2 + alpha_t/n sum_r sum_i phi(f_ri),  phi(f) = f^q
//! dL/dp_ri = g_r · d_i + alpha_t/n q f_ri^(q-1) where p_ri > 0, else 0
//! ```
//!
//! `q` falls in [`UPDATES`] equal drops; at each, `alpha` is multiplied by `sum phi_q / sum phi_q'` of the batch, so that the
//! penalty goes on where it was. The slope of `f^q` is infinite at zero: below [`FLOOR`] the curve goes on as its tangent.

use super::rule::{At, Local, Rule};

/// Drops of the exponent in a run (the reference's number of sparsity updates).
pub const UPDATES: u64 = 10;
/// Where the tangent takes over; chosen, a hundredth of what a latent that fires has in normalised units.
pub const FLOOR: f32 = 0.01;

/// The rule of one step.
#[derive(Clone, Copy, Debug)]
pub struct Lp {
    /// `alpha / n`
    pub weight: f32,
    /// `q`
    pub q: f32,
}

impl Lp {
    /// `phi` and its slope.
    #[inline(always)]
    pub fn phi(&self, f: f32) -> (f32, f32) {
        let at = f.max(FLOOR);
        let power = at.powf(self.q);
        let slope = self.q * power / at;
        (power + slope * (f - at), slope)
    }
}

impl Rule for Lp {
    #[inline(always)]
    fn act(&self, _: usize, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        if at.f <= 0.0 {
            return Local::default();
        }
        let (phi, slope) = self.phi(at.f);
        Local { d_pre: at.h + self.weight * slope, penalty: self.weight * phi, ..Local::default() }
    }
}

/// The exponent of a step: 1 until `begin`, then down to `end` in equal drops over the rest of the run.
pub fn exponent(step: u64, begin: u64, steps: u64, end: f64) -> f64 {
    let length = steps.saturating_sub(begin).max(1);
    let drops = (step.saturating_sub(begin) * (UPDATES + 1) / length).min(UPDATES);
    1.0 - (1.0 - end) * drops as f64 / UPDATES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_falls_in_equal_drops_and_the_curve_has_no_corner() {
        assert_eq!([0, 20, 29].map(|step| exponent(step, 20, 130, 0.2)), [1.0; 3]);
        assert!((exponent(30, 20, 130, 0.2) - 0.92).abs() < 1e-12 && (exponent(129, 20, 130, 0.2) - 0.2).abs() < 1e-12);
        let lp = Lp { weight: 1.0, q: 0.5 };
        let ((below, slope_below), (above, slope_above)) = (lp.phi(FLOOR * 0.9999), lp.phi(FLOOR * 1.0001));
        assert!((below - 0.1).abs() < 1e-4 && (above - 0.1).abs() < 1e-4 && (slope_below - slope_above).abs() < 1e-3);
        assert_eq!(lp.phi(4.0), (2.0, 0.25));
    }
}
