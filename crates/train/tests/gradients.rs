//! The hand-derived gradients against libtorch's autograd in f64, and the fused step against a dense Adam in f64.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};
use untangle_sae::Precision;
use untangle_sae::kernels::encode::Scratch;
use untangle_train::aux_k::aux_gradients;
use untangle_train::forward::{Activity, forward};
use untangle_train::gather::{Backward, Firings};
use untangle_train::init::initial;
use untangle_train::state::TrainState;
use untangle_train::step::{Gradients, StepSettings, Workspace, step};

const D_IN: usize = 24;
const D_SAE: usize = 60;
const K: usize = 5;
const ROWS: usize = 300;
const DEAD_AFTER: u64 = 1000;

fn random_rows(seed: u64, n: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..n * D_IN).map(|_| generator.random_range(-1.5f32..1.5)).collect()
}

/// A state with biases that matter, `n_dead` latents that have been silent for long, and unit decoder rows.
fn state(n_dead: usize) -> TrainState {
    state_in(Precision::F32, n_dead)
}

fn state_in(precision: Precision, n_dead: usize) -> TrainState {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let mut state = initial(D_IN, D_SAE, K, 3, &[0.1; D_IN], precision);
    for parameter in [&mut state.w_enc, &mut state.b_enc, &mut state.b_dec] {
        parameter.value.iter_mut().for_each(|w| *w += generator.random_range(-0.1f32..0.1));
    }
    state.narrow_encoder(&[1.0; D_IN]);
    state.tokens = 5000;
    for latent in 0..D_SAE {
        state.fired_at[latent] = if latent % (D_SAE / n_dead.max(1)) == 0 && n_dead > 0 { 10 } else { 4999 };
    }
    state
}

/// Gradients of W_enc, b_enc, W_dec and b_dec, dense, in f64.
struct Dense([Vec<f64>; 4]);

fn by_hand(state: &TrainState, rows: &[f32], coefficient: f32) -> (Dense, f64) {
    let (mut activity, mut firings) = (Activity::default(), Firings::default());
    forward(state, rows, 1.0, &Scratch::default(), &mut activity).expect("forward");
    firings.rebuild(D_SAE, &activity.chosen, &activity.acts);
    let aux = aux_gradients(state, &activity, state.dead(DEAD_AFTER), coefficient).expect("aux");
    let gradients = Gradients {
        backward: Backward {
            firings: &firings,
            acts: &activity.acts,
            d_acts: &activity.d_acts,
            centred: &activity.centred,
            d_out: &activity.d_out,
            k: K,
        },
        aux: aux.as_ref(),
    };
    let (mut d_b, mut d_b_dec) = (Vec::new(), Vec::new());
    gradients.biases(state, &mut d_b, &mut d_b_dec);
    let (mut w_enc, mut w_dec) = (Vec::new(), Vec::new());
    let (mut d_w, mut d_d) = (vec![0.0; D_IN], vec![0.0; D_IN]);
    for latent in 0..D_SAE {
        gradients.of(latent, &state.w_dec.value[latent * D_IN..(latent + 1) * D_IN], &mut d_w, &mut d_d);
        w_enc.extend(d_w.iter().map(|&g| f64::from(g)));
        w_dec.extend(d_d.iter().map(|&g| f64::from(g)));
    }
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    (Dense([w_enc, wide(d_b), w_dec, wide(d_b_dec)]), activity.loss + aux.map_or(0.0, |aux| aux.loss))
}

fn tensor(values: &[f32], shape: &[i64]) -> Tensor {
    Tensor::from_slice(values).to_kind(Kind::Double).reshape(shape).set_requires_grad(true)
}

