//! Where a change applies: `rude>0.5x and along 12 < 3`. What is compared are a feature's activation, or the length of an
//! activation along a direction, at the very token.

use super::amount::{Amount, Unit};
use super::scan::{OF_A_LABEL, Scan};
use super::what::What;
use std::fmt;

/// Comparisons, all of which must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(pub Vec<Comparison>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Whose value is compared.
    pub what: What,
    /// Whether it is the length along its direction and not its activation.
    pub along: bool,
    /// How.
    pub sign: Sign,
    /// With what.
    pub amount: Amount,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Sign {
    /// By how they are written, longer ones first.
    const ALL: [(&'static str, Sign); 4] =
        [(">=", Sign::AtLeast), ("<=", Sign::AtMost), (">", Sign::Above), ("<", Sign::Below)];

    /// Whether `value` is so beside `limit`.
    pub fn holds(self, value: f32, limit: f32) -> bool {
        match self {
            Sign::Above => value > limit,
            Sign::AtLeast => value >= limit,
            Sign::Below => value < limit,
            Sign::AtMost => value <= limit,
        }
    }
}

impl Condition {
    /// Reads what stands behind `when`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        Scan::new(text).split(" and ").into_iter().map(comparison).collect::<Result<_, _>>().map(Condition)
    }
}

fn comparison(text: &str) -> Result<Comparison, String> {
    let scan = Scan::new(text);
    let found = Sign::ALL.iter().find_map(|(name, sign)| Some((scan.split_once(name)?, *sign)));
    let Some(((left, right), sign)) = found else {
        return Err(format!(
            "`{}` compares nothing; there are >, >=, < and <=, as in rude>0.5x; {OF_A_LABEL}",
            text.trim()
        ));
    };
    let (left, along) = match left.trim().strip_prefix("along ") {
        Some(left) => (left, true),
        None => (left, false),
    };
    let what = What::parse(left)?;
    let amount = Amount::parse(right).map_err(|problem| match right.contains(" or ") {
        true => format!("`{}`: comparisons are joined with `and`; there is no `or`", text.trim()),
        false => problem,
    })?;
    let along = along || !matches!(what, What::Feature { .. });
    if amount.unit == Unit::OfNorm && !along {
        return Err(format!(
            "`{}`: n is a share of a length; activations are compared with a number or a multiple of the feature's \
             largest, lengths with `along`",
            text.trim()
        ));
    }
    Ok(Comparison { what, along, sign, amount })
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Comparison::to_string).collect();
        f.write_str(&all.join(" and "))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let along = if self.along && matches!(self.what, What::Feature { .. }) { "along " } else { "" };
        let sign = Sign::ALL.iter().find(|(_, sign)| *sign == self.sign).map_or("", |(name, _)| name);
        write!(f, "{along}{}{sign}{}", self.what, self.amount)
    }
}
