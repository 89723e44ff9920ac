//! Which rows of the spool are a context?
//!
//! Packed, every `context` rows are one. Padded, one begins with every document and, within a long one, after every
//! `context` rows.

use crate::error::CaptureError;
use crate::spool::Spool;

/// A context: consecutive rows of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its first row.
    pub(crate) first: u64,
    /// Number of its rows.
    pub(crate) length: usize,
}

impl Span {
    /// The row behind the last.
    pub(crate) fn end(self) -> u64 {
        self.first + self.length as u64
    }
}

/// Rows that are looked at together.
const LOOKED_UP: u64 = 1 << 16;

/// The contexts of a text, in order, from one of them on.
#[derive(Clone, Debug)]
pub(crate) struct Contexts<'a> {
    spool: &'a Spool,
    context: usize,
    pad: bool,
    next: u64,
    /// Documents of the rows from `seen_from` on.
    seen: Vec<u32>,
    seen_from: u64,
}

impl<'a> Contexts<'a> {
    /// Those from row `first` on, which begins one.
    pub(crate) fn new(spool: &'a Spool, context: usize, pad: bool, first: u64) -> Self {
        Contexts { spool, context, pad, next: first, seen: Vec::new(), seen_from: first }
    }

    /// The document of a row, of which at most so many are looked at one after the other.
    fn document(&mut self, row: u64) -> Result<u32, CaptureError> {
        if row >= self.seen_from + self.seen.len() as u64 {
            let n = LOOKED_UP.min(self.spool.rows() - row);
            self.seen = self.spool.read(row, n as usize)?.documents;
            self.seen_from = row;
        }
        Ok(self.seen[(row - self.seen_from) as usize])
    }

    /// Number of rows of the context that begins with `next`, at most `most`.
    fn length(&mut self, most: usize) -> Result<usize, CaptureError> {
        if !self.pad {
            return Ok(most);
        }
        let (first, document) = (self.next, self.document(self.next)?);
        for length in 1..most {
            if self.document(first + length as u64)? != document {
                return Ok(length);
            }
        }
        Ok(most)
    }
}

impl Iterator for Contexts<'_> {
    type Item = Result<Span, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.spool.rows().saturating_sub(self.next);
        if left == 0 {
            return None;
        }
        let most = left.min(self.context as u64) as usize;
        Some(self.length(most).map(|length| {
            let span = Span { first: self.next, length };
            self.next = span.end();
            span
        }))
    }
}
