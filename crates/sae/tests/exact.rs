//! The fast encoder against its slow reference: the chosen set is that of f32 arithmetic, whatever the product ran in.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use untangle_sae::Precision;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::encode::{
    Chosen, EncoderWeights, Proposals, Recomputation, Scratch, TILE_ROWS, all_pre_acts,
};
use untangle_sae::kernels::narrow::NarrowWeights;

struct Random {
    w_enc: Buffer<f32>,
    b_enc: Vec<f32>,
    rows: Vec<f32>,
    spread: Vec<f32>,
}

fn random(seed: u64, d_in: usize, d_sae: usize, n: usize) -> Random {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut values =
        |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|_| generator.random_range(-scale..scale)).collect() };
    let w_enc = Buffer::copy_of(&values(d_in * d_sae, 1.0));
    let (b_enc, rows) = (values(d_sae, 0.5), values(n * d_in, 1.0));
    Random { w_enc, b_enc, rows, spread: vec![1.0; d_in] }
}

/// Chosen indices and values of all rows.
type Found = (Vec<u32>, Vec<f32>);

impl Random {
    fn d_in(&self) -> usize {
        self.spread.len()
    }

    fn narrow(&self, precision: Precision) -> Option<NarrowWeights> {
        let mut narrow = NarrowWeights::zeros(precision, self.b_enc.len(), &self.spread)?;
        narrow.copy_from(&self.w_enc, self.d_in());
        Some(narrow)
    }

    fn weights<'a>(&'a self, narrow: Option<&'a NarrowWeights>) -> EncoderWeights<'a> {
        EncoderWeights { w_enc: &self.w_enc, narrow, b_enc: &self.b_enc, d_in: self.d_in() }
    }

    fn look(&self, precision: Precision, k: usize, rows: &[f32], scratch: &Scratch) -> (Found, Recomputation) {
        let (narrow, d) = (self.narrow(precision), self.d_in());
        let n = rows.len() / d;
        let (mut indices, mut pre_acts) = (vec![0; n * k], vec![0.0; n * k]);
        let mut recomputation = Recomputation::default();
        let outputs = indices.chunks_mut(TILE_ROWS * k).zip(pre_acts.chunks_mut(TILE_ROWS * k));
        for (rows, (indices, pre_acts)) in rows.chunks(TILE_ROWS * d).zip(outputs) {
            let chosen = Chosen::of(indices, pre_acts);
            recomputation += self.weights(narrow.as_ref()).choose(rows, k, scratch, chosen).expect("shapes fit");
        }
        ((indices, pre_acts), recomputation)
    }

    fn choose(&self, precision: Precision, k: usize, rows: &[f32], scratch: &Scratch) -> Found {
        self.look(precision, k, rows, scratch).0
    }

