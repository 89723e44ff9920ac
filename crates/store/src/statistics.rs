//! What are the mean, second moment and norms of a column?
//!
//! ```text
//! mean_j          = 1/n * sum_i x_ij
//! second_moment_j = 1/n * sum_i x_ij^2
//! norm            = mean, mean square and maximum over i of |x_i|, with |x_i|^2 = sum_j x_ij^2
//! ```
//!
//! All in f64, row after row, so the result does not depend on how rows were cut into batches.

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
}

/// Statistics of one column, over all rows and over those that are not special.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStatistics {
    /// Over all rows.
    pub all: Statistics,
    /// Over rows without a flag of [`row_flags::EXCLUDED`]: what training reads.
    pub ordinary: Statistics,
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
}

impl Sums {
    fn new(d: usize) -> Self {
        Sums { count: 0, sum: vec![0.0; d], square: vec![0.0; d], norm: 0.0, norm_square: 0.0, norm_max: 0.0 }
    }

    /// Adds rows in their order. Four at a time, so that sums are loaded and stored once for four additions; every sum
    /// still sees the rows one after the other.
    fn add(&mut self, rows: &[&[f32]]) {
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
        rows.iter().for_each(|row| self.add_norm(squared_norm(row)));
    }

    fn add_norm(&mut self, norm_square: f64) {
        let norm = norm_square.sqrt();
        self.count += 1;
        self.norm += norm;
        self.norm_square += norm_square;
        self.norm_max = self.norm_max.max(norm);
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
        }
    }

    fn scalars(&mut self) -> [&mut f64; 3] {
        [&mut self.norm, &mut self.norm_square, &mut self.norm_max]
    }
}

/// Fixed lanes: the order of addition, and with it the last bit, does not depend on the machine.
fn squared_norm(row: &[f32]) -> f64 {
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

    /// Adds rows `[n, d]` with their flags `[n]`.
    pub(crate) fn add(&mut self, rows: &[f32], flags: &[u8]) {
        let d = self.ordinary.sum.len();
        let rows = || rows.chunks_exact(d).zip(flags);
        let of = |special: bool| -> Vec<&[f32]> {
            rows().filter(|(_, flag)| (*flag & row_flags::EXCLUDED != 0) == special).map(|(row, _)| row).collect()
        };
        self.ordinary.add(&of(false));
        self.special.add(&of(true));
    }

    /// The statistics of what was added.
    pub(crate) fn finish(&self) -> ColumnStatistics {
        ColumnStatistics { all: self.ordinary.plus(&self.special).finish(), ordinary: self.ordinary.finish() }
    }

    /// Number of words of [`Accumulator::words`] for rows of width `d`.
    pub(crate) const fn n_words(d: usize) -> usize {
        2 * (1 + 2 * d + 3)
    }

    /// The exact state, as raw bits.
    pub(crate) fn words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        for sums in [&self.ordinary, &self.special] {
            words.push(sums.count);
            words.extend(sums.sum.iter().chain(&sums.square).map(|x| x.to_bits()));
            words.extend([sums.norm, sums.norm_square, sums.norm_max].map(f64::to_bits));
        }
        words
    }

    /// The state that [`Accumulator::words`] gave; none where the number of words is wrong.
    pub(crate) fn from_words(d: usize, words: &[u64]) -> Option<Self> {
        if words.len() != Self::n_words(d) {
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
            });
        }
        sums.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hand_computed() {
        let mut sums = Accumulator::new(2);
        sums.add(&[3.0, 4.0, 0.0, 1.0, 30.0, 40.0], &[0, 0, row_flags::BOS]);
        let ColumnStatistics { all, ordinary } = sums.finish();
        assert_eq!(ordinary.mean, [1.5, 2.5]);
        assert_eq!(ordinary.second_moment, [4.5, 8.5]);
        assert_eq!(
            (ordinary.count, ordinary.norm_mean, ordinary.norm_second_moment, ordinary.norm_max),
            (2, 3.0, 13.0, 5.0)
        );
        assert_eq!(all.mean, [11.0, 15.0]);
        assert_eq!((all.count, all.norm_mean, all.norm_max), (3, 56.0 / 3.0, 50.0));
    }

    #[test]
    fn pooling_shards_is_the_same_as_one_file() {
        let (mut left, mut right, mut whole) = (Accumulator::new(1), Accumulator::new(1), Accumulator::new(1));
        left.add(&[1.0, 2.0], &[0, 0]);
        right.add(&[6.0, 8.0], &[0, 0]);
        whole.add(&[1.0, 2.0, 6.0, 8.0], &[0; 4]);
        let pooled = Statistics::pooled(&[&left.finish().all, &right.finish().all]);
        assert_eq!(pooled, whole.finish().all);
    }

    proptest! {
        #[test]
        fn cutting_and_saving_changes_no_bit(rows in prop::collection::vec(-1e3f32..1e3, 24), cut in 0usize..9) {
            let flags = [0u8, 1, 0, 2, 0, 0, 3, 0];
            let mut whole = Accumulator::new(3);
            whole.add(&rows, &flags);
            let mut first = Accumulator::new(3);
            first.add(&rows[..cut * 3], &flags[..cut]);
            let mut second = Accumulator::from_words(3, &first.words()).expect("as many words");
            second.add(&rows[cut * 3..], &flags[cut..]);
            prop_assert_eq!(second.words(), whole.words());
        }
    }
}
