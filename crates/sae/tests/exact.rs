//! The fast encoder against its slow reference: the chosen set is that of f32 arithmetic, whatever the product ran in.

use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use untangle_sae::kernels::buffer::{Buffer, Element};
use untangle_sae::kernels::encode::{Chosen, EncoderWeights, Scratch, TILE_ROWS, all_pre_acts};

struct Random {
    w_enc: Buffer<f32>,
    w_enc_bf16: Buffer<bf16>,
    b_enc: Vec<f32>,
    rows: Vec<f32>,
    d_in: usize,
}

fn random(seed: u64, d_in: usize, d_sae: usize, n: usize) -> Random {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut values =
        |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|_| generator.random_range(-scale..scale)).collect() };
    let w_enc = Buffer::copy_of(&values(d_in * d_sae, 1.0));
    let narrow: Vec<bf16> = w_enc.iter().map(|&w| bf16::narrow(w)).collect();
    let (b_enc, rows) = (values(d_sae, 0.5), values(n * d_in, 1.0));
    Random { w_enc, w_enc_bf16: Buffer::copy_of(&narrow), b_enc, rows, d_in }
}

impl Random {
    fn weights(&self, bf16_product: bool) -> EncoderWeights<'_> {
        let w_enc_bf16 = bf16_product.then_some(&self.w_enc_bf16[..]);
        EncoderWeights { w_enc: &self.w_enc, w_enc_bf16, b_enc: &self.b_enc, d_in: self.d_in }
    }

    fn choose(&self, bf16_product: bool, k: usize, rows: &[f32], scratch: &Scratch) -> (Vec<u32>, Vec<f32>) {
        let n = rows.len() / self.d_in;
        let (mut indices, mut pre_acts) = (vec![0; n * k], vec![0.0; n * k]);
        let chosen = Chosen { indices: &mut indices, pre_acts: &mut pre_acts };
        self.weights(bf16_product).choose(rows, k, scratch, chosen).expect("shapes fit");
        (indices, pre_acts)
    }

    fn by_reference(&self, k: usize) -> (Vec<u32>, Vec<f32>) {
        let (d_sae, n) = (self.b_enc.len(), self.rows.len() / self.d_in);
        let mut pre_acts = vec![0.0; n * d_sae];
        all_pre_acts(&self.weights(false), &self.rows, &mut pre_acts);
        let mut result = (Vec::new(), Vec::new());
        for row in pre_acts.chunks_exact(d_sae) {
            let mut order: Vec<usize> = (0..d_sae).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            order.truncate(k);
            order.sort_unstable();
            result.0.extend(order.iter().map(|&i| i as u32));
            result.1.extend(order.iter().map(|&i| row[i]));
        }
        result
    }
}

#[test]
fn the_chosen_set_and_its_values_are_those_of_f32_in_either_precision() {
    // Widths that are no multiple of a vector, latents that are no multiple of a tile, k from one to all.
    for (d_in, d_sae, k, n) in [(64, 512, 16, 256), (33, 2500, 40, 100), (7, 20, 20, 5), (128, 4099, 1, 256)] {
        let random = random(d_in as u64, d_in, d_sae, n);
        let expected = random.by_reference(k);
        for bf16_product in [false, true] {
            let found = random.choose(bf16_product, k, &random.rows, &Scratch::default());
            assert!(found == expected, "bf16 {bf16_product}: d_in {d_in}, d_sae {d_sae}, k {k}");
        }
    }
}

/// 300 latents that are the first one plus something smaller than bf16 can tell from nothing.
fn nearly_equal(difference: f32) -> Random {
    let mut random = random(1, 16, 300, 9);
    let (first, own): (Vec<f32>, Vec<f32>) = (random.w_enc[..16].to_vec(), random.w_enc.to_vec());
    for (row, own) in random.w_enc.chunks_exact_mut(16).zip(own.chunks_exact(16)) {
        row.iter_mut().zip(&first).zip(own).for_each(|((w, first), own)| *w = first + difference * own);
    }
    random.w_enc_bf16 = Buffer::narrowed(&random.w_enc);
    random.b_enc.fill(0.25);
    random
}

#[test]
fn equal_latents_are_chosen_by_index() {
    let random = nearly_equal(0.0);
    let (indices, _) = random.choose(true, 4, &random.rows, &Scratch::default());
    assert!(indices.chunks_exact(4).all(|row| row == [0, 1, 2, 3]), "{indices:?}");
}

#[test]
fn while_there_is_doubt_more_candidates_are_looked_at_in_the_last_resort_all() {
    // The proposals are nearly all ties, so the right latents lie anywhere among the 300, seldom in the first k + 8.
    let random = nearly_equal(1e-4);
    assert!(random.choose(true, 4, &random.rows, &Scratch::default()) == random.by_reference(4));
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_nor_on_used_memory() {
    let random = random(9, 48, 3000, TILE_ROWS);
    let scratch = Scratch::default();
    let all = random.choose(true, 10, &random.rows, &scratch);
    let some = random.choose(true, 10, &random.rows[..48 * 3], &scratch);
    assert_eq!(some.0, all.0[..30]);
    assert_eq!(some.1, all.1[..30]);
}
