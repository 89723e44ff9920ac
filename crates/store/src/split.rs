//! Which rows are held out of training? Decided once, here, for training and evaluation alike.

use crate::error::StoreError;
use crate::order::hash;
use crate::set::ActivationSet;
use serde::{Deserialize, Serialize};

/// What is held out, as it is recorded beside a dictionary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOut {
    /// A fraction of the documents, chosen by hash and seed; of contiguous blocks of rows where there are no documents
    /// or fewer than [`FEWEST_DOCUMENTS`].
    Fraction {
        /// Between 0 and 1.
        fraction: f64,
        /// Another seed holds out others.
        seed: u64,
    },
    /// The last rows of the store.
    LastRows(u64),
    /// Nothing.
    None,
}

impl Default for HeldOut {
    fn default() -> Self {
        HeldOut::Fraction { fraction: 0.05, seed: 0 }
    }
}

/// With fewer documents than this the held-out part would be a handful of them, so blocks of rows are taken instead.
pub const FEWEST_DOCUMENTS: u64 = 100;
/// Number of blocks that a store without documents is divided into (fewer where it has fewer rows).
const BLOCKS: u64 = 400;
/// Longest block, in rows: more would make the held-out part of a large store a few long stretches.
const LONGEST_BLOCK: u64 = 4096;
/// Up to this many units exactly the asked fraction is taken; above, the hash alone gives it to 1 %.
const EXACT_UNITS: u64 = 1 << 18;

/// A held-out rule made definite for one store: membership is a pure function of row and document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Nothing,
    /// Rows from this one on.
    From(u64),
    /// Units (documents, or blocks of so many rows) whose hash is at most `limit`.
    Hash {
        seed: u64,
        limit: u64,
        block: Option<u64>,
    },
}

impl Split {
    /// Applies `held_out` to a store.
    ///
    /// # Errors
    /// [`StoreError::HeldOut`] where one side would be empty.
    pub fn new(held_out: &HeldOut, set: &ActivationSet) -> Result<Self, StoreError> {
        Self::of(held_out, set.n_rows(), set.n_documents())
    }

    /// Applies `held_out` to `n_rows` rows in `n_documents` documents, none where rows have no documents.
    ///
    /// # Errors
    /// [`StoreError::HeldOut`] where one side would be empty.
    pub fn of(held_out: &HeldOut, n_rows: u64, n_documents: Option<u64>) -> Result<Self, StoreError> {
        let refused = |asked: String| Err(StoreError::HeldOut { asked });
        let rule = match *held_out {
            HeldOut::None | HeldOut::LastRows(0) => Rule::Nothing,
            HeldOut::LastRows(rows) if rows >= n_rows => return refused(format!("the last {rows} of {n_rows} rows")),
            HeldOut::LastRows(rows) => Rule::From(n_rows - rows),
            HeldOut::Fraction { fraction: 0.0, .. } => Rule::Nothing,
            HeldOut::Fraction { fraction, .. } if !(0.0..1.0).contains(&fraction) => {
                return refused(format!("a fraction of {fraction}"));
            }
            HeldOut::Fraction { fraction, .. } if n_rows < 2 => {
                return refused(format!("a fraction of {fraction} of {n_rows} rows"));
            }
            HeldOut::Fraction { fraction, seed } => by_hash(fraction, seed, n_rows, n_documents),
        };
        Ok(Split { rule })
    }

    /// Whether a row, of this document, is held out.
    pub fn is_held_out(&self, row: u64, document: u32) -> bool {
        match self.rule {
            Rule::Nothing => false,
            Rule::From(first) => row >= first,
            Rule::Hash { seed, limit, block: None } => hash(seed, u64::from(document)) <= limit,
            Rule::Hash { seed, limit, block: Some(rows) } => hash(seed, row / rows) <= limit,
        }
    }
}

