//! How much: `8`, `2x`, `0.3n`.

use std::fmt;

/// A number and what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    /// The number.
    pub value: f32,
    /// What it counts.
    pub unit: Unit,
}

/// What an amount counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Units of activation; along a direction, of length.
    Absolute,
    /// Multiples of the feature's largest activation (of a vector's own length), written with a trailing `x`.
    OfMaximum,
    /// Multiples of the norm of the activation that is changed, token by token, written with a trailing `n`.
    OfNorm,
}

impl Amount {
    /// The feature's largest activation.
    pub const MAXIMUM: Amount = Amount { value: 1.0, unit: Unit::OfMaximum };

    /// No step is larger: the square of its length would leave the numbers that a model computes in, and what is measured
    /// then would say nothing of the direction (chosen).
    pub const MOST: f32 = 1e9;

    /// What to say of a larger one.
    pub fn absurd(text: &str) -> String {
        format!(
            "`{text}` is absurd: strengths end at {:e}, behind which sums of squares leave a model's numbers",
            Self::MOST
        )
    }

    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = match (text.strip_suffix('x'), text.strip_suffix('n')) {
            (Some(number), _) => (number, Unit::OfMaximum),
            // `nan` ends in n as well, and is no amount at all.
            (_, Some(number)) if number != "na" => (number, Unit::OfNorm),
            _ => (text, Unit::Absolute),
        };
        match number.parse::<f32>() {
            Ok(value) if value.is_finite() && value.abs() <= Self::MOST => Ok(Amount { value, unit }),
            // What is infinite as it is written ends in a letter; what only f32 cannot hold, in a digit.
            Ok(value) if value.is_finite() || (!value.is_nan() && number.ends_with(|c: char| c.is_ascii_digit())) => {
                Err(Self::absurd(text))
            }
            _ => Err(format!("`{text}` is not a finite number, or one with a trailing x or n")),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Absolute => "",
            Unit::OfMaximum => "x",
            Unit::OfNorm => "n",
        };
        write!(f, "{}{unit}", self.value)
    }
}
