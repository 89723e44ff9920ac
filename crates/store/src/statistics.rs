//! What are the mean, second moment and norms of a column?
//!
//! ```text
//! mean_j          = 1/n * sum_i x_ij
//! second_moment_j = 1/n * sum_i x_ij^2
//! norm            = mean, mean square and maximum over i of |x_i|, with |x_i|^2 = sum_j x_ij^2
//! trace of the covariance = sum_j (second_moment_j - mean_j^2)
//! ```
//!
//! All in f64, row after row, so the result does not depend on how rows were cut into batches.

use crate::norms::{self, BINS, NormHistogram};
use untangle_schema::capture::row_flags;

/// Statistics of a set of rows of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Number of rows.
    pub count: u64,
    /// Mean of every dimension, `[d]`.
    pub mean: Vec<f64>,
    /// Mean square of every dimension, `[d]`.
    pub second_moment: Vec<f64>,
    /// Mean Euclidean norm of a row.
    pub norm_mean: f64,
    /// Mean squared norm of a row.
    pub norm_second_moment: f64,
    /// Largest norm of a row.
    pub norm_max: f64,
    /// How the norms are distributed.
    pub norms: NormHistogram,
}

impl Statistics {
    /// Trace of the rows' covariance: the mean squared distance from the mean, what FVU divides by.
    pub fn covariance_trace(&self) -> f64 {
        self.second_moment.iter().zip(&self.mean).map(|(square, mean)| square - mean * mean).sum()
    }
}

/// Statistics of one column, over all rows and over those that are not special.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStatistics {
    /// Over all rows.
    pub all: Statistics,
    /// Over rows without a flag of [`row_flags::ANY_SPECIAL`].
    pub ordinary: Statistics,
}

impl ColumnStatistics {
    /// Ordinary rows whose norm is this one or more are outliers; see [`NormHistogram::outlier_norm`].
    pub fn outlier_norm(&self) -> f64 {
        self.ordinary.norms.outlier_norm()
    }
}

/// Running sums over rows.
#[derive(Clone, Debug, PartialEq)]
struct Sums {
    count: u64,
    sum: Vec<f64>,
    square: Vec<f64>,
    norm: f64,
    norm_square: f64,
    norm_max: f64,
    norms: NormHistogram,
}

impl Sums {
    fn new(d: usize) -> Self {
        let (sum, square, norms) = (vec![0.0; d], vec![0.0; d], NormHistogram::default());
        Sums { count: 0, sum, square, norm: 0.0, norm_square: 0.0, norm_max: 0.0, norms }
    }

    /// Adds rows in their order, with their squared norms. Four at a time, so that sums are loaded and stored once for
    /// four additions; every sum still sees the rows one after the other.
    fn add(&mut self, rows: &[&[f32]], norm_squares: impl Iterator<Item = f64>) {
        let (fours, rest) = rows.as_chunks::<4>();
        for [a, b, c, d] in fours {
            let sums = self.sum.iter_mut().zip(&mut self.square);
            for ((sum, square), (((a, b), c), d)) in sums.zip(a.iter().zip(*b).zip(*c).zip(*d)) {
                let [a, b, c, d] = [a, b, c, d].map(|x| f64::from(*x));
                *sum = (((*sum + a) + b) + c) + d;
                *square = (((*square + a * a) + b * b) + c * c) + d * d;
            }
        }
        for row in rest {
            for ((x, sum), square) in row.iter().zip(&mut self.sum).zip(&mut self.square) {
                let x = f64::from(*x);
                *sum += x;
                *square += x * x;
            }
        }
        norm_squares.for_each(|norm_square| self.add_norm(norm_square));
    }

    fn add_norm(&mut self, norm_square: f64) {
        let norm = norm_square.sqrt();
        self.count += 1;
        self.norm += norm;
        self.norm_square += norm_square;
        self.norm_max = self.norm_max.max(norm);
        self.norms.add(norms::stored(norm_square));
    }

