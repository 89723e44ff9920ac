//! How do documents fill contexts?
//!
//! Contexts hold exactly `context` tokens, only the last may hold fewer; documents follow one another and run on over
//! contexts. Or, where contexts are padded, every document begins one of its own, and a document that is longer than a
//! context goes on in the next. Where a beginning-of-sequence token applies, every context begins with it and it stands
//! before every document, but never twice in a row.

use serde::{Deserialize, Serialize};

/// A token of a document's text, with the byte of the text at which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) offset: u32,
}

/// One row: a token of a document. A beginning-of-sequence token that was put in begins where the token behind it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) token: u32,
    pub(crate) document: u32,
    pub(crate) offset: u32,
}

/// Fills contexts; all of its state, so that packing can be continued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packer {
    context: usize,
    /// Whether every document begins a context.
    pad: bool,
    bos: Option<u32>,
    /// Rows at most.
    limit: Option<u64>,
    /// Rows so far.
    pub(crate) rows: u64,
    /// Rows of the context that is being filled.
    filled: usize,
    /// Documents so far.
    pub(crate) documents: u32,
    /// The last token, unless it ended a context.
    last: Option<u32>,
}

impl Packer {
    pub(crate) fn new(context: usize, pad: bool, bos: Option<u32>, limit: Option<u64>) -> Self {
        Packer { context, pad, bos, limit, rows: 0, filled: 0, documents: 0, last: None }
    }

    /// Whether this is the state that packing as `fresh` does can have come to.
    pub(crate) fn continues(&self, fresh: &Packer) -> bool {
        let alike = Packer { context: self.context, pad: self.pad, bos: self.bos, limit: self.limit, ..fresh.clone() };
        let within = self.filled < self.context && self.filled as u64 <= self.rows;
        let limited = self.limit.is_none_or(|limit| self.rows <= limit);
        alike == *fresh && within && limited && u64::from(self.documents) <= self.rows
    }

