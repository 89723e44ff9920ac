//! How often each fact holds, over all rows and over the rows on which a feature fires, in bounded memory.
//!
//! Per feature and kind: Space-Saving (Metwally, Agrawal and El Abbadi 2005), exact up to [`SLOTS`] distinct keys, else
//! every key with more than a [`SLOTS`]-th of the count is kept, with a known overcount. Over all rows: a Misra-Gries
//! summary in batches (Anderson et al. 2017), exact up to [`TOTALS`] distinct keys, which holds most vocabularies
//! whole.

use super::facts::{Class, Facts, Kind, Reader};
use std::collections::HashMap;

/// Keys kept per feature and kind.
pub const SLOTS: usize = 32;
/// Keys kept per kind over all rows.
pub const TOTALS: usize = 1 << 17;

/// The most frequent keys of one feature and kind.
///
/// Every firing asks for a key of every kind, so that what is looked at is kept small: of the keys a byte each, eight of which are
/// compared at a time, and of the counts only those from the place on at which the smallest one was found last.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpaceSaving {
    keys: Vec<u64>,
    /// A byte of each key, the first in the lowest bits.
    tags: [u64; SLOTS / 8],
    /// Count and the part of it that may belong to keys that were pushed out.
    counts: Vec<(u64, u64)>,
    /// No count is smaller, and none before this place is as small. Counts only grow.
    least: u64,
    from: usize,
}

/// The byte by which a key is looked for.
fn tag(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
}

/// In every byte the same.
const EACH: u64 = u64::from_ne_bytes([1; 8]);

impl SpaceSaving {
    pub(crate) fn add(&mut self, key: u64, weight: u64) {
        if let Some(at) = self.place(key) {
            self.counts[at].0 += weight;
        } else if self.keys.len() < SLOTS {
            self.put_tag(self.keys.len(), key);
            self.keys.push(key);
            self.counts.push((weight, 0));
        } else {
            let at = self.smallest();
            let least = self.counts[at].0;
            self.put_tag(at, key);
            self.keys[at] = key;
            self.counts[at] = (least + weight, least);
        }
    }

    /// Where a key is.
    fn place(&self, key: u64) -> Option<usize> {
        let wanted = EACH * tag(key);
        for (word, tags) in self.tags.iter().enumerate() {
            let differ = tags ^ wanted;
            // The highest bit of every byte that is 0, and perhaps of one behind it, which the key itself tells.
            let mut found = differ.wrapping_sub(EACH) & !differ & (EACH << 7);
            while found != 0 {
                let at = 8 * word + found.trailing_zeros() as usize / 8;
                if self.keys.get(at) == Some(&key) {
                    return Some(at);
                }
                found &= found - 1;
            }
        }
        None
    }

    fn put_tag(&mut self, at: usize, key: u64) {
        let (word, shift) = (at / 8, 8 * (at % 8));
        self.tags[word] = self.tags[word] & !(0xff << shift) | tag(key) << shift;
    }

    /// The place of the first of the smallest counts.
    fn smallest(&mut self) -> usize {
        let is_least = |(count, _): &(u64, u64)| *count == self.least;
        match self.counts[self.from..].iter().position(is_least) {
            Some(further) => self.from += further,
            None => {
                self.least = self.counts.iter().map(|(count, _)| *count).min().unwrap_or(0);
                self.from = self.counts.iter().position(|(count, _)| *count == self.least).unwrap_or(0);
            }
        }
        self.from
    }

    /// Every kept key with a lower bound of its count.
    pub(crate) fn at_least(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.keys.iter().zip(&self.counts).map(|(key, (count, over))| (*key, count - over)).filter(|(_, n)| *n > 0)
    }
}

/// The most frequent keys of one kind over all rows, with the words behind hashed ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    kept: HashMap<u64, Total>,
    /// What every kept count may lack.
    under: u64,
}

#[derive(Clone, Debug)]
struct Total {
    count: u64,
    letters: Option<Box<str>>,
}

impl Totals {
    fn add<'a>(&mut self, key: u64, weight: u64, letters: impl FnOnce() -> Option<&'a str>) {
        let total = self.kept.entry(key).or_insert_with(|| Total { count: 0, letters: letters().map(Into::into) });
        total.count += weight;
        if self.kept.len() > 2 * TOTALS {
            self.halve();
        }
    }

    /// Lowers all counts by that of the key in the middle and drops what falls to 0.
    fn halve(&mut self) {
        let mut counts: Vec<u64> = self.kept.values().map(|total| total.count).collect();
        let (_, &mut cut, _) = counts.select_nth_unstable(TOTALS);
        self.under += cut;
        self.kept.retain(|_, total| {
            total.count = total.count.saturating_sub(cut);
            total.count > 0
        });
    }

    /// An upper bound of the key's count; the count itself as long as there were at most [`TOTALS`] keys.
    pub(crate) fn at_most(&self, key: u64) -> Option<u64> {
        self.kept.get(&key).map(|total| total.count + self.under)
    }

    pub(crate) fn letters(&self, key: u64) -> Option<&str> {
        self.kept.get(&key)?.letters.as_deref()
    }
}

/// What is counted of one feature.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeatureCounts {
    pub(crate) firings: u64,
    pub(crate) kinds: [SpaceSaving; Kind::ALL.len()],
    pub(crate) classes: [u64; Class::ALL.len()],
}

