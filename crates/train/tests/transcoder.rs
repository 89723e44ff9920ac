//! Transcoders: a planted computation is found, a skip connection takes what is linear, and the dictionary on disk predicts
//! what the one in training did.

mod origin;
mod two_columns;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use two_columns::TwoColumns;
use untangle_sae::metrics::Fvu;
use untangle_sae::{Codes, Precision, Provenance, Sae};
use untangle_schema::Silent;
use untangle_store::RowSource;
use untangle_train::arch::transcoder::SkipTranscoder;
use untangle_train::init::initial;
use untangle_train::scale::{DataScale, TargetScale};
use untangle_train::{
    DataProvenance, EngineKind, Job, Kind, Optimiser, Run, Shown, TrainConfig, TrainError, Width, Widths, train,
};

const D_IN: usize = 32;
const D_OUT: usize = 24;
const FEATURES: usize = 48;
const ACTIVE: usize = 3;
const ROWS: usize = 20_000;
const BATCH: usize = 1000;

struct Planted {
    /// What every feature writes into the target, `[FEATURES, D_OUT]`, unit rows.
    written: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
}

fn unit_rows(n: usize, d: usize, generator: &mut ChaCha8Rng) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..n * d).map(|_| generator.random_range(-1.0..1.0)).collect();
    for row in rows.chunks_exact_mut(d) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    rows
}

/// Inputs and targets that are sums of the same few features in random directions of their own, with common offsets.
fn planted() -> Planted {
    let mut generator = ChaCha8Rng::seed_from_u64(12);
    let read = unit_rows(FEATURES, D_IN, &mut generator);
    let written = unit_rows(FEATURES, D_OUT, &mut generator);
    let (mut x, mut y) = (vec![0.7f32; ROWS * D_IN], vec![-4.0f32; ROWS * D_OUT]);
    for (x, y) in x.chunks_exact_mut(D_IN).zip(y.chunks_exact_mut(D_OUT)) {
        for _ in 0..ACTIVE {
            let (feature, value) = (generator.random_range(0..FEATURES), generator.random_range(1.0f32..2.0));
            x.iter_mut().zip(&read[feature * D_IN..]).for_each(|(x, d)| *x += value * d);
            // Another unit than the input's.
            y.iter_mut().zip(&written[feature * D_OUT..]).for_each(|(y, d)| *y += 5.0 * value * d);
        }
    }
    Planted { written, x, y }
}

/// A linear function of the inputs.
fn linear(x: &[f32]) -> Vec<f32> {
    let row = |x: &[f32]| (0..D_OUT).map(|at| 2.0 * x[at] - x[at + 3] + 0.5).collect::<Vec<_>>();
    x.chunks_exact(D_IN).flat_map(row).collect()
}

fn run(kind: Kind, x: &[f32], y: &[f32], out: &Path) -> Result<Sae, TrainError> {
    let mut source = TwoColumns::new(x, y, [D_IN, D_OUT], BATCH, 4);
    let config = TrainConfig {
        width: Width::Features(FEATURES),
        kind,
        k: ACTIVE,
        tokens: Some(600_000),
        batch: BATCH,
        precision: Some(Precision::Int8),
        ..TrainConfig::default()
    };
    let data = DataProvenance {
        column: "blocks.0.hook_resid_mid".to_owned(),
        column_out: Some("blocks.0.hook_mlp_out".to_owned()),
        ..origin::made_up(source.rows_per_epoch())
    };
    let plan = config.plan_of(&Widths { read: vec![D_IN], predicted: Some(D_OUT) }, source.rows_per_epoch())?;
    let runs = [Run { name: String::new(), column: 0, further: Vec::new(), target: Some(1), plan, data }];
    let calibration = |_: &[usize]| Ok(vec![x[..4000 * D_IN].to_vec()]);
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
    train(job, &Silent)?;
    Ok(Sae::load(out)?)
}

fn fvu(sae: &Sae, x: &[f32], y: &[f32]) -> f64 {
    let (mut codes, mut y_hat, mut fvu) = (Codes::new(), vec![0.0; y.len()], Fvu::new(D_OUT));
    sae.encode(x, &mut codes).expect("rows fit");
    sae.reconstruct(x, &codes, &mut y_hat).expect("rows fit");
    fvu.update(y, &y_hat);
    fvu.value()
}

/// Mean over planted directions of the largest cosine with a decoder row.
fn mean_max_cosine(sae: &Sae, directions: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let best = |d: &[f32]| (0..sae.d_sae()).map(|i| dot(sae.decoder_row(i), d)).fold(0f32, f32::max);
    directions.chunks_exact(D_OUT).map(best).sum::<f32>() / FEATURES as f32
}