/// The loss of design and papers, written with dense tensors; its gradients by autograd.
fn by_autograd(state: &TrainState, rows: &[f32], coefficient: f64) -> (Dense, f64) {
    let (d, f) = (D_IN as i64, D_SAE as i64);
    let x = Tensor::from_slice(rows).to_kind(Kind::Double).reshape([-1, d]);
    let w_enc = tensor(&state.w_enc.value, &[f, d]);
    let b_enc = tensor(&state.b_enc.value, &[f]);
    let w_dec = tensor(&state.w_dec.value, &[f, d]);
    let b_dec = tensor(&state.b_dec.value, &[d]);
    let pre = (&x - &b_dec).matmul(&w_enc.tr()) + &b_enc;
    let top_k = |values: &Tensor, k: usize| {
        let (kept, at) = values.topk(k as i64, 1, true, false);
        values.zeros_like().scatter(1, &at, &kept)
    };
    let x_hat = top_k(&pre, K).relu().matmul(&w_dec) + &b_dec;
    let error = &x_hat - &x;
    let mut loss = error.square().sum(Kind::Double) / x.size()[0];
    let dead = state.dead(DEAD_AFTER);
    if !dead.is_empty() {
        let at = Tensor::from_slice(&dead.iter().map(|&i| i64::from(i)).collect::<Vec<_>>());
        let half = D_IN / 2;
        let p = top_k(&pre.index_select(1, &at), half.min(dead.len()));
        let aux_error = (&x - &x_hat).detach() - p.matmul(&w_dec.index_select(0, &at));
        let scale = coefficient * (dead.len() as f64 / half as f64).min(1.0);
        loss += aux_error.square().sum(Kind::Double) * (scale / x.size()[0] as f64);
    }
    loss.backward();
    // The decoder's rows live on the unit sphere: the part along the row is left out.
    let g = w_dec.grad();
    let along = (&g * w_dec.detach()).sum_dim_intlist(1, true, Kind::Double);
    let w_dec_grad = g - along * w_dec.detach();
    let dense = |t: &Tensor| Vec::<f64>::try_from(t.reshape([-1])).expect("f64");
    (
        Dense([dense(&w_enc.grad()), dense(&b_enc.grad()), dense(&w_dec_grad), dense(&b_dec.grad())]),
        loss.double_value(&[]),
    )
}

fn largest_relative_errors(found: &Dense, expected: &Dense) -> [f64; 4] {
    let mut errors = [0.0; 4];
    for (error, (found, expected)) in errors.iter_mut().zip(found.0.iter().zip(&expected.0)) {
        let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
        let difference = found.iter().zip(expected).fold(0f64, |a, (f, e)| a.max((f - e).abs()));
        *error = difference / largest;
    }
    errors
}

#[test]
fn gradients_of_every_loss_term_agree_with_autograd_in_f64() {
    // No dead latents; fewer than d_in / 2 (all are chosen, the loss is scaled down); more (12 of 20 are chosen).
    for n_dead in [0, 4, 20] {
        let (state, rows) = (state(n_dead), random_rows(1, ROWS));
        assert_eq!(state.dead(DEAD_AFTER).len(), n_dead);
        let (found, loss) = by_hand(&state, &rows, 0.7);
        let (expected, expected_loss) = by_autograd(&state, &rows, 0.7);
        assert!((loss - expected_loss).abs() < 1e-6 * expected_loss, "loss {loss} against {expected_loss}");
        let errors = largest_relative_errors(&found, &expected);
        assert!(errors.iter().all(|&e| e < 2e-6), "{n_dead} dead: W_enc, b_enc, W_dec, b_dec: {errors:?}");
    }
}

/// |found - expected| over |expected|, of each parameter.
fn relative_distances(found: &Dense, expected: &Dense) -> [f64; 4] {
    std::array::from_fn(|at| {
        let pairs = found.0[at].iter().zip(&expected.0[at]);
        let (distance, length) = pairs.fold((0f64, 0f64), |(d, l), (f, e)| (d + (f - e) * (f - e), l + e * e));
        (distance / length).sqrt()
    })
}

