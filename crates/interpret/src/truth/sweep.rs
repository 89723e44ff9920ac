//! Which threshold makes a detector agree best with a concept?
//!
//! A detector names the tokens whose value exceeds its threshold t, a concept holds on its positives:
//!
//! ```text
//! F1(t) = 2 both(t) / (named(t) + positives)
//! ```
//!
//! with the tokens left out that do not count for the concept. F1 changes only where t passes a value, and grows only
//! where it passes that of a positive. So one walk down a detector's ranked entries finds the best threshold for every
//! concept at once, in time proportional to the concepts of the tokens that it passes. Tokens of equal value are named
//! together or not at all. Of thresholds that are equally good the highest is taken, half way between the lowest value
//! that it names and the highest that it does not.

use super::detectors::Entry;
use super::labels::{Labels, Mark};
use crate::label::Confusion;

/// A threshold, and what it reaches where it was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Values above it are named.
    pub threshold: f32,
    /// F1 of what is named; 0 where no positive can be.
    pub f1: f64,
}

/// No positive can be named.
pub const NO_CUT: Cut = Cut { threshold: f32::INFINITY, f1: 0.0 };

/// Counts of one walk, kept between walks for their allocations.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    both: Vec<u64>,
    ignored: Vec<u64>,
    grown: Vec<u16>,
    cuts: Vec<Cut>,
}

impl Sweep {
    /// The best cut of the detector with these ranked entries for every concept of `labels`. Tokens without an entry
    /// lie at or below `floor`.
    pub fn best_cuts(&mut self, entries: &[Entry], floor: f32, labels: &Labels) -> &[Cut] {
        let n = labels.n_concepts();
        for counts in [&mut self.both, &mut self.ignored] {
            counts.clear();
            counts.resize(n, 0);
        }
        self.cuts.clear();
        self.cuts.resize(n, NO_CUT);
        let mut passed = 0;
        for (tied, lower) in runs(entries, floor) {
            passed += tied.len() as u64;
            self.pass(tied, labels);
            for concept in self.grown.drain(..).map(usize::from) {
                let (both, fires) = (self.both[concept], labels.positives(concept));
                let f1 = Confusion { named: passed - self.ignored[concept], fires, both }.f1();
                if f1 > self.cuts[concept].f1 {
                    self.cuts[concept] = Cut { threshold: between(lower, tied[0].value), f1 };
                }
            }
        }
        &self.cuts
    }

    fn pass(&mut self, tied: &[Entry], labels: &Labels) {
        for label in tied.iter().flat_map(|entry| labels.row(entry.row as usize)) {
            let concept = usize::from(label.concept);
            if label.decided {
                self.both[concept] += 1;
                self.grown.push(label.concept);
            } else {
                self.ignored[concept] += 1;
            }
        }
    }
}

/// The best cut for one concept, with what `marks` does not ignore added to what `before` has named already. None where
/// nothing reaches more than `than`.
pub fn best_cut(entries: &[Entry], floor: f32, marks: &[Mark], before: Confusion, than: f64) -> Option<Cut> {
    let (mut now, mut best, mut found) = (before, than, None);
    for (tied, lower) in runs(entries, floor) {
        let both = now.both;
        for entry in tied {
            let mark = marks[entry.row as usize];
            now.named += u64::from(mark != Mark::Ignored);
            now.both += u64::from(mark == Mark::Positive);
        }
        if now.both > both && now.f1() > best {
            best = now.f1();
            found = Some(Cut { threshold: between(lower, tied[0].value), f1: best });
        }
        // Not even if all positives that are left came next.
        let left = now.fires - now.both;
        if (Confusion { named: now.named + left, both: now.fires, ..now }).f1() <= best {
            break;
        }
    }
    found
}

/// The entries that a threshold names.
pub fn named(entries: &[Entry], threshold: f32) -> &[Entry] {
    &entries[..entries.partition_point(|entry| entry.value > threshold)]
}

/// Runs of equal value, each with the next lower value.
fn runs(entries: &[Entry], floor: f32) -> impl Iterator<Item = (&[Entry], f32)> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let end = rest.iter().position(|entry| entry.value != first.value).unwrap_or(rest.len());
        let (tied, below) = rest.split_at(end);
        rest = below;
        Some((tied, below.first().map_or(floor, |entry| entry.value)))
    })
}

