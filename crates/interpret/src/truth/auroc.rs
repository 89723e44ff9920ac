//! How well a column ranks the tokens of a concept above the others, at all thresholds at once.
//!
//! The area under the ROC curve is the probability that a positive, drawn at random, has a higher value than a
//! negative, equal values counting half (Hanley and McNeil 1982):
//!
//! ```text
//! AUROC = sum over positives p of (|{n: v_n < v_p}| + |{n: v_n = v_p}| / 2) / (positives * negatives)
//! ```
//!
//! No unit; 0.5 for a column that knows nothing, 1 for a perfect one.

use super::detectors::Entry;
use super::labels::Mark;

/// AUROC of ranked entries; tokens without an entry lie below all of them and are equal to each other. None where there
/// are no positives or no negatives.
pub fn auroc(entries: &[Entry], marks: &[Mark]) -> Option<f64> {
    let count = |mark| marks.iter().filter(|m| **m == mark).count() as u64;
    let (positives, negatives) = (count(Mark::Positive), count(Mark::Negative));
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut left = (positives, negatives);
    let mut twice = 0u64;
    for tied in entries.chunk_by(|a, b| a.value == b.value) {
        let of = |mark| tied.iter().filter(|entry| marks[entry.row as usize] == mark).count() as u64;
        let (p, n) = (of(Mark::Positive), of(Mark::Negative));
        left = (left.0 - p, left.1 - n);
        twice += p * (2 * left.1 + n);
    }
    twice += left.0 * left.1;
    Some(twice as f64 / (2.0 * positives as f64 * negatives as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [Mark; 3] = [Mark::Negative, Mark::Positive, Mark::Ignored];

    fn ranked(values: &[f32]) -> Vec<Entry> {
        let mut scratch = Vec::new();
        super::super::detectors::ranked_column(values.iter().copied(), &mut scratch).to_vec()
    }

    #[test]
    fn areas_by_hand() {
        use Mark::{Ignored, Negative, Positive};
        // Positives 3 and 1 against negatives 2 and 1: 3 beats both, 1 loses and ties: (2 + 0.5) / 4.
        let entries = ranked(&[3.0, 2.0, 1.0, 1.0, 9.0]);
        assert_eq!(auroc(&entries, &[Positive, Negative, Positive, Negative, Ignored]), Some(0.625));
        // Where nothing fires, everything ties.
        assert_eq!(auroc(&[], &[Positive, Negative, Negative]), Some(0.5));
        assert_eq!(auroc(&entries, &[Positive; 5]), None);
    }

    proptest! {
        #[test]
        fn the_area_is_that_of_all_pairs(rows in proptest::collection::vec((0u8..5, 0usize..3), 1..40)) {
            let values: Vec<f32> = rows.iter().map(|(value, _)| f32::from(*value)).collect();
            let marks: Vec<Mark> = rows.iter().map(|(_, kind)| KINDS[*kind]).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for p in (0..marks.len()).filter(|row| marks[*row] == Mark::Positive) {
                for n in (0..marks.len()).filter(|row| marks[*row] == Mark::Negative) {
                    won += if values[p] > values[n] { 1.0 } else if values[p] == values[n] { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            // Zeros may be left out, as those of features are.
            let entries: Vec<Entry> = ranked(&values).into_iter().filter(|entry| entry.value > 0.0).collect();
            let expected = (pairs > 0.0).then(|| won / pairs);
            prop_assert_eq!(auroc(&entries, &marks), expected);
        }
    }
}
