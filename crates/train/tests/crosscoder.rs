//! Crosscoders: features that two models share and that one has alone are told apart, and the crosscoder on disk says what
//! the one in training did.

mod origin;
mod two_columns;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use two_columns::TwoColumns;
use untangle_sae::metrics::Fvu;
use untangle_sae::{Codes, Crosscoder, Precision};
use untangle_schema::Silent;
use untangle_store::RowSource;
use untangle_train::init::initial;
use untangle_train::scale::DataScale;
use untangle_train::{
    DataProvenance, EngineKind, Job, Kind, Optimiser, PartOrigin, Run, Shown, TrainConfig, Width, Widths, train,
};

const D: usize = 24;
/// Features that both models have, that the first has alone, and that the second has alone; of each as many.
const OF_EACH: usize = 12;
const FEATURES: usize = 3 * OF_EACH;
/// More latents than features, as in use: with none to spare, a feature that no latent began at stays without one.
const LATENTS: usize = 2 * FEATURES;
const ACTIVE: usize = 3;
const ROWS: usize = 20_000;
const BATCH: usize = 1000;
/// The second model speaks louder, which must not show.
const LOUD: f32 = 7.0;

/// What every feature writes in each model, `[FEATURES, 2, D]`, and the rows of both.
struct Planted {
    written: Vec<f32>,
    rows: [Vec<f32>; 2],
}

fn has(feature: usize, model: usize) -> bool {
    feature / OF_EACH == 0 || feature / OF_EACH == 1 + model
}

fn planted() -> Planted {
    let mut generator = ChaCha8Rng::seed_from_u64(21);
    let mut written: Vec<f32> = (0..FEATURES * 2 * D).map(|_| generator.random_range(-1.0..1.0)).collect();
    for (at, row) in written.chunks_exact_mut(D).enumerate() {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let length = if has(at / 2, at % 2) { 1.0 } else { 0.0 };
        row.iter_mut().for_each(|v| *v *= length / norm);
    }
    let mut rows = [vec![0.3f32; ROWS * D], vec![-1.0f32; ROWS * D]];
    for row in 0..ROWS {
        for _ in 0..ACTIVE {
            let (feature, value) = (generator.random_range(0..FEATURES), generator.random_range(1.0f32..2.0));
            for (model, rows) in rows.iter_mut().enumerate() {
                let loud = if model == 1 { LOUD } else { 1.0 };
                let direction = &written[(feature * 2 + model) * D..][..D];
                rows[row * D..(row + 1) * D].iter_mut().zip(direction).for_each(|(x, d)| *x += loud * value * d);
            }
        }
    }
    Planted { written, rows }
}

fn run(kind: Kind, rows: &[Vec<f32>; 2], out: &Path) -> Crosscoder {
    let mut source = TwoColumns::new(&rows[0], &rows[1], [D, D], BATCH, 4);
    let config = TrainConfig {
        width: Width::Features(LATENTS),
        kind,
        k: ACTIVE,
        tokens: Some(1_000_000),
        batch: BATCH,
        precision: Some(Precision::Int8),
        ..TrainConfig::default()
    };
    let part = |column: &str| PartOrigin { column: column.to_owned(), model: None };
    let data = DataProvenance { parts: vec![part("a"), part("b")], ..origin::made_up(source.rows_per_epoch()) };
    let widths = Widths { read: vec![D, D], predicted: None };
    let plan = config.plan_of(&widths, source.rows_per_epoch()).expect("the settings fit");
    let runs = [Run { name: String::new(), column: 0, further: vec![1], target: None, plan, data }];
    let calibration = |columns: &[usize]| Ok(columns.iter().map(|at| rows[*at][..4000 * D].to_vec()).collect());
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &calibration,
        out,
        force: false,
        checkpoint_every: None,
        shown: Shown::default(),
        engine: EngineKind::Native,
    };
    train(job, &Silent).expect("trains");
    Crosscoder::load(out).expect("loads")
}

fn side_by_side(rows: &[Vec<f32>; 2]) -> Vec<f32> {
    rows[0].chunks_exact(D).zip(rows[1].chunks_exact(D)).flat_map(|(a, b)| [a, b].concat()).collect()
}

/// The latent whose decoder row is nearest to a planted feature, in units in which both models are equally large.
fn nearest(crosscoder: &Crosscoder, written: &[f32]) -> (usize, f64) {
    let scales: Vec<f64> = crosscoder.places().iter().map(|place| f64::from(place.scale)).collect();
    let cosine = |latent: usize| {
        let row =
            (0..2).flat_map(|part| crosscoder.decoder_row(latent, part).iter().map(move |v| (part, f64::from(*v))));
        let row: Vec<f64> = row.map(|(part, v)| scales[part] * v).collect();
        let dot: f64 = row.iter().zip(written).map(|(a, b)| a * f64::from(*b)).sum();
        let length = |v: f64| v.sqrt();
        let of_row = length(row.iter().map(|v| v * v).sum());
        dot / of_row / length(written.iter().map(|v| f64::from(v * v)).sum())
    };
    let all = (0..LATENTS).map(|latent| (latent, cosine(latent)));
    all.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are latents")
}

