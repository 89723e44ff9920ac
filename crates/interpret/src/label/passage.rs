//! Which words before a row show that it stands in a passage about something, and is that when a feature fires?
//!
//! A topic shows in many words, none of which is always there. So a passage is told by a weighed sum of the words before a row:
//!
//! ```text
//! names(row) = [ sum over words w of the rule, where w is before the row, of v(w) >= t ]
//! v(w) = ln( (n_f(w) + 1/2) / (n_f + 1) ) - ln( (n(w) + 1/2) / (n + 1) )
//! ```
//!
//! | symbol | here |
//! |---|---|
//! | n, n(w) | rows of the first half of the sample; those of them with w before them |
//! | n_f, n_f(w) | those on which the feature fires; those of them with w before them |
//! | t | the threshold with the best F1 on the other half |
//!
//! A passage is *clear* where its sum is at least the median of those that the rule names in that half: what somebody would write
//! who was told no more than the label, and not what touches the topic in passing.
//!
//! The words are those with the largest n_f(w) v(w): what they tell, over all rows on which the feature fires. Values are
//! kept in thousandths, so that sums are the same on every machine.

use super::confusion::Confusion;
use super::facts::Facts;
use super::sample::Sampled;
use std::collections::HashMap;

/// Words of a rule at most.
pub const MAX_WORDS: usize = 16;
/// Rows of each half on which a feature has to fire: fewer are too few to tell what their passages have in common.
const MIN_ROWS: usize = 20;
/// A word counts that stands before at least this share of a feature's rows, and is at least so much likelier there.
const MIN_SHARE: f64 = 0.05;
const MIN_VALUE: f64 = std::f64::consts::LN_2;

/// A rule about the words before a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Passage {
    /// Hashes of words with their values in thousandths, the one that tells most first.
    pub words: Vec<(u64, u32)>,
    /// The least sum of values that names a row.
    pub threshold: u32,
    /// The least sum of the clearer half of the rows that it names.
    pub clear: u32,
}

impl Passage {
    /// Whether the row stands in such a passage.
    pub fn names(&self, facts: &Facts) -> bool {
        let there = self.words.iter().filter(|(word, _)| facts.context().contains(word));
        there.map(|(_, value)| value).sum::<u32>() >= self.threshold
    }
}

/// What the sample knows of words and features.
pub(crate) struct Passages {
    n_rows: [usize; 2],
    /// Of each word, the rows of each half that it stands before.
    rows_of_word: [HashMap<u64, Vec<u32>>; 2],
    /// Of each feature, the rows of each half on which it fires.
    rows_of_feature: [HashMap<u32, Vec<u32>>; 2],
    /// The words before the rows of the first half.
    contexts: Vec<Vec<u64>>,
}

impl Passages {
    pub(crate) fn new(sample: Vec<Sampled>) -> Self {
        let mut passages = Self {
            n_rows: [0; 2],
            rows_of_word: Default::default(),
            rows_of_feature: Default::default(),
            contexts: Vec::new(),
        };
        for (place, row) in sample.into_iter().enumerate() {
            let half = place % 2;
            let number = passages.n_rows[half] as u32;
            passages.n_rows[half] += 1;
            for word in &row.context {
                passages.rows_of_word[half].entry(*word).or_default().push(number);
            }
            for feature in row.features {
                passages.rows_of_feature[half].entry(feature).or_default().push(number);
            }
            if half == 0 {
                passages.contexts.push(row.context);
            }
        }
        passages
    }

    /// The best rule of this kind for a feature, with its F1 on the half that its words were not taken from.
    pub(crate) fn best(&self, feature: usize) -> Option<(Passage, f64)> {
        let [first, second] = [0, 1].map(|half| self.rows_of_feature[half].get(&(feature as u32)));
        let (first, second) = (first?, second?);
        if first.len().min(second.len()) < MIN_ROWS {
            return None;
        }
        let words = self.words(first);
        let (threshold, clear, f1) = self.thresholds(&words, second)?;
        Some((Passage { words, threshold, clear }, f1))
    }

    fn words(&self, fires: &[u32]) -> Vec<(u64, u32)> {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for word in fires.iter().flat_map(|row| &self.contexts[*row as usize]) {
            *counts.entry(*word).or_default() += 1;
        }
        let share = |n: usize, of: usize| (n as f64 + 0.5) / (of as f64 + 1.0);
        let value = |(word, n): (u64, usize)| {
            let everywhere = self.rows_of_word[0].get(&word).map_or(0, Vec::len);
            let value = (share(n, fires.len()) / share(everywhere, self.n_rows[0])).ln();
            (n as f64 >= MIN_SHARE * fires.len() as f64 && value >= MIN_VALUE).then_some((
                word,
                value,
                n as f64 * value,
            ))
        };
        let mut found: Vec<(u64, f64, f64)> = counts.into_iter().filter_map(value).collect();
        // The order of a hash map never shows: words break ties.
        found.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        found.into_iter().take(MAX_WORDS).map(|(word, value, _)| (word, (1000.0 * value).round() as u32)).collect()
    }