/// Counts of facts over the rows that the labeller may see.
#[derive(Clone, Debug)]
pub struct Counts {
    pub(crate) rows: u64,
    pub(crate) features: Vec<FeatureCounts>,
    pub(crate) totals: [Totals; Kind::ALL.len()],
    pub(crate) classes: [u64; Class::ALL.len()],
}

impl Counts {
    /// Counters for `d_sae` features.
    pub fn new(d_sae: usize) -> Self {
        Self {
            rows: 0,
            features: vec![FeatureCounts::default(); d_sae],
            totals: Default::default(),
            classes: [0; Class::ALL.len()],
        }
    }

    /// Counts one row, and says what is to be counted of each feature that fires on it. `reader` is the one that wrote `facts`; `draw`
    /// is a random number of the row, which picks one of its context words.
    pub fn add(&mut self, facts: &Facts, reader: &Reader<'_>, draw: u64) -> Counted {
        self.rows += 1;
        let keys = Kind::ALL.map(|kind| facts.key(kind, draw).map(|key| (key, weight(kind, facts))));
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            if let Some((key, weight)) = keys[at] {
                self.totals[at].add(key, weight, || reader.letters(kind, key));
            }
        }
        count_classes(&mut self.classes, facts.classes);
        Counted { keys, classes: facts.classes }
    }
}

/// What is counted of one row.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Of every kind, the key with its weight.
    keys: [Option<(u64, u64)>; Kind::ALL.len()],
    /// One bit per [`Class`].
    classes: u16,
}

impl FeatureCounts {
    /// Counts a row on which the feature fires.
    pub(crate) fn add(&mut self, row: &Counted) {
        self.firings += 1;
        for (sketch, key) in self.kinds.iter_mut().zip(&row.keys) {
            if let Some((key, weight)) = key {
                sketch.add(*key, *weight);
            }
        }
        count_classes(&mut self.classes, row.classes);
    }
}

/// One of `n` context words is drawn and stands for all of them, which keeps the counts unbiased.
fn weight(kind: Kind, facts: &Facts) -> u64 {
    if kind == Kind::ContextWord { facts.context().len() as u64 } else { 1 }
}

fn count_classes(counts: &mut [u64; Class::ALL.len()], classes: u16) {
    for (count, class) in counts.iter_mut().zip(Class::ALL) {
        *count += u64::from(classes & class.bit() != 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, as the paper has it.
    #[derive(Default)]
    struct Reference {
        keys: Vec<u64>,
        counts: Vec<(u64, u64)>,
    }

    impl Reference {
        fn add(&mut self, key: u64, weight: u64) {
            if let Some(at) = self.keys.iter().position(|k| *k == key) {
                self.counts[at].0 += weight;
            } else if self.keys.len() < SLOTS {
                self.keys.push(key);
                self.counts.push((weight, 0));
            } else if let Some((at, &(least, _))) = self.counts.iter().enumerate().min_by_key(|(_, count)| count.0) {
                self.keys[at] = key;
                self.counts[at] = (least + weight, least);
            }
        }
    }

    proptest! {
        #[test]
        fn the_fast_sketch_is_the_slow_one(
            added in proptest::collection::vec((0_u64..90, 1_u64..4), 0..900), spread in any::<u64>(),
        ) {
            let (mut fast, mut slow) = (SpaceSaving::default(), Reference::default());
            for (key, weight) in added {
                let key = (key * key / 90).wrapping_mul(spread | 1);
                fast.add(key, weight);
                slow.add(key, weight);
                prop_assert_eq!((&fast.keys, &fast.counts), (&slow.keys, &slow.counts));
            }
        }

        #[test]
        fn space_saving_bounds_true_counts(keys in proptest::collection::vec(0_u64..60, 0..400)) {
            let mut sketch = SpaceSaving::default();
            let mut exact: HashMap<u64, u64> = HashMap::new();
            for key in &keys {
                // Squaring makes some keys frequent.
                let key = key * key / 60;
                sketch.add(key, 1);
                *exact.entry(key).or_default() += 1;
            }
            for (key, at_least) in sketch.at_least() {
                prop_assert!(at_least <= exact[&key]);
            }
            for (key, count) in &exact {
                let kept = sketch.keys.contains(key);
                prop_assert!(kept || *count <= keys.len() as u64 / SLOTS as u64, "{key} with {count} was lost");
            }
        }
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut sketch = SpaceSaving::default();
        (0..SLOTS as u64).for_each(|key| (0..=key).for_each(|_| sketch.add(key, 2)));
        assert!(sketch.at_least().all(|(key, count)| count == 2 * (key + 1)));
    }

    #[test]
    fn totals_keep_what_is_frequent_when_keys_overflow() {
        let mut totals = Totals::default();
        for key in 0..(3 * TOTALS as u64) {
            totals.add(key + 10, 1, || None);
            totals.add(1, 1, || Some("often"));
        }
        let n = 3 * TOTALS as u64;
        let bound = totals.at_most(1).expect("kept");
        assert!(bound >= n && bound <= n + totals.under, "{bound}");
        assert_eq!(totals.letters(1), Some("often"));
        assert!(totals.kept.len() <= 2 * TOTALS);
    }
}
