//! The hand-derived gradients against libtorch's autograd in f64, and the fused step against a dense Adam in f64.

mod reference;
mod whole;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reference::by_autograd;
use std::sync::LazyLock;
use untangle_sae::Precision;
use untangle_train::activity::{Activity, Batch, Scaled, Scratches};
use untangle_train::arch::abs_top_k::AbsTopK;
use untangle_train::arch::batch_top_k::BatchTopK;
use untangle_train::arch::crosscoder::{Crosscoder, CrosscoderL1};
use untangle_train::arch::gated::Gated;
use untangle_train::arch::jump_relu::JumpRelu;
use untangle_train::arch::matryoshka::Matryoshka;
use untangle_train::arch::p_anneal::PAnneal;
use untangle_train::arch::relu::Relu;
use untangle_train::arch::top_k::TopK;
use untangle_train::arch::transcoder::{SkipTranscoder, Transcoder};
use untangle_train::aux_k::aux_gradients;
use untangle_train::constraint::Held;
use untangle_train::dense::dense_gradients;
use untangle_train::forward::forward;
use untangle_train::gather::Firings;
use untangle_train::gradients::{Gradients, OfLatent, OtherGradients};
use untangle_train::init::initial;
use untangle_train::state::{Parameter, TrainState};
use untangle_train::step::{StepSettings, Workspace, step};
use untangle_train::{Architecture, Optimiser, Penalty, Prefixes, Sparsity};

const D_IN: usize = 24;
/// Width of what transcoders predict.
const D_OUT: usize = 17;
const D_SAE: usize = 60;
const K: usize = 5;
const ROWS: usize = 300;
const DEAD_AFTER: u64 = 1000;

fn random_rows(seed: u64, n: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..n * D_IN).map(|_| generator.random_range(-1.5f32..1.5)).collect()
}

/// Every architecture, by name.
fn architectures() -> Vec<Architecture> {
    let l0 = K as f64;
    vec![
        TopK { k: K }.into(),
        AbsTopK { k: K }.into(),
        BatchTopK { k: K, l0 }.into(),
        matryoshka(),
        Matryoshka { k: K, l0, prefixes: Prefixes::Random(6) }.into(),
        jump_relu(Penalty::Step),
        jump_relu(Penalty::Quadratic { target: 4.0 }),
        jump_relu(Penalty::Tanh),
        Relu { sparsity: SPARSITY }.into(),
        Gated { sparsity: SPARSITY }.into(),
        PAnneal { sparsity: SPARSITY, begin: 0, steps: 100, end: 0.2 }.into(),
        Transcoder { k: K, l0 }.into(),
        SkipTranscoder { k: K, l0 }.into(),
        Crosscoder { k: K, l0, parts: 3 }.into(),
        CrosscoderL1 { sparsity: SPARSITY, parts: 3 }.into(),
    ]
}

fn matryoshka() -> Architecture {
    Matryoshka { k: K, l0: K as f64, prefixes: Prefixes::Fixed(vec![7, 20, 33, D_SAE]) }.into()
}

const SPARSITY: Sparsity = Sparsity { coefficient: 0.3, l0: None, warm_up: 0, steps: 100 };
const BANDWIDTH: f64 = 0.5;

fn jump_relu(penalty: Penalty) -> Architecture {
    JumpRelu { penalty, sparsity: SPARSITY, bandwidth: BANDWIDTH, threshold: 0.4 }.into()
}

/// Nothing is held but the length of decoder rows.
static HELD: LazyLock<Held> = LazyLock::new(Held::default);

fn settings(architecture: &Architecture, clip_norm: f32, aux_coefficient: f32) -> StepSettings<'_> {
    StepSettings { architecture, held: &HELD, clip_norm, aux_coefficient, dead_after: DEAD_AFTER }
}

