//! What makes sparse where no number is chosen: penalties, and their coefficients.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The coefficient of a sparsity penalty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sparsity {
    /// At the start, after the warm-up.
    pub coefficient: f64,
    /// L0 that the coefficient is steered to; none for a coefficient that stays.
    pub l0: Option<f64>,
    /// Steps in which it rises from zero.
    pub warm_up: u64,
    /// Steps of the run, which the steering goes by.
    pub steps: u64,
}

/// What is penalised of JumpReLU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// L0 itself.
    Step,
    /// The squared relative distance of L0 from a target.
    Quadratic {
        /// The target.
        target: f64,
    },
    /// A smooth count, `tanh(c f)`.
    Tanh,
}

/// The penalties by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PenaltyKind {
    /// [`Penalty::Step`]
    Step,
    /// [`Penalty::Quadratic`]
    #[default]
    Quadratic,
    /// [`Penalty::Tanh`]
    Tanh,
}

impl FromStr for PenaltyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "step" => Ok(PenaltyKind::Step),
            "quadratic" => Ok(PenaltyKind::Quadratic),
            "tanh" => Ok(PenaltyKind::Tanh),
            _ => Err(format!("`{text}` is none of step, quadratic, tanh")),
        }
    }
}

/// Part of the run in which a sparsity coefficient rises from zero (SAELens and dictionary_learning: 5 to 10 %).
const WARM_UP: f64 = 0.05;
/// Coefficient of L1 and Lp where none is given, in units of normalised data; where steering begins, chosen.
pub(crate) const L1_COEFFICIENT: f64 = 1.0;

impl Sparsity {
    /// A coefficient that is given stays, unless an L0 is asked for as well. Else it begins with `usual` and is steered to the L0
    /// that is asked for, or to `k`.
    pub(crate) fn resolve(given: Option<f64>, l0: Option<f64>, k: usize, usual: f64, steps: u64) -> Self {
        let target = match given {
            Some(_) => l0,
            None => Some(l0.unwrap_or(k as f64)),
        };
        let warm_up = (WARM_UP * steps as f64).round() as u64;
        Sparsity { coefficient: given.unwrap_or(usual), l0: target, warm_up, steps }
    }
}