/// A number at least `lower` and less than `upper`.
fn between(lower: f32, upper: f32) -> f32 {
    if lower == f32::NEG_INFINITY {
        return upper.next_down();
    }
    let middle = lower.midpoint(upper);
    if middle < upper { middle } else { lower }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::labels::Label;
    use proptest::prelude::*;

    fn ranked(values: &[f32]) -> Vec<Entry> {
        let mut scratch = Vec::new();
        super::super::detectors::ranked_column(values.iter().copied(), &mut scratch).to_vec()
    }

    /// One concept; `+` positive, `-` negative, `?` undecided.
    fn labels(marks: &str) -> Labels {
        let mut labels = Labels::new(1);
        for mark in marks.chars() {
            labels.push((mark != '-').then_some(Label { concept: 0, decided: mark == '+' }));
        }
        labels
    }

    fn check(values: &[f32], marks: &str, expected: Cut) {
        let (entries, labels) = (ranked(values), labels(marks));
        assert_eq!(Sweep::default().best_cuts(&entries, f32::NEG_INFINITY, &labels), [expected], "{marks}");
        let before = Confusion { named: 0, fires: labels.positives(0), both: 0 };
        let alone = best_cut(&entries, f32::NEG_INFINITY, &labels.marks(0), before, 0.0);
        assert_eq!(alone.unwrap_or(NO_CUT), expected, "{marks}");
    }

    #[test]
    fn cuts_by_hand() {
        // Named 4, 3: both 2 of 2 positives.
        check(&[4.0, 3.0, 1.0], "++-", Cut { threshold: 2.0, f1: 1.0 });
        // 2 both / (3 named + 2 positives), against 2 / (1 + 2) for the first alone.
        check(&[4.0, 3.0, 2.0, 0.0], "+-+-", Cut { threshold: 1.0, f1: 0.8 });
        // The tie cannot be parted: 2 / (2 + 1).
        check(&[5.0, 5.0, 1.0], "+--", Cut { threshold: 3.0, f1: 2.0 / 3.0 });
        // The undecided token is not named, though it is above the threshold.
        check(&[9.0, 5.0, 1.0], "?+-", Cut { threshold: 3.0, f1: 1.0 });
        // Everything is named: the threshold is just below the lowest value.
        check(&[2.0, 1.0], "-+", Cut { threshold: 1f32.next_down(), f1: 2.0 / 3.0 });
        check(&[2.0, 1.0], "--", NO_CUT);
    }

    #[test]
    fn a_threshold_lies_between_neighbours_however_near() {
        let odd = 1f32.next_up();
        for (lower, upper) in
            [(1.0, odd), (odd, odd.next_up()), (-f32::MAX, f32::MAX), (0.0, f32::from_bits(1)), (-2.0, -1.0)]
        {
            let middle = between(lower, upper);
            assert!(lower <= middle && middle < upper, "{lower} {middle} {upper}");
        }
    }

    /// Tries every threshold on its own.
    fn brute_force(values: &[f32], marks: &[Mark], before: Confusion) -> f64 {
        let f1 = |threshold: f32| {
            let mut counts = before;
            for (value, mark) in values.iter().zip(marks) {
                counts.named += u64::from(*value > threshold && *mark != Mark::Ignored);
                counts.both += u64::from(*value > threshold && *mark == Mark::Positive);
            }
            counts.f1()
        };
        values.iter().map(|value| f1(value.next_down())).fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn the_walk_finds_what_trying_every_threshold_finds(
            rows in proptest::collection::vec(
                ((0u8..6).prop_map(f32::from), proptest::collection::vec(0u8..4, 3)), 1..30,
            ),
        ) {
            let values: Vec<f32> = rows.iter().map(|(value, _)| *value).collect();
            let mut labels = Labels::new(3);
            for (_, kinds) in &rows {
                let has = |(concept, kind): (u16, &u8)| (*kind < 2).then_some(Label { concept, decided: *kind == 0 });
                labels.push((0..).zip(kinds).filter_map(has));
            }
            // A sparse column holds only what is above its floor.
            for floor in [f32::NEG_INFINITY, 0.0] {
                let entries: Vec<Entry> = ranked(&values).into_iter().filter(|entry| entry.value > floor).collect();
                let shown = |value: &f32| if *value > floor { *value } else { f32::NEG_INFINITY };
                let present: Vec<f32> = values.iter().map(shown).collect();
                let mut sweep = Sweep::default();
                let cuts = sweep.best_cuts(&entries, floor, &labels).to_vec();
                for (concept, cut) in cuts.iter().enumerate() {
                    let marks = labels.marks(concept);
                    let before = Confusion { named: 0, fires: labels.positives(concept), both: 0 };
                    let best = if before.fires == 0 { 0.0 } else { brute_force(&present, &marks, before) };
                    prop_assert_eq!(cut.f1, best);
                    let alone = best_cut(&entries, floor, &marks, before, 0.0).unwrap_or(NO_CUT);
                    prop_assert_eq!(alone, *cut);
                    let mut counts = before;
                    for entry in named(&entries, cut.threshold) {
                        counts.named += u64::from(marks[entry.row as usize] != Mark::Ignored);
                        counts.both += u64::from(marks[entry.row as usize] == Mark::Positive);
                    }
                    prop_assert_eq!(counts.f1(), cut.f1);
                }
            }
        }

        #[test]
        fn what_a_union_has_named_before_counts(
            rows in proptest::collection::vec(((0u8..6).prop_map(f32::from), 0u8..3), 1..20),
            named in 0u64..9, both in 0u64..9,
        ) {
            let (values, kinds): (Vec<f32>, Vec<u8>) = rows.into_iter().unzip();
            let kind = |k: &u8| [Mark::Negative, Mark::Positive, Mark::Ignored][usize::from(*k)];
            let marks: Vec<Mark> = kinds.iter().map(kind).collect();
            let both = both.min(named);
            let left = marks.iter().filter(|mark| **mark == Mark::Positive).count() as u64;
            let before = Confusion { named, fires: both + left + 1, both };
            let found = best_cut(&ranked(&values), f32::NEG_INFINITY, &marks, before, before.f1());
            let best = brute_force(&values, &marks, before);
            prop_assert_eq!(found.map_or(before.f1(), |cut| cut.f1), best.max(before.f1()));
        }
    }
}