/// A batch of `n` rows, with the factors of its rows.
struct Rows {
    /// The parts of what is read, with their factors; one but of crosscoders.
    inputs: Vec<(Vec<f32>, f32)>,
    target: Option<Vec<f32>>,
    factor: f32,
}

impl Rows {
    fn of(architecture: &Architecture, seed: u64, n: usize, factor: f32) -> Self {
        let input = random_rows(seed, n);
        // A function of the input, more or less, so that a skip connection has something to learn.
        let row = |x: &[f32]| (0..D_OUT).map(|at| x[at] * x[at + 1] + 0.5 * x[at + 2] + 0.1).collect::<Vec<_>>();
        let target = || input.chunks_exact(D_IN).flat_map(row).collect();
        let (parts, width) = (architecture.parts(), D_IN / architecture.parts());
        let part = |part: usize| {
            let rows = input.chunks_exact(D_IN).flat_map(|row| &row[part * width..(part + 1) * width]);
            (rows.copied().collect(), factor * (1.0 + 0.25 * part as f32))
        };
        Rows { target: architecture.is_transcoder().then(target), inputs: (0..parts).map(part).collect(), factor }
    }

    fn batch(&self) -> Batch<'_> {
        let target = self.target.as_deref().map(|rows| Scaled { rows, factor: 1.25 * self.factor });
        Batch { inputs: self.inputs.iter().map(|(rows, factor)| Scaled { rows, factor: *factor }).collect(), target }
    }
}

/// A state with biases that matter, `n_dead` latents that have been silent for long, and unit decoder rows.
fn state(architecture: &Architecture, n_dead: usize) -> TrainState {
    state_in(Precision::F32, architecture, n_dead)
}

fn state_in(precision: Precision, architecture: &Architecture, n_dead: usize) -> TrainState {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let centre = vec![0.1; if architecture.is_transcoder() { D_OUT } else { D_IN }];
    let mut state = initial(D_IN, D_SAE, architecture, Optimiser::Adam, 3, &centre, precision);
    for parameter in [&mut state.w_enc, &mut state.b_enc, &mut state.b_dec] {
        parameter.value.iter_mut().for_each(|w| *w += generator.random_range(-0.1f32..0.1));
    }
    state.input_centre.iter_mut().flatten().for_each(|c| *c = generator.random_range(-0.2f32..0.2));
    for parameter in state.extras.iter_mut().chain(&mut state.w_skip) {
        parameter.value.iter_mut().for_each(|w| *w += generator.random_range(-0.3f32..0.3));
    }
    state.narrow_encoder(&[1.0; D_IN]);
    state.carried.exponent = 0.6;
    state.tokens = 5000;
    for latent in 0..D_SAE {
        state.fired_at[latent] = if latent % (D_SAE / n_dead.max(1)) == 0 && n_dead > 0 { 10 } else { 4999 };
    }
    state
}

/// Gradients of W_enc, b_enc, W_dec, b_dec and what the architecture has besides, dense, in f64.
struct Dense(Vec<Vec<f64>>);

/// How the architectures that begin dense are stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Sparsely,
    Densely,
    /// Densely in bytes, however narrow the rows are.
    InBytes,
}