fn tells_shared_from_exclusive(kind: Kind) {
    let (planted, dir) = (planted(), tempfile::tempdir().expect("dir"));
    let crosscoder = run(kind, &planted.rows, &dir.path().join("cc"));
    let (mut right, mut found) = ([0; 3], 0);
    for (feature, written) in planted.written.chunks_exact(2 * D).enumerate() {
        let (latent, cosine) = nearest(&crosscoder, written);
        found += usize::from(cosine > 0.9);
        let share = crosscoder.shares(latent)[0];
        let fits = match feature / OF_EACH {
            0 => (0.35..0.65).contains(&share),
            1 => share > 0.9,
            _ => share < 0.1,
        };
        right[feature / OF_EACH] += usize::from(fits && cosine > 0.9);
    }
    assert!(found >= 35, "{kind}: {found} of {FEATURES} features found");
    assert!(right.iter().all(|right| *right >= 11), "{kind}: {right:?} of {OF_EACH} shared, first and second alone");
    let (rows, mut codes) = (side_by_side(&planted.rows), Codes::new());
    let (mut x_hat, mut fvu) = (vec![0f32; rows.len()], Fvu::new(2 * D));
    crosscoder.encode(&rows, &mut codes).expect("rows fit");
    crosscoder.decode(&codes, &mut x_hat).expect("rows fit");
    fvu.update(&rows, &x_hat);
    // L1 shrinks what it finds.
    let most = if kind == Kind::Crosscoder { 0.15 } else { 0.4 };
    assert!(fvu.value() < most, "{kind}: FVU {}", fvu.value());
    for latent in 0..LATENTS {
        let norm: f32 = crosscoder.joined().decoder_row(latent).iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5, "decoder row {latent} has squared norm {norm}");
    }
}

#[test]
fn batch_topk_tells_what_is_shared_from_what_one_model_has_alone() {
    tells_shared_from_exclusive(Kind::Crosscoder);
}

#[test]
fn l1_tells_what_is_shared_from_what_one_model_has_alone() {
    tells_shared_from_exclusive(Kind::CrosscoderL1);
}

#[test]
fn the_crosscoder_on_disk_says_what_the_one_in_training_did() {
    const N: usize = 30;
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    let architecture = untangle_train::arch::crosscoder::Crosscoder { k: 4, l0: 4.0, parts: 2 }.into();
    let mut state = initial(2 * D, FEATURES, &architecture, Optimiser::Adam, 1, &[0.2; 2 * D], Precision::F32);
    for parameter in [&mut state.b_enc, &mut state.b_dec] {
        parameter.value.iter_mut().for_each(|w| *w = generator.random_range(-0.5f32..0.5));
    }
    let (factors, theta) = ([0.3f32, 2.5], 0.6f32);
    let scale = DataScale {
        factor: factors[0],
        further: vec![factors[1]],
        mean: vec![0.0; 2 * D],
        spread: vec![1.0; 2 * D],
        variance: 1.0,
    };
    let part = |column: &str| PartOrigin { column: column.to_owned(), model: None };
    let data = DataProvenance { parts: vec![part("a"), part("b")], ..origin::made_up(1) };
    let crosscoder = untangle_train::crosscoder::folded(&state, &scale, theta, "crosscoder", &data).expect("fits");
    let x: Vec<f32> = (0..N * 2 * D).map(|_| generator.random_range(-2.0f32..2.0)).collect();
    let (mut codes, mut x_hat) = (Codes::new(), vec![0f32; x.len()]);
    crosscoder.encode(&x, &mut codes).expect("rows fit");
    crosscoder.decode(&codes, &mut x_hat).expect("rows fit");
    let mut fired = 0;
    for (x, x_hat) in x.chunks_exact(2 * D).zip(x_hat.chunks_exact(2 * D)) {
        let factor = |at: usize| f64::from(factors[at / D]);
        let z: Vec<f64> =
            (0..2 * D).map(|at| factor(at) * f64::from(x[at]) - f64::from(state.b_dec.value[at])).collect();
        let mut expected: Vec<f64> = state.b_dec.value.iter().map(|b| f64::from(*b)).collect();
        for latent in 0..FEATURES {
            let row = latent * 2 * D..(latent + 1) * 2 * D;
            let w = &state.w_enc.value[row.clone()];
            let p =
                w.iter().zip(&z).map(|(w, z)| f64::from(*w) * z).sum::<f64>() + f64::from(state.b_enc.value[latent]);
            if p * f64::from(state.norm_sums[latent]) > f64::from(theta) {
                fired += 1;
                expected.iter_mut().zip(&state.w_dec.value[row]).for_each(|(x, d)| *x += p * f64::from(*d));
            }
        }
        for (at, (found, expected)) in x_hat.iter().zip(expected).enumerate() {
            let expected = expected / factor(at);
            assert!((f64::from(*found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} for {expected}");
        }
    }
    assert!((N..N * FEATURES).contains(&fired), "{fired} firings");
    let sums = state.w_dec.value.chunks_exact(D).map(|part| part.iter().map(|v| v * v).sum::<f32>().sqrt());
    let sums: Vec<f32> = sums.collect();
    for (sum, parts) in state.norm_sums.iter().zip(sums.chunks_exact(2)) {
        assert!((sum - parts[0] - parts[1]).abs() < 1e-5 && (1.0..1.4143).contains(sum), "{sum}");
    }
}
