//! An even sample of the rows that the labeller may see, each with the words before it and the features that fire on it.

use super::facts::Facts;
use crate::hash::mix;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Rows that are kept.
pub const ROWS: usize = 1 << 16;

/// A row that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    key: u64,
    /// Hashes of the words before it, each once.
    pub(crate) context: Vec<u64>,
    /// The features that fire on it.
    pub(crate) features: Vec<u32>,
}

#[cfg(test)]
impl Sampled {
    pub(crate) fn of(context: Vec<u64>, features: Vec<u32>) -> Self {
        Self { key: 0, context, features }
    }
}

impl PartialOrd for Sampled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sampled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// The rows with the smallest hash of seed and row: a function of the rows, not of their order.
#[derive(Clone, Debug)]
pub struct RowSample {
    limit: usize,
    salt: u64,
    kept: BinaryHeap<Sampled>,
}

impl RowSample {
    /// A sample of at most `limit` rows.
    pub fn new(limit: usize, seed: u64) -> Self {
        Self { limit, salt: mix(seed ^ 0x0000_726f_7773), kept: BinaryHeap::new() }
    }

    /// Considers the row with this number.
    pub fn offer(&mut self, row: u64, facts: &Facts, features: &[u32]) {
        let key = mix(self.salt ^ row);
        if self.kept.len() == self.limit {
            if self.kept.peek().is_none_or(|largest| largest.key <= key) {
                return;
            }
            self.kept.pop();
        }
        let (context, features) = (facts.context().to_vec(), features.to_vec());
        self.kept.push(Sampled { key, context, features });
    }

    /// The rows, in an order that says nothing; none are left.
    pub(crate) fn take(&mut self) -> Vec<Sampled> {
        std::mem::take(&mut self.kept).into_sorted_vec()
    }
}