fn by_hand(state: &TrainState, architecture: &Architecture, rows: &Rows, coefficient: f32, way: Way) -> (Dense, f64) {
    let mut state = state.clone();
    state.carried.entries = if way == Way::Sparsely { 0.0 } else { D_SAE as f64 };
    let (mut activity, mut firings) = (Activity::default(), Firings::default());
    activity.dead = state.dead(DEAD_AFTER);
    let mut dense =
        forward(&mut state, architecture, &rows.batch(), &Scratches::default(), &mut activity).expect("forward");
    assert_eq!(dense.is_some(), way != Way::Sparsely && architecture.sparsity().is_some());
    if way == Way::InBytes {
        dense = Some(dense_gradients(&state, architecture, &mut activity, Precision::Int8).expect("products"));
    }
    firings.rebuild(D_SAE, &activity.tiles, state.extras.len());
    let aux = aux_gradients(&state, architecture, &activity, coefficient).expect("aux");
    let (backward, norms) = (activity.backward(&firings, dense.as_ref()), architecture.norm_penalty(&state, ROWS));
    let held = Held::default();
    let gradients = Gradients { backward, aux: aux.as_ref(), norms, held: &held };
    let mut others = OtherGradients::default();
    gradients.others(&state, architecture, &mut others).expect("others");
    let (mut w_enc, mut w_dec) = (Vec::new(), Vec::new());
    let (mut d_w, mut d_d) = (vec![0.0; D_IN], vec![0.0; state.d_out]);
    for latent in 0..D_SAE {
        gradients.of(latent, &state.w_dec.value[latent * state.d_out..(latent + 1) * state.d_out], &mut d_w, &mut d_d);
        w_enc.extend(d_w.iter().map(|&g| f64::from(g)));
        w_dec.extend(d_d.iter().map(|&g| f64::from(g)));
    }
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    let mut dense = vec![w_enc, wide(others.b_enc), w_dec, wide(others.b_dec)];
    dense.extend(others.extras.into_iter().map(wide));
    dense.extend(state.w_skip.is_some().then(|| wide(others.w_skip)));
    (Dense(dense), activity.loss + activity.penalty + aux.map_or(0.0, |aux| aux.loss))
}

fn largest_relative_errors(found: &Dense, expected: &Dense) -> Vec<f64> {
    assert_eq!(found.0.len(), expected.0.len());
    let error = |(found, expected): (&Vec<f64>, &Vec<f64>)| {
        let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
        found.iter().zip(expected).fold(0f64, |a, (f, e)| a.max((f - e).abs())) / largest
    };
    found.0.iter().zip(&expected.0).map(error).collect()
}

#[test]
fn gradients_of_every_loss_term_agree_with_autograd_in_f64() {
    for architecture in architectures() {
        // No dead latents; fewer than d_in / 2 (all are chosen, the loss is scaled down); more (12 of 20 are chosen).
        for n_dead in [0, 4, 20] {
            for way in [Way::Sparsely, Way::Densely] {
                agrees_with_autograd(&architecture, n_dead, way);
            }
        }
    }
}

fn agrees_with_autograd(architecture: &Architecture, n_dead: usize, way: Way) {
    let (state, rows) = (state(architecture, n_dead), Rows::of(architecture, 1, ROWS, 1.0));
    assert_eq!(state.dead(DEAD_AFTER).len(), n_dead);
    let (found, loss) = by_hand(&state, architecture, &rows, 0.7, way);
    let (expected, expected_loss) = by_autograd(&state, architecture, &rows, 0.7);
    let errors = largest_relative_errors(&found, &expected);
    let errors_shown: Vec<String> = errors.iter().map(|error| format!("{error:.1e}")).collect();
    let told = format!("{architecture:?}, {n_dead} dead, {way:?}: {}", errors_shown.join(" "));
    assert!((loss - expected_loss).abs() < 1e-6 * expected_loss, "{told}: {loss} against {expected_loss}");
    assert!(errors.iter().all(|&e| e < 3e-6), "{told}");
}

/// |found - expected| over |expected|, of each parameter.
fn relative_distances(found: &Dense, expected: &Dense) -> Vec<f64> {
    let distance = |(found, expected): (&Vec<f64>, &Vec<f64>)| {
        let pairs = found.iter().zip(expected);
        let (distance, length) = pairs.fold((0f64, 0f64), |(d, l), (f, e)| (d + (f - e) * (f - e), l + e * e));
        (distance / length).sqrt()
    };
    found.0.iter().zip(&expected.0).map(distance).collect()
}