fn by_hash(fraction: f64, seed: u64, n_rows: u64, n_documents: Option<u64>) -> Rule {
    let documents = n_documents.filter(|documents| *documents >= FEWEST_DOCUMENTS);
    let block = match documents {
        Some(_) => None,
        None => Some((n_rows / BLOCKS).clamp(1, LONGEST_BLOCK)),
    };
    let units = block.map_or_else(|| documents.unwrap_or(0), |rows| n_rows.div_ceil(rows));
    Rule::Hash { seed, limit: limit(fraction, seed, units), block }
}

/// The largest hash that is held out, so that about `fraction` of `units` units are, and neither none nor all.
fn limit(fraction: f64, seed: u64, units: u64) -> u64 {
    if units > EXACT_UNITS {
        return (fraction * u64::MAX as f64) as u64;
    }
    let wanted = ((fraction * units as f64).round() as usize).clamp(1, units as usize - 1);
    let mut hashes: Vec<u64> = (0..units).map(|unit| hash(seed, unit)).collect();
    *hashes.select_nth_unstable(wanted - 1).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(split: &Split, n_rows: u64, document: impl Fn(u64) -> u32) -> Vec<u64> {
        (0..n_rows).filter(|row| split.is_held_out(*row, document(*row))).collect()
    }

    #[test]
    fn exactly_the_fraction_of_documents_is_held_out_whole() {
        let split = Split::of(&HeldOut::default(), 10_000, Some(1000)).expect("possible");
        let rows = held(&split, 10_000, |row| (row / 10) as u32);
        assert_eq!(rows.len(), 500);
        assert!(rows.chunks(10).all(|document| document[0] % 10 == 0 && document[9] == document[0] + 9));
        let other = HeldOut::Fraction { fraction: 0.05, seed: 1 };
        let other = Split::of(&other, 10_000, Some(1000)).expect("possible");
        assert_ne!(held(&other, 10_000, |row| (row / 10) as u32), rows);
    }

    #[test]
    fn the_last_rows_are_the_last_rows() {
        let split = Split::of(&HeldOut::LastRows(3), 10, Some(1)).expect("possible");
        assert_eq!(held(&split, 10, |_| 0), [7, 8, 9]);
        assert_eq!(held(&Split::of(&HeldOut::None, 10, None).expect("possible"), 10, |_| 0), Vec::<u64>::new());
    }

    #[test]
    fn splits_that_leave_one_side_empty_are_refused() {
        let fraction = |fraction| HeldOut::Fraction { fraction, seed: 0 };
        for (held_out, rows) in [
            (HeldOut::LastRows(10), 10),
            (fraction(1.0), 10),
            (fraction(-0.1), 10),
            (fraction(f64::NAN), 10),
            (fraction(0.5), 1),
        ] {
            assert!(matches!(Split::of(&held_out, rows, None), Err(StoreError::HeldOut { .. })), "{held_out:?}");
        }
    }

    #[test]
    fn it_is_recorded_and_read_back() {
        for held_out in [HeldOut::default(), HeldOut::LastRows(40_000), HeldOut::None] {
            let json = serde_json::to_string(&held_out).expect("json");
            assert_eq!(serde_json::from_str::<HeldOut>(&json).expect("valid"), held_out, "{json}");
        }
        assert_eq!(serde_json::to_string(&HeldOut::LastRows(3)).expect("json"), r#"{"last_rows":3}"#);
    }

    proptest! {
        #[test]
        fn both_sides_have_rows_and_about_the_fraction_is_held_out(
            n_rows in 2u64..30_000, fraction in 0.01f64..0.99, seed: u64,
        ) {
            let split = Split::of(&HeldOut::Fraction { fraction, seed }, n_rows, None).expect("possible");
            let rows = held(&split, n_rows, |_| 0).len() as f64;
            prop_assert!(rows >= 1.0 && rows < n_rows as f64);
            // One block more or less, and the last block may be short.
            let block = (n_rows / BLOCKS).max(1) as f64;
            prop_assert!((rows - fraction * n_rows as f64).abs() <= 2.0 * block, "{} of {}", rows, n_rows);
        }
    }
}