    fn plus(&self, other: &Sums) -> Sums {
        let add = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect();
        Sums {
            count: self.count + other.count,
            sum: add(&self.sum, &other.sum),
            square: add(&self.square, &other.square),
            norm: self.norm + other.norm,
            norm_square: self.norm_square + other.norm_square,
            norm_max: self.norm_max.max(other.norm_max),
            norms: self.norms.plus(&other.norms),
        }
    }

    fn finish(&self) -> Statistics {
        let n = self.count.max(1) as f64;
        let mean = |sums: &[f64]| sums.iter().map(|sum| sum / n).collect();
        Statistics {
            count: self.count,
            mean: mean(&self.sum),
            second_moment: mean(&self.square),
            norm_mean: self.norm / n,
            norm_second_moment: self.norm_square / n,
            norm_max: self.norm_max,
            norms: self.norms.clone(),
        }
    }

    fn scalars(&mut self) -> [&mut f64; 3] {
        [&mut self.norm, &mut self.norm_square, &mut self.norm_max]
    }
}

/// `|x_i|^2` of rows `[n, d]`, `[n]`.
pub(crate) fn squared_norms(rows: &[f32], d: usize) -> Vec<f64> {
    rows.chunks_exact(d).map(squared_norm).collect()
}

/// Fixed lanes: the order of addition, and with it the last bit, does not depend on the machine.
pub(crate) fn squared_norm(row: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0f64; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f64::from(*x) * f64::from(*x));
    }
    lanes.iter().sum::<f64>() + rest
}

/// Gathers the statistics of one column while its rows are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accumulator {
    ordinary: Sums,
    special: Sums,
}

impl Accumulator {
    /// Nothing yet, for rows of width `d`.
    pub(crate) fn new(d: usize) -> Self {
        Accumulator { ordinary: Sums::new(d), special: Sums::new(d) }
    }

    /// Adds rows `[n, d]` with their flags `[n]` and [`squared_norms`] `[n]`.
    pub(crate) fn add(&mut self, rows: &[f32], flags: &[u8], squared_norms: &[f64]) {
        let d = self.ordinary.sum.len();
        for (sums, special) in [(&mut self.ordinary, false), (&mut self.special, true)] {
            let member = |flag: u8| (flag & row_flags::ANY_SPECIAL != 0) == special;
            let rows = rows.chunks_exact(d).zip(flags).filter(|(_, flag)| member(**flag));
            let squares = squared_norms.iter().zip(flags).filter(|(_, flag)| member(**flag));
            sums.add(&rows.map(|(row, _)| row).collect::<Vec<_>>(), squares.map(|(square, _)| *square));
        }
    }

    /// The statistics of what was added.
    pub(crate) fn finish(&self) -> ColumnStatistics {
        ColumnStatistics { all: self.ordinary.plus(&self.special).finish(), ordinary: self.ordinary.finish() }
    }

    /// Number of words of [`Accumulator::words`] for rows of width `d`; none where no memory holds as many.
    pub(crate) fn n_words(d: usize) -> Option<usize> {
        d.checked_mul(2)?.checked_add(1 + 3 + BINS)?.checked_mul(2)
    }

    /// The exact state, as raw bits.
    pub(crate) fn words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        for sums in [&self.ordinary, &self.special] {
            words.push(sums.count);
            words.extend(sums.sum.iter().chain(&sums.square).map(|x| x.to_bits()));
            words.extend([sums.norm, sums.norm_square, sums.norm_max].map(f64::to_bits));
            words.extend(sums.norms.counts());
        }
        words
    }

    /// The state that [`Accumulator::words`] gave; none where the number of words is wrong.
    pub(crate) fn from_words(d: usize, words: &[u64]) -> Option<Self> {
        if Self::n_words(d) != Some(words.len()) {
            return None;
        }
        let mut words = words.iter().copied();
        let mut state = Accumulator::new(d);
        for sums in [&mut state.ordinary, &mut state.special] {
            sums.count = words.next()?;
            let Sums { sum, square, .. } = sums;
            sum.iter_mut().chain(square).zip(&mut words).for_each(|(x, word)| *x = f64::from_bits(word));
            for scalar in sums.scalars() {
                *scalar = f64::from_bits(words.next()?);
            }
            sums.norms = NormHistogram::from_counts(words.by_ref().take(BINS).collect())?;
        }
        Some(state)
    }
}

