//! Held-out contexts of a store as tokens again, for the model to read.

use crate::ce::Context;
use crate::corpus::Corpus;
use crate::error::InterpretError;
use crate::hash::mix;
use std::collections::BinaryHeap;
use untangle_store::{Part, RowBlock, Split};

/// Rows that are looked through at a time.
const LOOKED_UP: u64 = 1 << 16;

/// At most `most` contexts of the store that have rows of `part`, drawn evenly, in the order of the store. A context is
/// read whole, as it was captured; only the predictions of the part's own tokens count.
///
/// # Errors
/// When the store has no tokens, or none in the part.
pub fn contexts_of(corpus: &Corpus, part: Part, most: usize) -> Result<Vec<Context>, InterpretError> {
    corpus.require_tokens()?;
    let store = corpus.store();
    let split = Split::new(corpus.held_out(), store)?;
    let member = |row, document| match part {
        Part::All => true,
        Part::Train => !split.is_held_out(row, document),
        Part::HeldOut => split.is_held_out(row, document),
    };
    let mut drawn = Drawn { most, kept: BinaryHeap::new() };
    let (mut block, mut open) = (RowBlock::default(), None::<(u64, bool)>);
    for from in (0..store.n_rows()).step_by(LOOKED_UP as usize) {
        store.read_rows(from..(from + LOOKED_UP).min(store.n_rows()), &[], &mut block)?;
        for at in 0..block.len() {
            let row = block.rows[at];
            if block.positions[at] == 0 {
                open.into_iter().for_each(|(first, counts)| drawn.offer(first, row, counts));
                open = Some((row, false));
            }
            if let Some((_, counts)) = &mut open {
                // The first token of a context is not predicted.
                *counts |= block.positions[at] > 0 && member(row, block.documents[at]);
            }
        }
    }
    open.into_iter().for_each(|(first, counts)| drawn.offer(first, store.n_rows(), counts));
    let contexts = drawn.in_order().into_iter().map(|(first, end)| {
        store.read_rows(first..end, &[], &mut block)?;
        let counts = block.rows.iter().zip(&block.documents).map(|(row, document)| member(*row, *document));
        Ok(Context { tokens: block.tokens.clone(), counts: counts.collect() })
    });
    let contexts: Vec<Context> = contexts.collect::<Result<_, InterpretError>>()?;
    if contexts.is_empty() {
        return Err(InterpretError::NoRows { store: store.name(), part: "the evaluated part" });
    }
    Ok(contexts)
}

/// Those with the smallest hashes: an even draw in memory for its limit alone.
struct Drawn {
    most: usize,
    /// Hash, first row and end.
    kept: BinaryHeap<(u64, u64, u64)>,
}

impl Drawn {
    fn offer(&mut self, first: u64, end: u64, counts: bool) {
        if counts {
            self.kept.push((mix(first), first, end));
        }
        if self.kept.len() > self.most {
            self.kept.pop();
        }
    }

    fn in_order(self) -> Vec<(u64, u64)> {
        let mut rows: Vec<(u64, u64)> = self.kept.into_iter().map(|(_, first, end)| (first, end)).collect();
        rows.sort_unstable();
        rows
    }
}
