//! Which few features together tell a concept that no feature tells alone?
//!
//! A union names a token if any of its features is above its threshold. It is found greedily on validation tokens: to
//! the best feature comes the one that, with its best threshold, raises F1 most, and so on until none raises it.

use super::detectors::Detectors;
use super::matching::{Choice, Side, cover};
use super::sweep::{best_cut, named};
use crate::label::Confusion;

/// The union of at most `most` detectors that begins with `first`. Each choice's F1 is that of the union so far.
pub fn greedy_union<D: Detectors>(side: &Side<'_, D>, concept: usize, first: Choice, most: usize) -> Vec<Choice> {
    let (labels, detectors) = (side.labels, &side.detectors);
    let (mut marks, mut scratch) = (labels.marks(concept), Vec::new());
    let mut confusion = Confusion { named: 0, fires: labels.positives(concept), both: 0 };
    let mut union = Vec::with_capacity(most);
    let mut next = Some(first);
    while let Some(choice) = next {
        let entries = detectors.ranked(choice.detector, &mut scratch);
        cover(named(entries, choice.cut.threshold), &mut marks, &mut confusion);
        union.push(choice);
        next = None;
        // Nothing can be added where nothing is missing.
        if union.len() >= most || confusion.both == confusion.fires {
            break;
        }
        let mut best = confusion.f1();
        for detector in (0..detectors.count()).filter(|d| union.iter().all(|choice| choice.detector != *d)) {
            let entries = detectors.ranked(detector, &mut scratch);
            if let Some(cut) = best_cut(entries, detectors.floor(), &marks, confusion, best) {
                best = cut.f1;
                next = Some(Choice { detector, cut });
            }
        }
    }
    union
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::detectors::Features;
    use crate::truth::labels::{Label, Labels};
    use crate::truth::sweep::Cut;
    use untangle_sae::Codes;

    #[test]
    fn features_are_added_while_they_help() {
        // Tokens 0..4 are the concept, 5 and 6 are not. Feature 0 fires on 0 to 2, feature 1 on 3 and, weaker, on 5;
        // feature 2 on 4 and, stronger, on 5 and 6.
        let mut labels = Labels::new(1);
        (0..7).for_each(|row| labels.push((row < 5).then_some(Label { concept: 0, decided: true })));
        let mut codes = Codes::new();
        let fires: [&[(u32, f32)]; 7] =
            [&[(0, 1.0)], &[(0, 2.0)], &[(0, 1.5)], &[(1, 2.0)], &[(2, 1.0)], &[(1, 1.0), (2, 3.0)], &[(2, 2.0)]];
        fires.iter().for_each(|row| codes.push_row(row.iter().copied()));
        let side = Side::new(&labels, Features::of_codes(&codes, 3)).expect("as many tokens");
        let first = Choice { detector: 0, cut: Cut { threshold: 0.5, f1: 0.75 } };
        let union = greedy_union(&side, 0, first, 5);
        // With feature 1 above 1.5: 2 * 4 / (4 + 5). Feature 2 would name 7 in all: 2 * 5 / (7 + 5) is less.
        let expected = Choice { detector: 1, cut: Cut { threshold: 1.5, f1: 8.0 / 9.0 } };
        assert_eq!(union, [first, expected]);
        let found = side.detection(&union, 0);
        assert_eq!((found.precision, found.recall, found.f1), (1.0, 0.8, 8.0 / 9.0));
        assert_eq!((found.auroc, found.parts.len()), (None, 2));
        assert_eq!(greedy_union(&side, 0, first, 1), [first], "no more than was asked for");
    }
}
