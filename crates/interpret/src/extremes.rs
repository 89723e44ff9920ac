//! Which firings of a feature are kept as examples: the strongest of distinct documents, and an even sample of all.
//!
//! Both need memory for their limit alone, and both are functions of the set of firings, not of their order.

use crate::hash::mix;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One row on which a feature fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Firing {
    /// Activation, above 0.
    pub activation: f32,
    /// Row in the store.
    pub row: u64,
    /// Document of the row.
    pub document: u32,
    /// Position of the row in its context.
    pub position: u32,
}

impl Firing {
    /// Strongest first; of equals, the lower row first. Total for finite activations.
    pub fn rank(&self, other: &Firing) -> Ordering {
        other.activation.total_cmp(&self.activation).then(self.row.cmp(&other.row))
    }
}

/// The strongest firings, at most one per document, strongest first.
#[derive(Clone, Debug)]
pub struct Strongest {
    limit: usize,
    kept: Vec<Firing>,
}

impl Strongest {
    /// Keeps at most `limit` firings.
    pub fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new() }
    }

    /// Considers one firing.
    ///
    /// What is kept of a document bounds its strongest firing from below, so a document that is pushed out has at least
    /// `limit` stronger ones, and comes back by itself when a stronger firing of it arrives: the result is exact.
    pub fn offer(&mut self, firing: Firing) {
        let full = self.kept.len() == self.limit;
        if full && self.kept.last().is_none_or(|last| last.rank(&firing).is_lt()) {
            return;
        }
        match self.kept.iter().position(|kept| kept.document == firing.document) {
            Some(same) if self.kept[same].rank(&firing).is_lt() => return,
            Some(same) => drop(self.kept.remove(same)),
            None if full => drop(self.kept.pop()),
            None => {}
        }
        let place = self.kept.partition_point(|kept| kept.rank(&firing).is_lt());
        self.kept.insert(place, firing);
    }

    /// What was kept, strongest first.
    pub fn firings(&self) -> &[Firing] {
        &self.kept
    }
}

/// A uniform sample of firings: those with the smallest hash of (seed, feature, row).
#[derive(Clone, Debug)]
pub struct Sample {
    limit: usize,
    salt: u64,
    /// The largest key that is kept.
    largest: u64,
    kept: BinaryHeap<Keyed>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Keyed {
    key: u64,
    firing: Firing,
}

impl Eq for Keyed {}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(self.firing.row.cmp(&other.firing.row))
    }
}

impl Sample {
    /// Keeps at most `limit` firings of `feature`.
    pub fn new(limit: usize, seed: u64, feature: usize) -> Self {
        Self { limit, salt: mix(seed ^ mix(feature as u64 + 1)), largest: 0, kept: BinaryHeap::new() }
    }

    /// Considers one firing.
    pub fn offer(&mut self, firing: Firing) {
        let key = mix(self.salt ^ firing.row);
        // Of many firings nearly all end here.
        if self.kept.len() == self.limit && key > self.largest {
            return;
        }
        let keyed = Keyed { key, firing };
        if self.kept.len() < self.limit {
            self.kept.push(keyed);
        } else if let Some(mut largest) = self.kept.peek_mut()
            && keyed < *largest
        {
            *largest = keyed;
        }
        self.largest = self.kept.peek().map_or(0, |keyed| keyed.key);
    }

    /// All that were kept, in an order that says nothing.
    pub fn firings(&self) -> Vec<Firing> {
        let mut all: Vec<Keyed> = self.kept.iter().copied().collect();
        all.sort();
        all.into_iter().map(|keyed| keyed.firing).collect()
    }

    /// `n` firings at the middles of `n` quantiles of equal count, strongest first; all where there are fewer.
    pub fn quantiles(&self, n: usize) -> Vec<Firing> {
        let mut all: Vec<Firing> = self.kept.iter().map(|keyed| keyed.firing).collect();
        all.sort_by(Firing::rank);
        if all.len() <= n {
            return all;
        }
        (0..n).map(|i| all[(2 * i + 1) * all.len() / (2 * n)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn firing(activation: f32, row: u64, document: u32) -> Firing {
        Firing { activation, row, document, position: 0 }
    }

    fn brute_force(firings: &[Firing], limit: usize) -> Vec<Firing> {
        let mut best: HashMap<u32, Firing> = HashMap::new();
        for f in firings {
            let kept = best.entry(f.document).or_insert(*f);
            if f.rank(kept).is_lt() {
                *kept = *f;
            }
        }
        let mut all: Vec<Firing> = best.into_values().collect();
        all.sort_by(Firing::rank);
        all.truncate(limit);
        all
    }

    proptest! {
        #[test]
        fn strongest_equals_brute_force_in_any_order(
            raw in proptest::collection::vec((0_u8..12, 0_u32..9), 0..120), limit in 0_usize..7, stride in 1_usize..119
        ) {
            let all: Vec<Firing> =
                raw.iter().enumerate().map(|(row, &(a, d))| firing(f32::from(a) + 0.5, row as u64, d)).collect();
            let mut forward = Strongest::new(limit);
            all.iter().for_each(|f| forward.offer(*f));
            let mut rotated = Strongest::new(limit);
            let start = stride.min(all.len());
            all[start..].iter().chain(&all[..start]).for_each(|f| rotated.offer(*f));
            let expected = brute_force(&all, limit);
            prop_assert_eq!(forward.firings(), &expected[..]);
            prop_assert_eq!(rotated.firings(), &expected[..]);
        }
    }

    #[test]
    fn the_sample_is_even_and_does_not_depend_on_order() {
        // 10,000 firings with activations 1..=10,000: the mean of an even sample of 100 has a standard error of 289.
        let all: Vec<Firing> = (0..10_000).map(|row| firing(row as f32 + 1.0, row, 0)).collect();
        let mut forward = Sample::new(100, 7, 3);
        all.iter().for_each(|f| forward.offer(*f));
        let mut backward = Sample::new(100, 7, 3);
        all.iter().rev().for_each(|f| backward.offer(*f));
        assert_eq!(forward.quantiles(100), backward.quantiles(100));
        let mean = forward.quantiles(100).iter().map(|f| f.activation).sum::<f32>() / 100.0;
        assert!((mean - 5000.0).abs() < 4.0 * 289.0, "{mean}");
    }

    #[test]
    fn quantiles_are_the_middles_of_equal_counts() {
        let mut sample = Sample::new(20, 0, 0);
        (0..20).for_each(|row| sample.offer(firing(20.0 - row as f32, row, 0)));
        let picked: Vec<u64> = sample.quantiles(4).iter().map(|f| f.row).collect();
        assert_eq!(picked, [2, 7, 12, 17]);
        assert_eq!(sample.quantiles(30).len(), 20);
    }
}
