//! Two readings beside each other: which tokens correspond, and which features tell them apart.

use super::reading::{Reading, Strongest};
use serde::Serialize;
use std::collections::BTreeMap;

/// Pairs of tokens that are compared at most (chosen: a second's work); longer texts are paired by their common beginning
/// and end alone.
const MOST_PAIRS: usize = 1 << 24;

/// Tokens of the two texts that stand beside each other, by index; the same token where both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// In the first text.
    pub a: Option<usize>,
    /// In the second.
    pub b: Option<usize>,
}

/// Where a feature is strongest in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Its activation; 0 where it fires nowhere.
    pub activation: f32,
    /// Index of the token, where it fires.
    pub at: Option<usize>,
    /// Tokens on which it fires.
    pub tokens: usize,
}

/// A feature in both texts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The feature.
    pub feature: usize,
    /// In the first text.
    pub a: Peak,
    /// In the second.
    pub b: Peak,
    /// By how much it is stronger in the second, in the unit by which features are compared.
    pub difference: f32,
}

/// Two texts beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// Their tokens in order: a longest common subsequence stands side by side.
    pub pairs: Vec<Pair>,
    /// Every feature that fires in either, the one that differs most first.
    pub features: Vec<Difference>,
}

/// Puts two readings beside each other. `unit` is what a feature's activation is counted in, such as the largest that was
/// seen, so that features of different size can be compared; 1 leaves it as it is.
pub fn contrast(a: &Reading, b: &Reading, unit: impl Fn(usize) -> f32) -> Contrast {
    let ids = |reading: &Reading| reading.tokens.iter().map(|token| token.id).collect::<Vec<u32>>();
    let peaks = |reading: &Reading| -> BTreeMap<usize, Strongest> {
        reading.strongest().into_iter().map(|strongest| (strongest.feature, strongest)).collect()
    };
    let (in_a, in_b) = (peaks(a), peaks(b));
    let peak = |found: Option<&Strongest>| match found {
        Some(found) => Peak { activation: found.activation, at: Some(found.at), tokens: found.tokens },
        None => Peak { activation: 0.0, at: None, tokens: 0 },
    };
    let all: std::collections::BTreeSet<usize> = in_a.keys().chain(in_b.keys()).copied().collect();
    let difference = |feature: usize| {
        let (a, b) = (peak(in_a.get(&feature)), peak(in_b.get(&feature)));
        Difference { feature, a, b, difference: (b.activation - a.activation) / unit(feature) }
    };
    let mut features: Vec<Difference> = all.into_iter().map(difference).collect();
    features.sort_by(|x, y| y.difference.abs().total_cmp(&x.difference.abs()).then(x.feature.cmp(&y.feature)));
    Contrast { pairs: aligned(&ids(a), &ids(b)), features }
}

/// The tokens of both texts in order, a longest common subsequence side by side; of what does not correspond, the first
/// text's before the second's.
fn aligned(a: &[u32], b: &[u32]) -> Vec<Pair> {
    let first = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let last = a[first..].iter().rev().zip(b[first..].iter().rev()).take_while(|(x, y)| x == y).count();
    let both = |at: usize, bt: usize| Pair { a: Some(at), b: Some(bt) };
    let mut pairs: Vec<Pair> = (0..first).map(|at| both(at, at)).collect();
    let middle = common(&a[first..a.len() - last], &b[first..b.len() - last]);
    let (mut at, mut bt) = (first, first);
    let ends = (a.len() - last, b.len() - last);
    for (x, y) in middle.into_iter().map(|(x, y)| (x + first, y + first)).chain([ends]) {
        pairs.extend((at..x).map(|at| Pair { a: Some(at), b: None }));
        pairs.extend((bt..y).map(|bt| Pair { a: None, b: Some(bt) }));
        if (x, y) != ends {
            pairs.push(both(x, y));
        }
        (at, bt) = (x + 1, y + 1);
    }
    pairs.extend((0..last).map(|i| both(ends.0 + i, ends.1 + i)));
    pairs
}