#[test]
fn a_planted_computation_is_found() {
    let (planted, dir) = (planted(), tempfile::tempdir().expect("dir"));
    let sae = run(Kind::Transcoder, &planted.x, &planted.y, &dir.path().join("sae")).expect("trains");
    let (description, found) = (sae.description(), mean_max_cosine(&sae, &planted.written));
    assert_eq!(
        (sae.architecture().as_str(), description.d_out, description.subtracts_b_dec),
        ("jumprelu_transcoder", Some(D_OUT), false)
    );
    assert_eq!(sae.provenance().hook(), Some("blocks.0.hook_resid_mid"));
    assert_eq!(sae.provenance().predicts.as_deref(), Some("blocks.0.hook_mlp_out"));
    // Random unit vectors reach about .5 with the best of 48.
    assert!(found > 0.95, "mean max cosine {found}");
    let fvu = fvu(&sae, &planted.x, &planted.y);
    assert!(fvu < 0.1, "FVU {fvu}");
    for feature in 0..sae.d_sae() {
        let norm: f32 = sae.decoder_row(feature).iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5, "decoder row {feature} has squared norm {norm}");
    }
}

#[test]
fn a_skip_connection_takes_what_is_linear() {
    let (planted, dir) = (planted(), tempfile::tempdir().expect("dir"));
    let y = linear(&planted.x);
    let of = |kind: Kind| {
        let sae = run(kind, &planted.x, &y, &dir.path().join(kind.to_string())).expect("trains");
        fvu(&sae, &planted.x, &y)
    };
    let (plain, skip) = (of(Kind::Transcoder), of(Kind::SkipTranscoder));
    assert!(skip < 5e-3 && skip < 0.1 * plain, "FVU {skip} with a skip connection, {plain} without");
}

#[test]
fn the_dictionary_on_disk_predicts_what_the_one_in_training_did() {
    const N: usize = 40;
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    let architecture = SkipTranscoder { k: 4, l0: 4.0 }.into();
    let mut state = initial(D_IN, FEATURES, &architecture, Optimiser::Adam, 1, &[0.2; D_OUT], Precision::F32);
    let skip = state.w_skip.as_mut().expect("a skip connection");
    for parameter in [&mut state.b_enc, skip] {
        parameter.value.iter_mut().for_each(|w| *w = generator.random_range(-0.5f32..0.5));
    }
    let centre: Vec<f32> = (0..D_IN).map(|_| generator.random_range(-1.0f32..1.0)).collect();
    state.input_centre = Some(centre.clone());
    let (s, t, theta) = (0.3f32, 2.5f32, 0.4f32);
    let scale =
        DataScale { factor: s, further: Vec::new(), mean: centre.clone(), spread: vec![1.0; D_IN], variance: 1.0 };
    let target = Some(TargetScale { factor: t, variance: 1.0 });
    let sae = untangle_train::fold::folded(&state, &architecture, &scale, target, theta, Provenance::default())
        .expect("fits");
    let x: Vec<f32> = (0..N * D_IN).map(|_| generator.random_range(-3.0f32..3.0)).collect();
    let (mut codes, mut y_hat) = (Codes::new(), vec![0f32; N * D_OUT]);
    sae.encode(&x, &mut codes).expect("rows fit");
    sae.reconstruct(&x, &codes, &mut y_hat).expect("rows fit");
    let mut fired = 0;
    for (row, (x, y_hat)) in x.chunks_exact(D_IN).zip(y_hat.chunks_exact(D_OUT)).enumerate() {
        let z: Vec<f64> = x.iter().zip(&centre).map(|(x, c)| f64::from(s * x) - f64::from(*c)).collect();
        let product = |w: &[f32]| w.iter().zip(&z).map(|(w, z)| f64::from(*w) * z).sum::<f64>();
        let skipped = state.w_skip.as_ref().expect("there").value.chunks_exact(D_IN).map(product);
        let mut expected: Vec<f64> = skipped.zip(&state.b_dec.value[..]).map(|(y, b)| y + f64::from(*b)).collect();
        for latent in 0..FEATURES {
            let p = product(&state.w_enc.value[latent * D_IN..][..D_IN]) + f64::from(state.b_enc.value[latent]);
            let f = if p > f64::from(theta) { p } else { 0.0 };
            assert!((f64::from(codes.activation(row, latent)) - f / f64::from(t)).abs() < 1e-5, "latent {latent}: {p}");
            let d = &state.w_dec.value[latent * D_OUT..][..D_OUT];
            expected.iter_mut().zip(d).for_each(|(y, d)| *y += f * f64::from(*d));
            fired += usize::from(f > 0.0);
        }
        for (found, expected) in y_hat.iter().zip(expected) {
            assert!((f64::from(*found) - expected / f64::from(t)).abs() < 1e-5, "{found} for {expected}");
        }
    }
    assert!((N..N * FEATURES).contains(&fired), "{fired} firings");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (planted, dir) = (planted(), tempfile::tempdir().expect("dir"));
    let refused = |kind: Kind| match run(kind, &planted.x, &planted.y, &dir.path().join("sae")) {
        Err(TrainError::Setting { setting, .. }) => setting,
        other => panic!("expected a refusal, found {other:?}"),
    };
    assert_eq!(refused(Kind::BatchTopK), "--hook-out");
    let alone = TrainConfig { kind: Kind::Transcoder, ..TrainConfig::default() }.plan(D_IN, 1 << 20);
    assert!(alone.expect_err("nothing to predict").to_string().contains("--hook-out"));
}