    /// The threshold with the best F1 on the second half, the highest of equals, and the median of the sums that it names there.
    fn thresholds(&self, words: &[(u64, u32)], fires: &[u32]) -> Option<(u32, u32, f64)> {
        let mut sums: HashMap<u32, u32> = HashMap::new();
        for (word, value) in words {
            for row in self.rows_of_word[1].get(word).into_iter().flatten() {
                *sums.entry(*row).or_default() += value;
            }
        }
        let mut ranked: Vec<(u32, bool)> =
            sums.into_iter().map(|(row, sum)| (sum, fires.binary_search(&row).is_ok())).collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        let mut now = Confusion { named: 0, fires: fires.len() as u64, both: 0 };
        let mut best = None::<(u64, u32, f64)>;
        for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
            now.named += tied.len() as u64;
            now.both += tied.iter().filter(|(_, fires)| *fires).count() as u64;
            if best.is_none_or(|(_, _, f1)| now.f1() > f1) {
                best = Some((now.named, tied[0].0, now.f1()));
            }
        }
        best.map(|(named, threshold, f1)| (threshold, ranked[(named as usize - 1) / 2].0, f1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::sample::RowSample;

    /// Rows of which a quarter stand in passages with two of three words of a topic, where feature 7 fires; all have word 1.
    fn sample(n: u64) -> Vec<Sampled> {
        let mut sample = RowSample::new(n as usize, 3);
        for row in 0..n {
            let about = row % 4 == 0;
            let of_topic = [100, 101, 102];
            let left_out = row / 4 % 3;
            let words = of_topic.into_iter().filter(|word| about && *word != 100 + left_out);
            // Everywhere else one of the topic's words may stand as well.
            let stray = (!about && row % 3 == 0).then_some(100 + row / 3 % 3);
            let facts = Facts::of_context(words.chain(stray).chain([1]).collect());
            sample.offer(row, &facts, if about { &[7] } else { &[9] });
        }
        sample.take()
    }

    #[test]
    fn passages_are_told_by_words_of_which_none_is_always_there() {
        let passages = Passages::new(sample(1200));
        let (rule, f1) = passages.best(7).expect("it fires often");
        let mut words: Vec<u64> = rule.words.iter().map(|(word, _)| *word).collect();
        words.sort_unstable();
        assert_eq!((words, f1), (vec![100, 101, 102], 1.0), "{rule:?}");
        assert!(rule.clear >= rule.threshold, "{rule:?}");
        assert!(rule.names(&Facts::of_context(vec![1, 101, 100])) && !rule.names(&Facts::of_context(vec![1, 101])));
        assert_eq!(passages.best(8), None, "it never fires");
    }

    #[test]
    fn what_is_clear_is_the_upper_half_of_what_is_named() {
        // Of the second half, the feature fires on five rows: three have both words before them, two the one that tells less.
        let both = || Sampled::of(vec![5, 6], vec![1]);
        let one = || Sampled::of(vec![6], vec![1]);
        let nothing = || Sampled::of(vec![], vec![]);
        let second = [both(), both(), both(), one(), one(), nothing()];
        let sample = second.into_iter().flat_map(|row| [nothing(), row]).collect();
        let passages = Passages::new(sample);
        let fires = passages.rows_of_feature[1][&1].clone();
        assert_eq!(passages.thresholds(&[(5, 1000), (6, 300)], &fires), Some((300, 1300, 1.0)));
    }

    #[test]
    fn values_by_hand() {
        // Forty rows, all of the first half: on ten, with word 5 before eight of them, a feature fires; 5 is before ten in all.
        let row = |word: bool, fires: bool| {
            Sampled::of(if word { vec![5] } else { vec![] }, if fires { vec![1] } else { vec![] })
        };
        let kinds = [(8, true, true), (2, false, true), (2, true, false), (28, false, false)];
        let first = kinds.iter().flat_map(|(n, word, fires)| std::iter::repeat_n(row(*word, *fires), *n));
        let sample: Vec<Sampled> = first.flat_map(|row| [row, Sampled::of(vec![], vec![])]).collect();
        let passages = Passages::new(sample);
        let fires: Vec<u32> = passages.rows_of_feature[0][&1].clone();
        // ln(8.5 / 11) - ln(10.5 / 41) = 1.1044
        assert_eq!(passages.words(&fires), [(5, 1104)]);
    }
}
