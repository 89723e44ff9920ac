//! The largest entries of a row, found in one sweep without a sort.

use super::buffer::Element;
use super::vector::dispatch;

/// A latent and the value that it is ranked by, packed so that ranking is one comparison of integers: larger values come
/// first, among equal values the lower index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate(u64);

impl Candidate {
    /// The candidate `index` with `value`.
    #[inline(always)]
    pub fn new(value: f32, index: u32) -> Self {
        // Flipping a negative number's bits, and a positive one's sign, makes unsigned order the order of values
        // (IEEE 754 total order); the complement turns it around.
        let bits = value.to_bits();
        let ascending = bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000);
        Candidate(u64::from(!ascending) << 32 | u64::from(index))
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> f32 {
        let ascending = !((self.0 >> 32) as u32);
        let flipped = if ascending >> 31 == 1 { 0x8000_0000 } else { u32::MAX };
        f32::from_bits(ascending ^ flipped)
    }

    /// The index.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0 as u32
    }
}

/// The `k`-th largest of `values` (`1 <= k <= len`) in IEEE 754's total order, by halving the range in which it lies. It
/// reads all values some thirty times, in vector comparisons without a branch, which for hundreds to thousands of values is
/// several times faster than a partial sort. `keys` is memory to reuse.
#[inline(always)]
pub fn kth_largest<T: Element>(values: &[T], k: usize, keys: &mut Vec<i32>) -> f32 {
    keys.resize(values.len(), 0);
    for (key, value) in keys.iter_mut().zip(values) {
        *key = ascending(value.widen().to_bits() as i32);
    }
    // At most k - 1 keys exceed `high`, and at least k do not lie below `low`.
    let (mut low, mut high) = (i32::MIN, i32::MAX);
    while low < high {
        let middle = ((i64::from(low) + i64::from(high)) >> 1) as i32;
        let mut above = 0u32;
        for &key in keys.iter() {
            above += u32::from(key > middle);
        }
        if (above as usize) < k { high = middle } else { low = middle + 1 }
    }
    f32::from_bits(ascending(low) as u32)
}