/// What a step makes of the gradients of `b_enc`, with AuxK for 20 latents that were silent for so many windows.
fn first_moments(coefficient: f32, windows: u64) -> Vec<f32> {
    let architecture: Architecture = TopK { k: K }.into();
    let mut state = state(&architecture, 20);
    let dead = state.dead(DEAD_AFTER);
    state.tokens = 4 * DEAD_AFTER;
    state.fired_at.iter_mut().for_each(|at| *at = 4 * DEAD_AFTER);
    dead.iter().for_each(|&latent| state.fired_at[latent as usize] = (4 - windows) * DEAD_AFTER);
    let settings = settings(&architecture, f32::INFINITY, coefficient);
    let rows = Rows::of(&architecture, 1, ROWS, 1.0);
    step(&mut state, &rows.batch(), 0.01, &settings, &mut Workspace::default()).expect("step");
    state.b_enc.m.to_vec()
}

#[test]
fn a_latent_that_is_silent_for_one_window_receives_a_sixteenth() {
    let [without, one, four] = [(0.0, 1), (30.0, 1), (30.0, 4)].map(|(c, windows)| first_moments(c, windows));
    let changes = |with: &[f32]| with.iter().zip(&without).map(|(with, without)| with - without).collect::<Vec<_>>();
    let (one, four) = (changes(&one), changes(&four));
    let largest = four.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    assert!(largest > 1e-3, "AuxK changed nothing");
    assert!(one.iter().zip(&four).all(|(one, four)| (16.0 * one - four).abs() < 1e-3 * largest), "{one:?} {four:?}");
}

#[test]
fn a_workspace_in_which_another_dictionary_was_stepped_changes_nothing() {
    let shared = &mut Workspace::default();
    let step_in = |workspace: &mut Workspace, architecture: &Architecture| {
        let mut state = state_in(Precision::Int8, architecture, 20);
        let rows = Rows::of(architecture, 1, ROWS, 1.0);
        let settings = settings(architecture, 1.0, 30.0);
        step(&mut state, &rows.batch(), 0.01, &settings, workspace).expect("step");
        (state.w_enc.value.to_vec(), state.w_dec.value.to_vec())
    };
    for architecture in architectures() {
        step_in(shared, &TopK { k: K }.into());
        let alone = step_in(&mut Workspace::default(), &architecture);
        assert!(step_in(shared, &architecture) == alone, "{}", architecture.name());
    }
}

#[test]
fn aux_k_in_bytes_is_within_four_hundredths_of_the_exact_gradient() {
    for architecture in [TopK { k: K }.into(), matryoshka(), SkipTranscoder { k: K, l0: 1.0 }.into()] {
        for n_dead in [4, 20] {
            let rows = Rows::of(&architecture, 1, ROWS, 1.0);
            // A large coefficient, so that the auxiliary part is not lost in the main one.
            let in_bytes = state_in(Precision::Int8, &architecture, n_dead);
            let (found, loss) = by_hand(&in_bytes, &architecture, &rows, 30.0, Way::Sparsely);
            let (expected, expected_loss) = by_autograd(&state(&architecture, n_dead), &architecture, &rows, 30.0);
            assert!((loss - expected_loss).abs() < 0.005 * expected_loss, "loss {loss} against {expected_loss}");
            let distances = relative_distances(&found, &expected);
            let told = format!("{}, {n_dead} dead: {distances:?}", architecture.name());
            assert!(distances.iter().all(|&d| d < 0.04), "{told}");
            assert!(distances[0] > 1e-6, "bytes took no part: {told}");
        }
    }
}

#[test]
fn dense_steps_in_bytes_are_within_five_hundredths_of_the_exact_gradient() {
    for architecture in architectures().into_iter().filter(|architecture| architecture.sparsity().is_some()) {
        let rows = Rows::of(&architecture, 1, ROWS, 1.0);
        let (found, loss) =
            by_hand(&state_in(Precision::Int8, &architecture, 0), &architecture, &rows, 0.0, Way::InBytes);
        let (expected, expected_loss) = by_autograd(&state(&architecture, 0), &architecture, &rows, 0.0);
        assert!((loss - expected_loss).abs() < 0.01 * expected_loss, "loss {loss} against {expected_loss}");
        let distances = relative_distances(&found, &expected);
        let told = format!("{architecture:?}: {distances:?}");
        assert!(distances.iter().all(|&d| d < 0.05), "{told}");
        assert!(distances[0] > 1e-6, "bytes took no part: {told}");
    }
}

