//! What did passes give, and how does it come into the order of the text?

use crate::contexts::Span;
use untangle_store::Rows;

/// Rows of contexts, context after context.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) contexts: Vec<Span>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) documents: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) offsets: Vec<u64>,
    pub(crate) flags: Vec<u8>,
    /// One row-major `[n, d]` buffer per hook point.
    pub(crate) columns: Vec<Vec<f32>>,
}

impl Passed {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The rows as a writer takes them; `columns` are the borrowed buffers.
    pub(crate) fn rows<'a>(&'a self, columns: &'a [&'a [f32]]) -> Rows<'a> {
        let Passed { tokens, documents, positions, offsets, flags, .. } = self;
        Rows { tokens, documents, positions, offsets, flags, columns }
    }

    /// Appends a context of `other`, whose rows begin there with number `at`.
    fn append(&mut self, other: &Passed, span: Span, at: usize) {
        let rows = at..at + span.length;
        self.contexts.push(span);
        self.tokens.extend_from_slice(&other.tokens[rows.clone()]);
        self.documents.extend_from_slice(&other.documents[rows.clone()]);
        self.positions.extend_from_slice(&other.positions[rows.clone()]);
        self.offsets.extend_from_slice(&other.offsets[rows.clone()]);
        self.flags.extend_from_slice(&other.flags[rows.clone()]);
        self.columns.resize_with(other.columns.len(), Vec::new);
        for (own, column) in self.columns.iter_mut().zip(&other.columns) {
            let d = column.len() / other.len();
            own.extend_from_slice(&column[rows.start * d..rows.end * d]);
        }
    }
}

/// The rows of a lot in the order of the text, in parts of about `part_rows`.
pub(crate) fn in_order(mut lot: Vec<Passed>, part_rows: usize) -> impl Iterator<Item = Passed> {
    // A pass whose contexts are in order already is handed on as it is.
    let only = lot.pop_if(|passed| passed.contexts.is_sorted_by_key(|span| span.first));
    let only = if lot.is_empty() {
        only
    } else {
        lot.extend(only);
        None
    };
    let mut places: Vec<(Span, usize, usize)> = Vec::new();
    for (part, passed) in lot.iter().enumerate() {
        let mut at = 0;
        for span in &passed.contexts {
            places.push((*span, part, at));
            at += span.length;
        }
    }
    places.sort_unstable_by_key(|(span, ..)| span.first);
    let mut places = places.into_iter().peekable();
    let parts = std::iter::from_fn(move || {
        let mut rows = Passed::default();
        while let Some((span, part, at)) =
            places.next_if(|(span, ..)| rows.len() == 0 || rows.len() + span.length <= part_rows)
        {
            rows.append(&lot[part], span, at);
        }
        (rows.len() > 0).then_some(rows)
    });
    only.into_iter().chain(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pass over contexts `(first, length)` in which a row's every number is that of the row, its second column twice it.
    fn passed(contexts: &[(u64, usize)]) -> Passed {
        let contexts: Vec<Span> =
            contexts.iter().map(|(first, length)| Span { first: *first, length: *length }).collect();
        let rows: Vec<u64> = contexts.iter().flat_map(|span| span.first..span.end()).collect();
        let numbers = |from: &[u64]| from.iter().map(|row| *row as u32).collect::<Vec<_>>();
        Passed {
            contexts,
            tokens: numbers(&rows),
            documents: numbers(&rows),
            positions: numbers(&rows),
            flags: rows.iter().map(|row| *row as u8).collect(),
            columns: vec![
                rows.iter().map(|row| *row as f32).collect(),
                rows.iter().flat_map(|row| [*row as f32, 2.0 * *row as f32]).collect(),
            ],
            offsets: rows,
        }
    }

    #[test]
    fn sorted_passes_come_back_in_the_order_of_the_text() {
        let lot = vec![passed(&[(7, 3), (0, 3)]), passed(&[(4, 2), (3, 1), (6, 1)])];
        let parts: Vec<Passed> = in_order(lot, 4).collect();
        assert_eq!(parts.iter().map(Passed::len).collect::<Vec<_>>(), [4, 3, 3]);
        let rows: Vec<u64> = parts.iter().flat_map(|part| part.offsets.clone()).collect();
        assert_eq!(rows, (0..10).collect::<Vec<_>>());
        for part in &parts {
            let expected = passed(&part.contexts.iter().map(|span| (span.first, span.length)).collect::<Vec<_>>());
            assert_eq!(format!("{part:?}"), format!("{expected:?}"));
        }
        let alone: Vec<Passed> = in_order(vec![passed(&[(2, 4), (6, 4)])], 3).collect();
        assert_eq!(alone.iter().map(Passed::len).collect::<Vec<_>>(), [8], "one in order stays as it is");
    }
}