#[test]
fn aux_k_in_bytes_is_within_four_hundredths_of_the_exact_gradient() {
    for n_dead in [4, 20] {
        let rows = random_rows(1, ROWS);
        // A large coefficient, so that the auxiliary part is not lost in the main one.
        let (found, loss) = by_hand(&state_in(Precision::Int8, n_dead), &rows, 30.0);
        let (expected, expected_loss) = by_autograd(&state(n_dead), &rows, 30.0);
        assert!((loss - expected_loss).abs() < 0.005 * expected_loss, "loss {loss} against {expected_loss}");
        let distances = relative_distances(&found, &expected);
        assert!(distances.iter().all(|&d| d < 0.04), "{n_dead} dead: W_enc, b_enc, W_dec, b_dec: {distances:?}");
        assert!(distances[0] > 1e-6, "bytes took no part");
    }
}

#[test]
fn fused_steps_follow_a_dense_adam_in_f64() {
    let settings = StepSettings { factor: 1.0, clip_norm: 1.0, aux_coefficient: 1.0, dead_after: DEAD_AFTER };
    let mut state = state(4);
    let mut moments: Option<[[Vec<f64>; 2]; 4]> = None;
    let mut workspace = Workspace::default();
    for t in 1..=8u64 {
        let rows = random_rows(t, ROWS);
        let (mut gradient, _) = by_autograd(&state, &rows, 1.0);
        let norm = gradient.0.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm > 1.0, "clipping takes part in this test");
        gradient.0.iter_mut().flatten().for_each(|g| *g /= norm);
        let before = state.parameters().map(|(_, p)| p.value.iter().map(|&w| f64::from(w)).collect::<Vec<_>>());
        let report = step(&mut state, &rows, 0.01, &settings, &mut workspace).expect("step");
        assert!((report.grad_norm - norm).abs() < 1e-5 * norm);
        let moments = moments.get_or_insert_with(|| before.clone().map(|p| [vec![0.0; p.len()], vec![0.0; p.len()]]));
        for (at, (name, parameter)) in state.parameters().into_iter().enumerate() {
            let expected = dense_adam(t, 0.01, &before[at], &gradient.0[at], &mut moments[at]);
            let expected = if name == "W_dec" { unit_rows(expected) } else { expected };
            for (found, expected) in parameter.value.iter().zip(&expected) {
                assert!((f64::from(*found) - expected).abs() < 2e-5, "step {t}, {name}: {found} against {expected}");
            }
        }
    }
}

fn dense_adam(t: u64, lr: f64, p: &[f64], g: &[f64], [m, v]: &mut [Vec<f64>; 2]) -> Vec<f64> {
    let correct = |beta: f64| 1.0 - beta.powi(t as i32);
    (0..p.len())
        .map(|i| {
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
            p[i] - lr * (m[i] / correct(0.9)) / ((v[i] / correct(0.999)).sqrt() + 1e-8)
        })
        .collect()
}

fn unit_rows(mut w: Vec<f64>) -> Vec<f64> {
    for row in w.chunks_exact_mut(D_IN) {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    w
}

#[test]
fn a_step_depends_neither_on_the_number_of_threads_nor_on_what_proposes() {
    let run = |threads: usize, precision: Precision, n_dead: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let settings = StepSettings { factor: 0.8, clip_norm: 1.0, aux_coefficient: 1.0, dead_after: DEAD_AFTER };
            let (mut state, mut workspace) = (state_in(precision, n_dead), Workspace::default());
            for t in 0..5 {
                step(&mut state, &random_rows(t, 1000), 0.01, &settings, &mut workspace).expect("step");
            }
            state.parameters().map(|(_, p)| p.value.iter().map(|w| w.to_bits()).collect::<Vec<_>>())
        })
    };
    for precision in Precision::ALL {
        let expected = run(1, precision, 20);
        for threads in [2, 3] {
            assert!(run(threads, precision, 20) == expected, "{}, {threads} threads", precision.name());
        }
        // What proposes is kept in step with what decides: the same latents, so the same weights to the bit.
        assert!(run(2, precision, 0) == run(1, Precision::F32, 0), "{} against f32", precision.name());
    }
}