#[test]
fn fused_steps_follow_a_dense_adam_in_f64() {
    for architecture in architectures() {
        follow_a_dense_adam(&architecture);
    }
}

fn follow_a_dense_adam(architecture: &Architecture) {
    let settings = settings(architecture, 1.0, 1.0);
    let mut state = state(architecture, 4);
    let mut moments: Option<Vec<[Vec<f64>; 2]>> = None;
    let mut workspace = Workspace::default();
    for t in 1..=8u64 {
        let rows = Rows::of(architecture, t, ROWS, 1.0);
        let (mut gradient, _) = by_autograd(&state, architecture, &rows, 1.0);
        let norm = gradient.0.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm > 1.0, "clipping takes part in this test");
        gradient.0.iter_mut().flatten().for_each(|g| *g /= norm);
        let wide = |(_, p): (&str, &Parameter)| p.value.iter().map(|&w| f64::from(w)).collect::<Vec<_>>();
        let before: Vec<_> = state.parameters().into_iter().map(wide).collect();
        let report = step(&mut state, &rows.batch(), 0.01, &settings, &mut workspace).expect("step");
        assert!((report.grad_norm - norm).abs() < 1e-5 * norm);
        let moments =
            moments.get_or_insert_with(|| before.iter().map(|p| [vec![0.0; p.len()], vec![0.0; p.len()]]).collect());
        for (at, (name, parameter)) in state.parameters().into_iter().enumerate() {
            let expected = dense_adam(t, 0.01, &before[at], &gradient.0[at], &mut moments[at]);
            let expected = if name == "W_dec" { unit_rows(expected, state.d_out) } else { expected };
            for (found, expected) in parameter.value.iter().zip(&expected) {
                let close = (f64::from(*found) - expected).abs() < 2e-5;
                assert!(close, "{}, step {t}, {name}: {found} against {expected}", architecture.name());
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

fn unit_rows(mut w: Vec<f64>, width: usize) -> Vec<f64> {
    for row in w.chunks_exact_mut(width) {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    w
}

#[test]
fn a_step_depends_neither_on_the_number_of_threads_nor_on_what_proposes() {
    let run = |architecture: &Architecture, threads: usize, precision: Precision, n_dead: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let settings = settings(architecture, 1.0, 1.0);
            let (mut state, mut workspace) = (state_in(precision, architecture, n_dead), Workspace::default());
            for t in 0..5 {
                step(&mut state, &Rows::of(architecture, t, 1000, 0.8).batch(), 0.01, &settings, &mut workspace)
                    .expect("step");
            }
            let bits = |(_, p): (&str, &Parameter)| p.value.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
            state.parameters().into_iter().map(bits).collect::<Vec<_>>()
        })
    };
    for architecture in architectures() {
        for precision in Precision::ALL {
            let told = format!("{architecture:?}, {}", precision.name());
            let expected = run(&architecture, 1, precision, 20);
            for threads in [2, 3] {
                assert!(run(&architecture, threads, precision, 20) == expected, "{told}, {threads} threads");
            }
            // What proposes is kept in step with what decides: the same latents, so the same weights to the bit. Only where
            // penalties make dense steps is bf16 more than a proposal; bytes are where rows are wider than here.
            if precision != Precision::Bf16 || architecture.sparsity().is_none() {
                let exact = run(&architecture, 1, Precision::F32, 0);
                assert!(run(&architecture, 2, precision, 0) == exact, "{told} against f32");
            }
        }
    }
}