    /// Whether the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.rows >= limit)
    }

    /// Appends the rows of the next document to `out`; a document without tokens counts for nothing.
    pub(crate) fn add(&mut self, tokens: &[Token], out: &mut Vec<Packed>) {
        let text = match tokens {
            [first, text @ ..] if Some(first.id) == self.bos => text,
            _ => tokens,
        };
        let Some(first) = text.first().filter(|_| !self.is_full()) else { return };
        if self.pad {
            (self.filled, self.last) = (0, None);
        }
        self.begin(first.offset, out);
        for token in text {
            if self.filled == 0 {
                self.begin(token.offset, out);
            }
            self.push(*token, out);
        }
        self.documents += 1;
    }

    /// Puts the beginning-of-sequence token, unless it stands there.
    fn begin(&mut self, offset: u32, out: &mut Vec<Packed>) {
        if let Some(id) = self.bos
            && self.last != Some(id)
        {
            self.push(Token { id, offset }, out);
        }
    }

    fn push(&mut self, token: Token, out: &mut Vec<Packed>) {
        if self.is_full() {
            return;
        }
        out.push(Packed { token: token.id, document: self.documents, offset: token.offset });
        self.rows += 1;
        self.filled = (self.filled + 1) % self.context;
        self.last = (self.filled > 0).then_some(token.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOS: u32 = 1;

    /// Tokens of three bytes each.
    fn document(ids: &[u32]) -> Vec<Token> {
        ids.iter().zip((0..).step_by(3)).map(|(id, offset)| Token { id: *id, offset }).collect()
    }

    fn pack(context: usize, bos: Option<u32>, limit: Option<u64>, documents: &[&[u32]]) -> Vec<(u32, u32)> {
        packed(Packer::new(context, false, bos, limit), documents)
    }

    fn packed(mut packer: Packer, documents: &[&[u32]]) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        documents.iter().for_each(|ids| packer.add(&document(ids), &mut out));
        assert_eq!(packer.rows, out.len() as u64);
        out.into_iter().map(|row| (row.token, row.document)).collect()
    }

    fn tokens(rows: &[(u32, u32)]) -> Vec<u32> {
        rows.iter().map(|row| row.0).collect()
    }

    #[test]
    fn contexts_and_documents_begin_with_bos() {
        let rows = pack(4, Some(BOS), None, &[&[5, 6, 7, 8], &[9]]);
        assert_eq!(rows, [(1, 0), (5, 0), (6, 0), (7, 0), (1, 0), (8, 0), (1, 1), (9, 1)]);
    }

    #[test]
    fn bos_is_never_doubled() {
        assert_eq!(tokens(&pack(4, Some(BOS), None, &[&[BOS, 5], &[BOS, 6]])), [1, 5, 1, 6]);
        assert_eq!(tokens(&pack(3, Some(BOS), None, &[&[5, 6], &[7]])), [1, 5, 6, 1, 7]);
        assert_eq!(tokens(&pack(4, Some(BOS), None, &[&[5, BOS], &[6]])), [1, 5, 1, 6]);
        assert_eq!(tokens(&pack(9, Some(BOS), None, &[&[BOS], &[], &[6]])), [1, 6]);
    }

    #[test]
    fn rows_know_where_their_token_begins() {
        let offsets = |bos: Option<u32>, ids: &[u32]| {
            let mut out = Vec::new();
            Packer::new(3, false, bos, None).add(&document(ids), &mut out);
            out.into_iter().map(|row| row.offset).collect::<Vec<_>>()
        };
        assert_eq!(offsets(None, &[5, 6, 7, 8]), [0, 3, 6, 9]);
        assert_eq!(offsets(Some(BOS), &[5, 6, 7, 8]), [0, 0, 3, 6, 6, 9]);
        assert_eq!(offsets(Some(BOS), &[BOS, 6]), [3, 3]);
    }

    #[test]
    fn padded_documents_begin_contexts_and_long_ones_go_on_in_the_next() {
        let rows = |bos, limit, documents: &[&[u32]]| tokens(&packed(Packer::new(4, true, bos, limit), documents));
        // Contexts: 1 5 6 7 | 1 8 | 1 9 | 1 5.
        assert_eq!(rows(Some(BOS), None, &[&[5, 6, 7, 8], &[9], &[], &[BOS, 5]]), [1, 5, 6, 7, 1, 8, 1, 9, 1, 5]);
        // A document that ends with its context, and one that ends with the token: neither loses or gains one.
        assert_eq!(rows(Some(BOS), None, &[&[5, 6, 7], &[8, BOS], &[9]]), [1, 5, 6, 7, 1, 8, 1, 1, 9]);
        assert_eq!(rows(None, None, &[&[5, 6, 7, 8, 9], &[5]]), [5, 6, 7, 8, 9, 5]);
        assert_eq!(rows(Some(BOS), Some(7), &[&[5, 6, 7, 8], &[9]]), [1, 5, 6, 7, 1, 8, 1]);
        // Offsets of a document's second context go on.
        let mut out = Vec::new();
        Packer::new(3, true, Some(BOS), None).add(&document(&[5, 6, 7]), &mut out);
        assert_eq!(out.iter().map(|row| row.offset).collect::<Vec<_>>(), [0, 0, 3, 6, 6]);
    }

    #[test]
    fn without_bos_documents_follow_one_another() {
        assert_eq!(pack(3, None, None, &[&[5, 6], &[], &[7, 8]]), [(5, 0), (6, 0), (7, 1), (8, 1)]);
    }

    #[test]
    fn the_limit_is_exact_and_later_documents_do_not_count() {
        let mut packer = Packer::new(4, false, Some(BOS), Some(5));
        let mut out = Vec::new();
        for ids in [&[5u32, 6, 7, 8, 9][..], &[10]] {
            packer.add(&document(ids), &mut out);
        }
        assert_eq!((out.len(), packer.rows, packer.documents, packer.is_full()), (5, 5, 1, true));
    }

    proptest! {
        #[test]
        fn no_token_is_lost_or_invented(
            documents in prop::collection::vec(prop::collection::vec(1u32..6, 0..30), 0..12), context in 2usize..9,
        ) {
            let slices: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
            let rows = pack(context, Some(BOS), None, &slices);
            let text = |tokens: Vec<u32>| tokens.into_iter().filter(|token| *token != BOS).collect::<Vec<_>>();
            prop_assert_eq!(text(tokens(&rows)), text(documents.concat()));
            prop_assert!(rows.chunks(context).all(|rows| rows[0].0 == BOS));
            prop_assert_eq!(tokens(&pack(context, None, None, &slices)), documents.concat());
        }
    }
}