impl Statistics {
    /// The statistics of the union of disjoint sets of rows.
    pub(crate) fn pooled(parts: &[&Statistics]) -> Statistics {
        let d = parts.iter().map(|part| part.mean.len()).max().unwrap_or(0);
        let mut sums = Sums::new(d);
        for part in parts {
            let n = part.count as f64;
            let whole = |means: &[f64]| means.iter().map(|mean| mean * n).collect::<Vec<f64>>();
            sums = sums.plus(&Sums {
                count: part.count,
                sum: whole(&part.mean),
                square: whole(&part.second_moment),
                norm: part.norm_mean * n,
                norm_square: part.norm_second_moment * n,
                norm_max: part.norm_max,
                norms: part.norms.clone(),
            });
        }
        sums.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn add(sums: &mut Accumulator, rows: &[f32], flags: &[u8]) {
        sums.add(rows, flags, &squared_norms(rows, (rows.len() / flags.len().max(1)).max(1)));
    }

    #[test]
    fn hand_computed() {
        let mut sums = Accumulator::new(2);
        let rows = [3.0, 4.0, 0.0, 1.0, 30.0, 40.0];
        assert_eq!(squared_norms(&rows, 2), [25.0, 1.0, 2500.0]);
        add(&mut sums, &rows, &[0, 0, row_flags::BOS]);
        let ColumnStatistics { all, ordinary } = sums.finish();
        assert_eq!(ordinary.mean, [1.5, 2.5]);
        assert_eq!(ordinary.second_moment, [4.5, 8.5]);
        assert_eq!(
            (ordinary.count, ordinary.norm_mean, ordinary.norm_second_moment, ordinary.norm_max),
            (2, 3.0, 13.0, 5.0)
        );
        assert_eq!(all.mean, [11.0, 15.0]);
        assert_eq!((all.count, all.norm_mean, all.norm_max), (3, 56.0 / 3.0, 50.0));
        // Second moments 13 less squared means 2.25 and 6.25.
        assert_eq!(ordinary.covariance_trace(), 4.5);
        assert_eq!((ordinary.norms.total(), all.norms.total()), (2, 3));
    }

    #[test]
    fn pooling_shards_is_the_same_as_one_file() {
        let (mut left, mut right, mut whole) = (Accumulator::new(1), Accumulator::new(1), Accumulator::new(1));
        add(&mut left, &[1.0, 2.0], &[0, 0]);
        add(&mut right, &[6.0, 8.0], &[0, 0]);
        add(&mut whole, &[1.0, 2.0, 6.0, 8.0], &[0; 4]);
        let pooled = Statistics::pooled(&[&left.finish().all, &right.finish().all]);
        assert_eq!(pooled, whole.finish().all);
    }

    proptest! {
        #[test]
        fn cutting_and_saving_changes_no_bit(rows in prop::collection::vec(-1e3f32..1e3, 24), cut in 0usize..9) {
            let flags = [0u8, 1, 0, 2, 0, 0, 3, 0];
            let mut whole = Accumulator::new(3);
            add(&mut whole, &rows, &flags);
            let mut first = Accumulator::new(3);
            add(&mut first, &rows[..cut * 3], &flags[..cut]);
            let mut second = Accumulator::from_words(3, &first.words()).expect("as many words");
            add(&mut second, &rows[cut * 3..], &flags[cut..]);
            prop_assert_eq!(second.words(), whole.words());
        }
    }
}
