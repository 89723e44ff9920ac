//! Which rows of two stores are the same token of the same text, read by two models?
//!
//! Rows are paired by document, position in the context and token id; where a document has several such rows, the first
//! goes with the first. How long the texts are that were captured does not matter, as long as one begins the other. Memory
//! is that of the longest document. Rows of matrices from elsewhere, of which nothing is known but their number, are paired
//! by that.

use crate::error::StoreError;
use crate::shards::Shards;
use crate::source::RowBlock;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use untangle_schema::Fault;

/// Two stores that cannot be read side by side.
#[derive(Debug, thiserror::Error)]
#[error("{left} and {right} cannot be read side by side: {reason}; capture the same text with both models, alike")]
struct NotPaired {
    left: String,
    right: String,
    reason: String,
}

/// Rows that are looked at together.
const LOOKED_AT: u64 = 1 << 16;

/// Rows in a row that are paired with rows in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    own: u64,
    other: u64,
    rows: u64,
}

/// The pairs of a store's rows with another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairing {
    /// Ascending, without overlap.
    runs: Vec<Run>,
    unpaired: [u64; 2],
    /// Rows of documents that both stores have.
    in_common: [u64; 2],
}

impl Pairing {
    /// Pairs the rows of `own` with those of `other`. Reads numbers, not activations. Messages call them by their `names`.
    ///
    /// # Errors
    /// Where the stores were captured from different texts, one has tokens and the other has not, or no row has a pair; and
    /// when reading fails.
    pub(crate) fn of([own, other]: [&Shards; 2], names: impl Fn() -> [String; 2]) -> Result<Self, StoreError> {
        let refuse = |reason: String| {
            let [left, right] = names();
            let error = NotPaired { left, right, reason };
            Err(StoreError::Source { source: Box::new(error), fault: Fault::BadInput })
        };
        let mut pairing = Pairing { runs: Vec::new(), unpaired: [own.n_rows(), other.n_rows()], in_common: [0, 0] };
        match (own.manifest(), other.manifest()) {
            (None, None) if own.n_rows() == other.n_rows() => pairing.add(0, 0, own.n_rows()),
            (None, None) => return refuse(format!("they have {} and {} rows", own.n_rows(), other.n_rows())),
            (Some(_), Some(_)) => pairing.by_documents(own, other)?,
            _ => return refuse("only one of them says which token a row is of".to_owned()),
        }
        if pairing.runs.is_empty() {
            return refuse("no row has the document, position and token of another".to_owned());
        }
        if own.manifest().is_some() && pairing.of_different_texts() {
            return refuse("they were captured from different texts".to_owned());
        }
        Ok(pairing)
    }

    /// Whether so few rows of the documents that both stores have are paired that it must be chance: tokens that are
    /// frequent stand at many places of any text.
    fn of_different_texts(&self) -> bool {
        let paired: u64 = self.runs.iter().map(|run| run.rows).sum();
        2 * paired < self.in_common[0].min(self.in_common[1])
    }

    fn by_documents(&mut self, own: &Shards, other: &Shards) -> Result<(), StoreError> {
        let (mut left, mut right) = (Documents::of(own), Documents::of(other));
        let (mut a, mut b) = (left.next()?, right.next()?);
        while let (Some(own), Some(other)) = (&a, &b) {
            if own.document == other.document {
                self.add_document(own, other);
            }
            let (number, second) = (own.document, other.document);
            if number <= second {
                a = left.next()?;
            }
            if second <= number {
                b = right.next()?;
            }
        }
        Ok(())
    }

    fn add_document(&mut self, own: &Document, other: &Document) {
        self.in_common[0] += own.keys.len() as u64;
        self.in_common[1] += other.keys.len() as u64;
        if own.keys == other.keys {
            return self.add(own.first, other.first, own.keys.len() as u64);
        }
        let mut places: HashMap<(u32, u32), VecDeque<u64>> = HashMap::new();
        for (row, key) in (other.first..).zip(&other.keys) {
            places.entry(*key).or_default().push_back(row);
        }
        for (row, key) in (own.first..).zip(&own.keys) {
            if let Some(other) = places.get_mut(key).and_then(VecDeque::pop_front) {
                self.add(row, other, 1);
            }
        }
    }

    fn add(&mut self, own: u64, other: u64, rows: u64) {
        self.unpaired = self.unpaired.map(|left| left - rows);
        match self.runs.last_mut() {
            Some(run) if run.own + run.rows == own && run.other + run.rows == other => run.rows += rows,
            _ => self.runs.push(Run { own, other, rows }),
        }
    }

    /// Rows without a pair, of the store itself and of the other.
    pub(crate) fn unpaired(&self) -> [u64; 2] {
        self.unpaired
    }

    /// Whether a row has a pair.
    pub(crate) fn is_paired(&self, row: u64) -> bool {
        let run = self.runs.partition_point(|run| run.own + run.rows <= row);
        self.runs.get(run).is_some_and(|run| run.own <= row)
    }

    /// The parts of `rows` that have pairs, each with the other store's first row.
    pub(crate) fn pairs(&self, rows: Range<u64>) -> impl Iterator<Item = (Range<u64>, u64)> {
        let first = self.runs.partition_point(|run| run.own + run.rows <= rows.start);
        let runs = self.runs[first..].iter().take_while(move |run| run.own < rows.end);
        runs.map(move |run| {
            let part = run.own.max(rows.start)..(run.own + run.rows).min(rows.end);
            (part.clone(), run.other + part.start - run.own)
        })
    }
}

/// The rows of one document.
struct Document {
    document: u32,
    first: u64,
    /// Position and token of every row.
    keys: Vec<(u32, u32)>,
}

/// Reads a store document by document.
struct Documents<'a> {
    rows: &'a Shards,
    block: RowBlock,
    /// Place in the block.
    at: usize,
    next: u64,
}

impl<'a> Documents<'a> {
    fn of(rows: &'a Shards) -> Self {
        Documents { rows, block: RowBlock::default(), at: 0, next: 0 }
    }

    /// Whether there is a row to look at.
    fn fill(&mut self) -> Result<bool, StoreError> {
        if self.at == self.block.len() && self.next < self.rows.n_rows() {
            let rows = self.next..(self.next + LOOKED_AT).min(self.rows.n_rows());
            self.block.reset(0);
            self.rows.append_about(rows.clone(), &mut self.block)?;
            (self.at, self.next) = (0, rows.end);
        }
        Ok(self.at < self.block.len())
    }

    fn next(&mut self) -> Result<Option<Document>, StoreError> {
        if !self.fill()? {
            return Ok(None);
        }
        let (document, first) = (self.block.documents[self.at], self.block.rows[self.at]);
        let mut keys = Vec::new();
        while self.fill()? && self.block.documents[self.at] == document {
            keys.push((self.block.positions[self.at], self.block.tokens[self.at]));
            self.at += 1;
        }
        Ok(Some(Document { document, first, keys }))
    }
}