/// A float's bits as an integer that is ordered as the float is; its own inverse.
#[inline(always)]
fn ascending(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// Drops all but the `keep` first in rank, in no particular order.
#[inline(always)]
pub fn keep_best(candidates: &mut Vec<Candidate>, keep: usize) {
    if candidates.len() > keep {
        candidates.select_nth_unstable(keep - 1);
        candidates.truncate(keep);
    }
}

/// Keeps the `keep` best of all entries that it is shown.
///
/// Candidates gather in a list. When it has grown to twice `keep`, all but the best are dropped, and from then on only what
/// beats the worst of those is looked at: a vector comparison per entry in nearly all cases. The first offer sets its own bar:
/// the `keep`-th largest of the maxima of disjoint sets is no larger than the `keep`-th largest entry, and with twice `keep`
/// sets not much smaller.
#[derive(Clone, Debug)]
pub struct Running {
    keep: usize,
    floor: f32,
    found: Vec<Candidate>,
    maxima: Vec<f32>,
}

impl Running {
    /// A selection of the `keep` best.
    pub fn new(keep: usize) -> Self {
        Running { keep, floor: f32::NEG_INFINITY, found: Vec::with_capacity(4 * keep), maxima: Vec::new() }
    }

    /// How many it keeps.
    pub fn keeps(&self) -> usize {
        self.keep
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.floor = f32::NEG_INFINITY;
        self.found.clear();
    }

    /// Shows the entries `values[i] + bias[i]` of indices `first + i`; calls come in ascending order of `first`.
    pub fn offer<T: Element>(&mut self, values: &[T], bias: &[f32], first: usize) {
        if self.floor == f32::NEG_INFINITY && self.found.is_empty() {
            self.set_bar(values, bias);
        }
        dispatch(
            #[inline(always)]
            || sweep(self, values, bias, first),
        );
        if self.found.len() > 2 * self.keep {
            self.prune();
        }
    }

    fn set_bar<T: Element>(&mut self, values: &[T], bias: &[f32]) {
        let blocks_per_set = (values.len() / (2 * self.keep)).max(1);
        let sets = values.len() / BLOCK / blocks_per_set * BLOCK;
        if sets < self.keep {
            return;
        }
        self.maxima.clear();
        self.maxima.resize(sets, f32::NEG_INFINITY);
        dispatch(
            #[inline(always)]
            || lane_maxima(values, bias, blocks_per_set, &mut self.maxima),
        );
        let (_, &mut bar, _) = self.maxima.select_nth_unstable_by(self.keep - 1, |a, b| b.total_cmp(a));
        // Entries that equal the bar still have to be looked at.
        self.floor = bar.next_down();
    }

    /// The best entries, best first.
    pub fn finish(&mut self) -> &[Candidate] {
        keep_best(&mut self.found, self.keep);
        self.found.sort_unstable();
        &self.found
    }

    fn prune(&mut self) {
        keep_best(&mut self.found, self.keep);
        self.floor = self.found.iter().map(|c| c.value()).fold(f32::INFINITY, f32::min);
    }
}

/// Entries that one vector comparison decides on together.
pub(super) const BLOCK: usize = 16;

/// `values + bias` of a whole block; lengths known at compile time are what makes this vector code.
#[inline(always)]
pub(super) fn sums_of<T: Element>(values: &[T; BLOCK], bias: &[f32; BLOCK]) -> [f32; BLOCK] {
    std::array::from_fn(|lane| values[lane].widen() + bias[lane])
}

/// Largest entry of every set: the same lane of so many blocks that follow each other.
#[inline(always)]
fn lane_maxima<T: Element>(values: &[T], bias: &[f32], blocks_per_set: usize, maxima: &mut [f32]) {
    let (values, bias) = (values.as_chunks().0, bias.as_chunks().0);
    let sets = values.chunks_exact(blocks_per_set).zip(bias.chunks_exact(blocks_per_set));
    for (maxima, (values, bias)) in maxima.as_chunks_mut::<BLOCK>().0.iter_mut().zip(sets) {
        for (values, bias) in values.iter().zip(bias) {
            let sums = sums_of(values, bias);
            for lane in 0..BLOCK {
                maxima[lane] = if sums[lane] > maxima[lane] { sums[lane] } else { maxima[lane] };
            }
        }
    }
}

#[inline(always)]
fn sweep<T: Element>(selection: &mut Running, values: &[T], bias: &[f32], first: usize) {
    let floor = selection.floor;
    let ((value_blocks, value_rest), (bias_blocks, bias_rest)) = (values.as_chunks(), bias.as_chunks());
    for (block, (values, bias)) in value_blocks.iter().zip(bias_blocks).enumerate() {
        let sums = sums_of(values, bias);
        if !sums.iter().fold(false, |any, &sum| any | (sum > floor)) {
            continue;
        }
        let mut above = 0u32;
        for (lane, &sum) in sums.iter().enumerate() {
            above |= u32::from(sum > floor) << lane;
        }
        while above != 0 {
            let lane = above.trailing_zeros() as usize;
            above &= above - 1;
            selection.found.push(Candidate::new(sums[lane], (first + block * BLOCK + lane) as u32));
        }
    }
    let first = first + value_blocks.len() * BLOCK;
    for ((index, value), bias) in (first as u32..).zip(value_rest).zip(bias_rest) {
        let sum = value.widen() + bias;
        if sum > floor {
            selection.found.push(Candidate::new(sum, index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use proptest::prelude::*;

    fn by_sorting(values: &[f32], keep: usize) -> Vec<Candidate> {
        let mut all: Vec<_> = (0u32..).zip(values).map(|(i, &value)| Candidate::new(value, i)).collect();
        all.sort_by(|a, b| b.value().total_cmp(&a.value()).then(a.index().cmp(&b.index())));
        all.truncate(keep);
        all
    }

    #[test]
    fn packing_keeps_value_and_index() {
        for value in [0.0, -0.0, 1.5, -1.5, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, -3e38] {
            let candidate = Candidate::new(value, 77);
            assert_eq!((candidate.value().to_bits(), candidate.index()), (value.to_bits(), 77));
        }
    }

    proptest! {
        #[test]
        fn the_kth_largest_is_that_of_sorting(mut values in proptest::collection::vec(-1e3f32..1e3, 1..200), k in 1usize..200) {
            values.extend([0.0, -0.0, 1.0, 1.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NEG_INFINITY]);
            let k = k.min(values.len());
            let expected = by_sorting(&values, k)[k - 1].value();
            prop_assert_eq!(kth_largest(&values, k, &mut Vec::new()).to_bits(), expected.to_bits());
        }

        #[test]
        fn the_sweep_finds_what_sorting_finds(
            values in proptest::collection::vec(-20i8..20, 1..700), keep in 1usize..50, cut in 0usize..700,
        ) {
            // Few distinct values, so that ties are common.
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let bias: Vec<f32> = (0..values.len()).map(|i| (i % 3) as f32).collect();
            let sums: Vec<f32> = values.iter().zip(&bias).map(|(v, b)| v + b).collect();
            let cut = cut.min(values.len());
            let mut running = Running::new(keep);
            for _ in 0..2 {
                running.clear();
                running.offer(&values[..cut], &bias[..cut], 0);
                running.offer(&values[cut..], &bias[cut..], cut);
                prop_assert_eq!(running.finish(), &by_sorting(&sums, keep)[..]);
            }
            let narrow: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
            running.clear();
            running.offer(&narrow, &bias, 0);
            prop_assert_eq!(running.finish(), &by_sorting(&sums, keep)[..]);
        }
    }
}