/// A longest common subsequence as pairs of indices; none of texts that are too long to compare.
fn common(a: &[u32], b: &[u32]) -> Vec<(usize, usize)> {
    if a.len().saturating_mul(b.len()) > MOST_PAIRS {
        return Vec::new();
    }
    let width = b.len() + 1;
    // Length of the longest one behind (i, j).
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = match a[i] == b[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        match () {
            () if a[i] == b[j] => {
                found.push((i, j));
                (i, j) = (i + 1, j + 1);
            }
            () if longest[(i + 1) * width + j] >= longest[i * width + j + 1] => i += 1,
            () => j += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Active, ReadToken};

    fn reading(tokens: &[(u32, &[(usize, f32)])]) -> Reading {
        let token = |(id, features): &(u32, &[(usize, f32)])| ReadToken {
            id: *id,
            text: id.to_string(),
            special: false,
            loss: None,
            spliced_loss: None,
            missing: None,
            features: features.iter().map(|&(feature, activation)| Active { feature, activation }).collect(),
            next: Vec::new(),
        };
        let tokens = tokens.iter().map(token).collect();
        Reading { tokens, mean_loss: None, mean_spliced_loss: None, missing: None }
    }

    fn shown(a: &[u32], b: &[u32]) -> String {
        let one = |pair: &Pair| match (pair.a, pair.b) {
            (Some(at), Some(bt)) => format!("{}={}", a[at], b[bt]),
            (Some(at), None) => format!("-{}", a[at]),
            (None, Some(bt)) => format!("+{}", b[bt]),
            (None, None) => "nothing".to_owned(),
        };
        aligned(a, b).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_both_texts_have_stands_side_by_side() {
        assert_eq!(shown(&[1, 2, 3, 9], &[1, 5, 6, 9]), "1=1 -2 -3 +5 +6 9=9");
        assert_eq!(shown(&[1, 2, 3, 4, 5], &[1, 3, 7, 4, 5]), "1=1 -2 3=3 +7 4=4 5=5");
        assert_eq!(shown(&[1], &[2, 3]), "-1 +2 +3");
        assert_eq!(shown(&[], &[]), "");
        // A repeated token is not paired twice where beginning and end overlap.
        assert_eq!(shown(&[4, 4], &[4, 4, 4]), "4=4 4=4 +4");
    }

    #[test]
    fn every_token_stands_once_and_in_order() {
        let text = |seed: u64| (0..40).map(|at| (crate::hash::mix(seed * 100 + at) % 6) as u32).collect::<Vec<_>>();
        for seed in 0..30 {
            let (a, b) = (text(seed), text(seed + 1000));
            let pairs = aligned(&a, &b);
            assert_eq!(pairs.iter().filter_map(|pair| pair.a).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
            assert_eq!(pairs.iter().filter_map(|pair| pair.b).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
            assert!(pairs.iter().all(|pair| pair.a.zip(pair.b).is_none_or(|(at, bt)| a[at] == b[bt])));
        }
    }

    #[test]
    fn features_are_ordered_by_how_much_they_tell_the_texts_apart() {
        let a = reading(&[(1, &[(7, 4.0), (3, 1.0)]), (2, &[(7, 9.0)])]);
        let b = reading(&[(1, &[(7, 8.5), (3, 1.0)]), (5, &[(4, 2.0)])]);
        let found = contrast(&a, &b, |_| 1.0);
        let brief = |d: &Difference| (d.feature, d.difference, d.a.at, d.a.tokens, d.b.at);
        let brief: Vec<_> = found.features.iter().map(brief).collect();
        assert_eq!(brief[0], (4, 2.0, None, 0, Some(1)));
        assert_eq!(brief[1], (7, -0.5, Some(1), 2, Some(0)));
        assert_eq!(brief[2], (3, 0.0, Some(0), 1, Some(0)));
        // In units of its own a small feature may differ most.
        let found = contrast(&a, &b, |feature| if feature == 7 { 0.1 } else { 1.0 });
        assert_eq!(found.features[0].feature, 7);
    }
}
