//! What could stand for a concept: columns of numbers, one number per token, that a threshold cuts.
//!
//! A detector names the tokens whose value is above its threshold. Features are sparse columns: a token on which a
//! feature does not fire is never named. Neurons and directions are dense ones, and each is two detectors, because what
//! it stands for may lie at either end.

use super::record::Rows;
use crate::error::InterpretError;
use untangle_sae::{Codes, Sae};

/// Rows that are encoded at a time.
const BLOCK_ROWS: usize = 4096;

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: f32,
    /// Number of the token.
    pub row: u32,
}

/// Columns over the same tokens.
pub trait Detectors {
    /// Number of detectors.
    fn count(&self) -> usize;

    /// Number of tokens.
    fn rows(&self) -> usize;

    /// The entries of a detector, highest value first, equal ones by row. `scratch` may be used to hold them.
    fn ranked<'a>(&'a self, detector: usize, scratch: &'a mut Vec<Entry>) -> &'a [Entry];

    /// A value below all entries, at or below which the tokens lie that have none.
    fn floor(&self) -> f32;

    /// Number of the column, and whether it is taken negatively.
    fn column(&self, detector: usize) -> (usize, bool);
}

/// The features of a dictionary.
#[derive(Clone, Debug)]
pub struct Features {
    rows: usize,
    starts: Vec<usize>,
    entries: Vec<Entry>,
}

impl Features {
    /// Encodes `rows`, as long as the recording that they are.
    ///
    /// # Errors
    /// The dictionary reads rows of another width.
    pub fn encode(sae: &Sae, rows: &Rows) -> Result<Self, InterpretError> {
        if rows.d != sae.d_in() {
            let (d_in, what) = (sae.d_in(), "the recording".to_owned());
            return Err(InterpretError::WidthDiffers { d_in, what, found: rows.d });
        }
        let mut columns = vec![Vec::new(); sae.d_sae()];
        let mut codes = Codes::new();
        let mut row = 0;
        for block in rows.values.chunks(BLOCK_ROWS * rows.d) {
            sae.encode(block, &mut codes)?;
            row = add(&mut columns, &codes, row);
        }
        Ok(Self::ranking(columns, row as usize))
    }

    /// Features that fire as `codes` say, `n_features` of them.
    pub fn of_codes(codes: &Codes, n_features: usize) -> Self {
        let mut columns = vec![Vec::new(); n_features];
        let rows = add(&mut columns, codes, 0);
        Self::ranking(columns, rows as usize)
    }

    fn ranking(columns: Vec<Vec<Entry>>, rows: usize) -> Self {
        let (mut starts, mut entries) = (vec![0], Vec::with_capacity(columns.iter().map(Vec::len).sum()));
        let mut keys = Vec::new();
        for mut column in columns {
            rank(&mut column, &mut keys);
            entries.extend(column);
            starts.push(entries.len());
        }
        Self { rows, starts, entries }
    }

    /// Tokens on which the feature fires.
    pub fn firings(&self, feature: usize) -> usize {
        self.starts[feature + 1] - self.starts[feature]
    }
}

/// Adds the rows of `codes`, the first of which is `row`; returns the number of the next.
fn add(columns: &mut [Vec<Entry>], codes: &Codes, row: u32) -> u32 {
    let mut next = row;
    for at in 0..codes.n_rows() {
        let (features, activations) = codes.row(at);
        for (&feature, &value) in features.iter().zip(activations) {
            columns[feature as usize].push(Entry { value, row: next });
        }
        next += 1;
    }
    next
}

impl Detectors for Features {
    fn count(&self) -> usize {
        self.starts.len() - 1
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn ranked<'a>(&'a self, detector: usize, _: &'a mut Vec<Entry>) -> &'a [Entry] {
        &self.entries[self.starts[detector]..self.starts[detector + 1]]
    }

    fn floor(&self) -> f32 {
        0.0
    }

    fn column(&self, detector: usize) -> (usize, bool) {
        (detector, false)
    }
}

/// Dense columns, each one detector, or two: with both ends, detector 2c is column c and detector 2c + 1 its negative.
#[derive(Clone, Debug)]
pub struct Dense {
    rows: usize,
    /// `[d, n]`: a column lies in one piece.
    columns: Vec<f32>,
    both_ends: bool,
}

impl Dense {
    /// Both ends of the columns of finite `rows`.
    pub fn both_ends(rows: &Rows) -> Self {
        let n = rows.len();
        let mut columns = vec![0.0; rows.values.len()];
        for (number, row) in rows.values.chunks_exact(rows.d).enumerate() {
            row.iter().enumerate().for_each(|(column, value)| columns[column * n + number] = *value);
        }
        Self { rows: n, columns, both_ends: true }
    }