    fn by_reference(&self, k: usize) -> Found {
        let (d_sae, n) = (self.b_enc.len(), self.rows.len() / self.d_in());
        let mut pre_acts = vec![0.0; n * d_sae];
        all_pre_acts(&self.weights(None), &self.rows, &mut pre_acts);
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
fn the_chosen_set_and_its_values_are_those_of_f32_in_every_precision() {
    // Widths that are no multiple of a vector, latents that are no multiple of a tile, k from one to all.
    for (d_in, d_sae, k, n) in [(64, 512, 16, 256), (33, 2500, 40, 100), (7, 20, 20, 5), (128, 4099, 1, 256)] {
        let random = random(d_in as u64, d_in, d_sae, n);
        let expected = random.by_reference(k);
        for precision in Precision::ALL {
            let found = random.choose(precision, k, &random.rows, &Scratch::default());
            assert!(found == expected, "{}: d_in {d_in}, d_sae {d_sae}, k {k}", precision.name());
        }
    }
}

/// Rows as language models have them: two dimensions a hundred times as wide as the others, and of every hundred rows one in
/// which two other dimensions are a thousand times as large, as at a first token.
fn massive(seed: u64, d_in: usize, d_sae: usize, n: usize) -> Random {
    let mut random = random(seed, d_in, d_sae, n);
    for (row, x) in random.rows.chunks_exact_mut(d_in).enumerate() {
        x[1] *= 100.0;
        x[d_in - 2] *= 100.0;
        if row % 100 == 50 {
            (x[2], x[d_in / 2]) = (1000.0, -400.0);
        }
    }
    random.spread.fill(0.0);
    for x in random.rows.chunks_exact(d_in) {
        random.spread.iter_mut().zip(x).for_each(|(sum, x)| *sum += x.abs() / n as f32);
    }
    random
}

#[test]
#[allow(clippy::print_stdout, reason = "how often a wider look was needed is worth reading")]
fn outlying_dimensions_and_rows_do_not_change_the_set_and_seldom_need_a_wider_look() {
    for k in [8, 32] {
        let random = massive(3, 256, 4096, 400);
        let expected = random.by_reference(k);
        for precision in [Precision::Bf16, Precision::Int8] {
            let (found, recomputation) = random.look(precision, k, &random.rows, &Scratch::default());
            println!("{}, k {k}, outlying dimensions: {recomputation:?}", precision.name());
            assert!(found == expected, "{}, k {k}: {recomputation:?}", precision.name());
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
    random.b_enc.fill(0.25);
    random
}

#[test]
fn proposals_are_left_for_the_latents_that_are_asked_for() {
    // More latents than are multiplied at once, and some at the edges of what is.
    let random = random(5, 64, 1300, 100);
    let (narrow, latents) = (random.narrow(Precision::Int8), [0, 7, 511, 512, 513, 1299]);
    let mut exact = vec![0.0; 100 * 1300];
    all_pre_acts(&random.weights(None), &random.rows, &mut exact);
    let (mut indices, mut pre_acts, mut proposals) =
        (vec![0; 400], vec![0.0; 400], vec![f32::NAN; 100 * latents.len()]);
    let wanted = Proposals { latents: &latents, pre_acts: &mut proposals };
    let chosen = Chosen { indices: &mut indices, pre_acts: &mut pre_acts, proposals: wanted };
    random.weights(narrow.as_ref()).choose(&random.rows, 4, &Scratch::default(), chosen).expect("shapes fit");
    for (row, exact) in proposals.chunks_exact(latents.len()).zip(exact.chunks_exact(1300)) {
        for (&proposal, latent) in row.iter().zip(latents) {
            let expected = exact[latent as usize] - random.b_enc[latent as usize];
            // 64 products of values up to one, each rounded to 127 steps: a standard deviation of 0.02.
            assert!((proposal - expected).abs() < 0.15, "latent {latent}: {proposal} for {expected}");
        }
    }
    assert_eq!(indices, random.choose(Precision::Int8, 4, &random.rows, &Scratch::default()).0);
}

#[test]
fn equal_latents_are_chosen_by_index() {
    let random = nearly_equal(0.0);
    for precision in Precision::ALL {
        let (indices, _) = random.choose(precision, 4, &random.rows, &Scratch::default());
        assert!(indices.chunks_exact(4).all(|row| row == [0, 1, 2, 3]), "{}: {indices:?}", precision.name());
    }
}

#[test]
fn while_there_is_doubt_more_candidates_are_looked_at_in_the_last_resort_all() {
    // The proposals are nearly all ties, so the right latents lie anywhere among the 300, seldom in the first k + 8.
    let random = nearly_equal(1e-4);
    let expected = random.by_reference(4);
    for precision in [Precision::Bf16, Precision::Int8] {
        let (found, recomputation) = random.look(precision, 4, &random.rows, &Scratch::default());
        assert!(found == expected, "{}", precision.name());
        assert_eq!((recomputation.widened, recomputation.exhausted), (9, 9), "{}: {recomputation:?}", precision.name());
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_nor_on_used_memory() {
    let random = random(9, 48, 3000, TILE_ROWS);
    for precision in Precision::ALL {
        let scratch = Scratch::default();
        let all = random.choose(precision, 10, &random.rows, &scratch);
        let some = random.choose(precision, 10, &random.rows[..48 * 3], &scratch);
        assert_eq!(some.0, all.0[..30]);
        assert_eq!(some.1, all.1[..30]);
    }
}
