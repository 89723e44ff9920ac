//! Windows of text that are drawn whatever fires there: what features are compared with that do not fire in them.
//!
//! The rows in their middle are those with the smallest hashes of seed and row among the rows that examples come from, so that the
//! two differ in nothing but what fires. Windows that overlap one that was drawn before are left out: no token counts twice.

use crate::corpus::Corpus;
use crate::error::InterpretError;
use crate::hash::mix;
use crate::vocabulary::Vocabulary;
use crate::windows::{Reach, around};
use std::collections::{BTreeMap, BinaryHeap};
use untangle_sae::{Codes, Sae};
use untangle_store::RowBlock;

/// Excerpts of a database (chosen: a feature that fires in half of them leaves more than anybody asks a judge about).
pub const EXCERPTS: usize = 256;

/// A window of text around a row that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// The row in its middle.
    pub row: u64,
    /// Document of that row.
    pub document: u32,
    /// Position of that row in its context.
    pub position: u32,
    /// Index of that row among `tokens`.
    pub peak: usize,
    /// The window's tokens as text, in order.
    pub tokens: Vec<String>,
}

/// Excerpts, and everything that fires in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Excerpts {
    /// The excerpts.
    pub all: Vec<Excerpt>,
    /// By feature and number of the excerpt, the activation at each token; none where it fires nowhere.
    pub firings: BTreeMap<(usize, usize), Vec<f32>>,
}

/// A row that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Drawn {
    key: u64,
    row: u64,
    document: u32,
    position: u32,
}

/// The rows with the smallest hashes: a function of the rows, not of their order.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    salt: u64,
    kept: BinaryHeap<Drawn>,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { salt: mix(seed ^ 0x6578_6365_7270_7473), kept: BinaryHeap::new() }
    }

    /// Considers a row.
    pub(crate) fn offer(&mut self, row: u64, document: u32, position: u32) {
        let drawn = Drawn { key: mix(self.salt ^ row), row, document, position };
        // Twice as many as are wanted, because some overlap.
        if self.kept.len() < 2 * EXCERPTS {
            self.kept.push(drawn);
        } else if let Some(mut largest) = self.kept.peek_mut()
            && drawn < *largest
        {
            *largest = drawn;
        }
    }

    /// Rows whose windows do not overlap, in the order of the store.
    fn apart(&self, reach: Reach) -> Vec<Drawn> {
        let length = (reach.before + reach.after + 1) as u64;
        let mut taken: BTreeMap<u64, Drawn> = BTreeMap::new();
        for drawn in self.kept.clone().into_sorted_vec() {
            let near = drawn.row.saturating_sub(length - 1)..drawn.row + length;
            if taken.len() < EXCERPTS && taken.range(near).next().is_none() {
                taken.insert(drawn.row, drawn);
            }
        }
        taken.into_values().collect()
    }
}

/// Reads the windows around what was drawn.
pub(crate) fn excerpts(
    sae: &Sae,
    corpus: &Corpus,
    vocabulary: &Vocabulary,
    draw: &Draw,
    reach: Reach,
) -> Result<Excerpts, InterpretError> {
    let store = corpus.store();
    let (mut found, mut block, mut codes) = (Excerpts::default(), RowBlock::default(), Codes::new());
    for Drawn { row, document, position, .. } in draw.apart(reach) {
        let before = u64::from(position).min(reach.before as u64).min(row);
        let end = (row + reach.after as u64 + 1).min(store.n_rows());
        corpus.encode(sae, row - before..end, &mut block, &mut codes)?;
        let middle = before as usize;
        let rows = around(0..block.len(), middle, |at| {
            let in_order = u64::from(block.positions[at]) + before == u64::from(position) + at as u64;
            in_order && block.documents[at] == document
        });
        let id = found.all.len();
        for (at, row) in rows.clone().enumerate() {
            let (features, activations) = codes.row(row);
            for (feature, activation) in features.iter().zip(activations) {
                found.firings.entry((*feature as usize, id)).or_insert_with(|| vec![0.0; rows.len()])[at] = *activation;
            }
        }
        let tokens = block.tokens[rows.clone()].iter().map(|token| vocabulary.text(*token)).collect();
        found.all.push(Excerpt { row, document, position, peak: middle - rows.start, tokens });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rows: impl Iterator<Item = u64>, reach: Reach) -> Vec<u64> {
        let mut draw = Draw::new(5);
        rows.for_each(|row| draw.offer(row, 0, 0));
        draw.apart(reach).iter().map(|drawn| drawn.row).collect()
    }

    #[test]
    fn windows_do_not_overlap_and_their_choice_does_not_depend_on_the_order() {
        let reach = Reach { before: 4, after: 2 };
        let forward = drawn(0..3000, reach);
        assert_eq!(forward, drawn((0..3000).rev(), reach));
        assert!(forward.windows(2).all(|pair| pair[1] - pair[0] >= 7), "{forward:?}");
        assert!(forward.len() > 150, "{}", forward.len());
        assert_eq!(drawn(0..100_000, Reach { before: 0, after: 0 }).len(), EXCERPTS);
        assert!(drawn(0..0, reach).is_empty());
    }
}