    /// The upper ends of finite columns `[d, n]` over n tokens.
    pub fn upper_ends(columns: Vec<f32>, n: usize) -> Self {
        Self { rows: n, columns, both_ends: false }
    }
}

impl Detectors for Dense {
    fn count(&self) -> usize {
        (1 + usize::from(self.both_ends)) * self.columns.len() / self.rows.max(1)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn ranked<'a>(&'a self, detector: usize, scratch: &'a mut Vec<Entry>) -> &'a [Entry] {
        let (column, negative) = self.column(detector);
        let values = &self.columns[column * self.rows..(column + 1) * self.rows];
        let signed = |value: f32| if negative { -value } else { value };
        ranked_column(values.iter().map(|value| signed(*value)), scratch)
    }

    fn floor(&self) -> f32 {
        f32::NEG_INFINITY
    }

    fn column(&self, detector: usize) -> (usize, bool) {
        if self.both_ends { (detector / 2, detector % 2 == 1) } else { (detector, false) }
    }
}

/// The values of a dense column as ranked entries.
pub(crate) fn ranked_column(values: impl Iterator<Item = f32>, scratch: &mut Vec<Entry>) -> &[Entry] {
    scratch.clear();
    scratch.extend((0..).zip(values).map(|(row, value)| Entry { value, row }));
    let mut keys = Vec::with_capacity(scratch.len());
    rank(scratch, &mut keys);
    scratch
}

/// Sorts by value, highest first, then by row: as integers, which is several times faster than comparing pairs.
fn rank(entries: &mut [Entry], keys: &mut Vec<u64>) {
    keys.clear();
    keys.extend(entries.iter().map(|entry| {
        // Adding 0 makes the two zeros one.
        let bits = (entry.value + 0.0).to_bits();
        let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u64::from(!ascending) << 32 | u64::from(entry.row)
    }));
    keys.sort_unstable();
    for (entry, key) in entries.iter_mut().zip(keys) {
        let ascending = !((*key >> 32) as u32);
        let bits = if ascending >> 31 == 1 { ascending & !(1 << 31) } else { !ascending };
        *entry = Entry { value: f32::from_bits(bits), row: *key as u32 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ends_of_a_column_are_detectors() {
        let ends = Dense::both_ends(&Rows { d: 2, values: vec![1.0, -5.0, -2.0, 0.0, 1.0, 7.0] });
        let mut scratch = Vec::new();
        let mut ranked =
            |detector| ends.ranked(detector, &mut scratch).iter().map(|e| (e.value, e.row)).collect::<Vec<_>>();
        assert_eq!((ends.count(), ends.rows()), (4, 3));
        assert_eq!(ranked(0), [(1.0, 0), (1.0, 2), (-2.0, 1)]);
        assert_eq!(ranked(1), [(2.0, 1), (-1.0, 0), (-1.0, 2)]);
        assert_eq!(ranked(2), [(7.0, 2), (0.0, 1), (-5.0, 0)]);
        assert_eq!(ends.column(3), (1, true));
    }

    #[test]
    fn features_hold_the_tokens_on_which_they_fire() {
        let mut codes = Codes::new();
        codes.push_row([(0, 1.0), (2, 0.5)]);
        codes.push_row([]);
        codes.push_row([(2, 3.0)]);
        let features = Features::of_codes(&codes, 3);
        let ranked: Vec<(f32, u32)> = features.ranked(2, &mut Vec::new()).iter().map(|e| (e.value, e.row)).collect();
        assert_eq!(ranked, [(3.0, 2), (0.5, 0)]);
        assert_eq!((features.rows(), features.firings(0), features.firings(1)), (3, 1, 0));
    }

    proptest! {
        #[test]
        fn ranking_is_sorting(values in proptest::collection::vec(-1e30f32..1e30, 0..50)) {
            let mut expected: Vec<(f32, u32)> = values.iter().copied().zip(0..).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut scratch = Vec::new();
            let found: Vec<(f32, u32)> =
                ranked_column(values.into_iter(), &mut scratch).iter().map(|e| (e.value, e.row)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
