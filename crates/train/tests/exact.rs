//! The chosen set on dictionaries that were trained: that of f32 arithmetic in every row, whatever proposes.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use untangle_sae::Precision;
use untangle_sae::kernels::encode::{Chosen, EncoderWeights, Recomputation, Scratch, TILE_ROWS};
use untangle_sae::kernels::narrow::NarrowWeights;
use untangle_train::Optimiser;
use untangle_train::activity::Batch;
use untangle_train::arch::top_k::TopK;
use untangle_train::constraint::Held;
use untangle_train::init::initial;
use untangle_train::scale::DataScale;
use untangle_train::state::TrainState;
use untangle_train::step::{StepSettings, Workspace, step};

const D_IN: usize = 96;
const D_SAE: usize = 1024;
const K: usize = 12;
const BATCH: usize = 512;

/// Rows that are sums of a dozen of 700 directions, on which two dimensions weigh twenty times as much as the others and, in one
/// row of fifty, one dimension is far away, as at the first token of a text.
fn rows(n: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    let directions: Vec<f32> = (0..700 * D_IN).map(|_| generator.random_range(-1.0f32..1.0)).collect();
    let mut rows = vec![0.2f32; n * D_IN];
    for (at, row) in rows.chunks_exact_mut(D_IN).enumerate() {
        for _ in 0..K {
            let (feature, value) = (generator.random_range(0..700), generator.random_range(0.2f32..2.0));
            row.iter_mut().zip(&directions[feature * D_IN..]).for_each(|(x, d)| *x += value * d);
        }
        row[7] *= 20.0;
        row[40] *= -20.0;
        if at % 50 == 0 {
            row[3] += 500.0;
        }
    }
    rows
}

fn trained(rows: &[f32], scale: &DataScale) -> TrainState {
    let (architecture, held) = (TopK { k: K }.into(), Held::default());
    let settings = StepSettings {
        architecture: &architecture,
        held: &held,
        clip_norm: 1.0,
        aux_coefficient: 1.0,
        dead_after: 20_000,
    };
    let mut state = initial(D_IN, D_SAE, &architecture, Optimiser::Adam, 0, &scale.mean, Precision::Int8);
    state.narrow_encoder(&scale.spread);
    let mut workspace = Workspace::default();
    for _ in 0..15 {
        for batch in rows.chunks_exact(BATCH * D_IN) {
            step(&mut state, &Batch::of(batch, scale.factor), 5e-3, &settings, &mut workspace).expect("steps");
        }
    }
    state
}

fn choose(weights: &EncoderWeights<'_>, centred: &[f32]) -> (Vec<u32>, Vec<f32>, Recomputation) {
    let n = centred.len() / D_IN;
    let (mut indices, mut pre_acts, mut recomputation) = (vec![0; n * K], vec![0.0; n * K], Recomputation::default());
    let outputs = indices.chunks_mut(TILE_ROWS * K).zip(pre_acts.chunks_mut(TILE_ROWS * K));
    for (rows, (indices, pre_acts)) in centred.chunks(TILE_ROWS * D_IN).zip(outputs) {
        recomputation +=
            weights.choose(rows, K, &Scratch::default(), Chosen::of(indices, pre_acts)).expect("shapes fit");
    }
    (indices, pre_acts, recomputation)
}

#[test]
#[allow(clippy::print_stdout, reason = "how often a wider look was needed is worth reading")]
fn a_trained_dictionary_chooses_as_in_f32_whatever_proposes() {
    let rows = rows(16 * BATCH);
    let scale = DataScale::of(&rows, D_IN, true);
    let state = trained(&rows, &scale);
    let pairs = rows.iter().zip(state.b_dec.value.iter().cycle());
    let centred: Vec<f32> = pairs.map(|(x, b)| scale.factor * x - b).collect();
    let exact = EncoderWeights { narrow: None, ..state.encoder() };
    let (indices, pre_acts, _) = choose(&exact, &centred);
    for precision in [Precision::Bf16, Precision::Int8] {
        let mut narrow = NarrowWeights::zeros(precision, D_SAE, &scale.spread).expect("a narrow copy");
        narrow.copy_from(&state.w_enc.value, D_IN);
        let (found, values, recomputation) = choose(&EncoderWeights { narrow: Some(&narrow), ..exact }, &centred);
        println!("{}: {recomputation:?}", precision.name());
        let differing = found.chunks(K).zip(indices.chunks(K)).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{}: {recomputation:?}", precision.name());
        assert_eq!(values, pre_acts, "{}", precision.name());
        assert!(recomputation.exhausted * 50 <= recomputation.rows, "{}: {recomputation:?}", precision.name());
    }
    // The copy that the updates kept is the one that would be made of the weights now.
    assert_eq!(choose(&state.encoder(), &centred).0, indices);
}
