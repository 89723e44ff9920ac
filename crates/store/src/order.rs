//! In which order are things served? Seeded permutations whose values never change with a library's version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use untangle_schema::mix::{GOLDEN, mix};

/// What is permuted; each has random numbers of its own.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// The blocks of a file, or the contexts of a text, within an epoch.
    Blocks = 1,
    /// The rows of a window.
    Rows = 2,
}

/// The permutation of `0..n` that belongs to a seed, a purpose, an epoch and a window, written into `order`.
///
/// # Panics
/// Where `n` is 2^32 or more.
pub fn permute(order: &mut Vec<u32>, n: usize, seed: u64, purpose: Purpose, epoch: u64, window: u64) {
    let mut key = [0u8; 32];
    for (bytes, word) in key.as_chunks_mut::<8>().0.iter_mut().zip([seed, purpose as u64, epoch, window]) {
        *bytes = word.to_le_bytes();
    }
    let mut random = ChaCha8Rng::from_seed(key);
    order.clear();
    order.extend(0..u32::try_from(n).expect("windows and block lists are kept below 2^32 entries"));
    // Fisher and Yates, from the end. The multiplication's bias is below n / 2^64.
    for last in (1..n).rev() {
        let other = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
}

/// A well-mixed 64-bit hash of `value` under `seed`: [`mix`] of both, one after the other.
pub(crate) fn hash(seed: u64, value: u64) -> u64 {
    mix(mix(seed).wrapping_add(value.wrapping_mul(GOLDEN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_of_a_seed_never_changes() {
        let mut order = Vec::new();
        permute(&mut order, 8, 1, Purpose::Rows, 0, 0);
        assert_eq!(order, EXPECTED, "runs that were begun with an older version would not continue");
        assert_eq!(hash(0, 0), EXPECTED_HASH, "the held-out part of existing dictionaries would change");
    }

    const EXPECTED: [u32; 8] = [4, 5, 3, 0, 6, 7, 1, 2];
    const EXPECTED_HASH: u64 = 0xa706_dd2f_4d19_7e6f;

    proptest! {
        #[test]
        fn every_index_comes_once(n in 0usize..500, seed: u64, epoch in 0u64..3) {
            let mut order = Vec::new();
            permute(&mut order, n, seed, Purpose::Blocks, epoch, 7);
            order.sort_unstable();
            prop_assert_eq!(order, (0..n as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_place_is_reached_equally_often() {
        const ROUNDS: u64 = 6000;
        let mut counts = [[0u32; 6]; 6];
        let mut order = Vec::new();
        for epoch in 0..ROUNDS {
            permute(&mut order, 6, 3, Purpose::Rows, epoch, 0);
            order.iter().enumerate().for_each(|(place, item)| counts[*item as usize][place] += 1);
        }
        // 1000 expected, standard deviation 29: six of them.
        assert!(counts.as_flattened().iter().all(|count| count.abs_diff(1000) < 174), "{counts:?}");
    }
}
