//! The engine in plain tensor operations and that of CPUs train the same dictionaries, whatever the architecture.

mod origin;
mod two_columns;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tch::Device;
use two_columns::TwoColumns;
use untangle_sae::Precision;
use untangle_schema::{Event, Observer, Silent};
use untangle_store::RowSource;
use untangle_train::arch::top_k::TopK;
use untangle_train::init::initial;
use untangle_train::{
    DataProvenance, EngineKind, Finished, Freeze, Job, Kind, Optimiser, PartOrigin, Run, Shown, TrainConfig,
    TrainError, Width, Widths, train,
};

const D_IN: usize = 24;
const ROWS: usize = 5000;
const BATCH: u64 = 250;
const ENGINES: [EngineKind; 2] = [EngineKind::Native, EngineKind::Tensors(Device::Cpu)];

/// Rows that are sums of a few of 48 directions, and what a transcoder predicts of them.
fn rows() -> (Vec<f32>, Vec<f32>) {
    let mut generator = ChaCha8Rng::seed_from_u64(8);
    let directions: Vec<f32> = (0..48 * D_IN).map(|_| generator.random_range(-1.0..1.0)).collect();
    let mut rows = vec![0.2f32; ROWS * D_IN];
    for row in rows.chunks_exact_mut(D_IN) {
        for _ in 0..generator.random_range(1..6) {
            let (feature, value) = (generator.random_range(0..48), generator.random_range(0.5f32..2.0));
            row.iter_mut().zip(&directions[feature * D_IN..]).for_each(|(x, d)| *x += value * d);
        }
    }
    let predicted = |x: &[f32]| (0..D_IN).map(|at| x[at].max(0.3) - x[(at + 2) % D_IN]).collect::<Vec<_>>();
    let target = rows.chunks_exact(D_IN).flat_map(predicted).collect();
    (rows, target)
}

fn config(kind: Kind, steps: u64) -> TrainConfig {
    TrainConfig {
        width: Width::Features(64),
        kind,
        k: 4,
        tokens: Some(steps * BATCH),
        batch: BATCH as usize,
        lr: Some(2e-3),
        precision: Some(Precision::F32),
        ..TrainConfig::default()
    }
}

fn run(config: &TrainConfig, engine: EngineKind, out: &Path, observer: &dyn Observer) -> Result<Finished, TrainError> {
    let (rows, target) = rows();
    let mut source = TwoColumns::new(&rows, &target, [D_IN, D_IN], BATCH as usize, 4);
    let (is_crosscoder, is_transcoder) = (config.kind.is_crosscoder(), config.kind.is_transcoder());
    let read = vec![D_IN; if is_crosscoder { 2 } else { 1 }];
    let widths = Widths { read, predicted: is_transcoder.then_some(D_IN) };
    let part = |column: &str| PartOrigin { column: column.to_owned(), model: None };
    let data = DataProvenance { parts: vec![part("x"), part("y")], ..origin::made_up(source.rows_per_epoch()) };
    let runs = [Run {
        name: String::new(),
        column: 0,
        further: if is_crosscoder { vec![1] } else { Vec::new() },
        target: is_transcoder.then_some(1),
        plan: config.plan_of(&widths, source.rows_per_epoch()).expect("the settings fit"),
        data,
    }];
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &|columns| Ok(columns.iter().map(|at| [&rows, &target][*at][..1000 * D_IN].to_vec()).collect()),
        out,
        force: false,
        checkpoint_every: None,
        shown: Shown::default(),
        engine,
    };
    Ok(train(job, observer)?.remove(0))
}

/// The tensors of a finished dictionary, by name.
fn tensors(out: &Path) -> Vec<(String, Vec<f32>)> {
    let bytes = std::fs::read(out.join("sae_weights.safetensors")).expect("weights");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let floats = |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let mut all: Vec<_> = file.iter().map(|(name, tensor)| (name.to_owned(), floats(tensor.data()))).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// The largest difference of any weight after both engines trained alike.
fn largest_difference(config: &TrainConfig, dir: &Path) -> f32 {
    let trained = |engine: EngineKind, name: &str| {
        run(config, engine, &dir.join(name), &Silent).expect("trains");
        tensors(&dir.join(name))
    };
    let [native, plain] = [(ENGINES[0], "native"), (ENGINES[1], "plain")].map(|(engine, name)| trained(engine, name));
    let pairs = native.iter().zip(&plain).flat_map(|((_, a), (_, b))| a.iter().zip(b));
    pairs.fold(0f32, |largest, (a, b)| largest.max((a - b).abs()))
}

#[test]
fn one_step_is_the_same_to_a_hundred_thousandth() {
    for kind in Kind::ALL {
        let dir = tempfile::tempdir().expect("dir");
        let difference = largest_difference(&config(*kind, 1), dir.path());
        assert!(difference < 1e-5, "{kind}: {difference:e}");
    }
}

#[test]
fn dead_latents_rows_with_one_moment_and_averages_are_treated_alike() {
    for (kind, optimiser, ema) in [
        (Kind::TopK, Optimiser::AdamMini, None),
        (Kind::SkipTranscoder, Optimiser::Adam, Some(0.5)),
        (Kind::Gated, Optimiser::AdamMini, Some(0.5)),
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let alive = TrainConfig { optimiser, ema, ..config(kind, 4) };
        let dying = TrainConfig { dead_after: Some(BATCH), aux_coefficient: Some(1.0), k: 1, ..alive };
        let difference = largest_difference(&dying, dir.path());
        assert!(difference < 1e-4, "{kind}: {difference:e}");
    }
}

#[test]
fn three_hundred_steps_leave_the_same_error() {
    for kind in Kind::ALL {
        let dir = tempfile::tempdir().expect("dir");
        let fvu = |engine, name: &str| {
            run(&config(*kind, 300), engine, &dir.path().join(name), &Silent).expect("trains").last.fvu
        };
        let (native, plain) = (fvu(ENGINES[0], "native"), fvu(ENGINES[1], "plain"));
        assert!((plain / native - 1.0).abs() < 0.01, "{kind}: FVU {native} and {plain}");
    }
}

/// Asks to stop after so many more steps.
struct StopAfter(AtomicU64);

impl Observer for StopAfter {
    fn event(&self, event: Event<'_>) {
        if let Event::Advanced { .. } = event {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn what_stops_and_goes_on_ends_as_what_did_not() {
    let dir = tempfile::tempdir().expect("dir");
    let config = TrainConfig { ema: Some(0.9), ..config(Kind::JumpRelu, 20) };
    run(&config, ENGINES[1], &dir.path().join("whole"), &Silent).expect("trains");
    let out = dir.path().join("stopped");
    let stopped = run(&config, ENGINES[1], &out, &StopAfter(AtomicU64::new(9)));
    assert!(matches!(stopped, Err(TrainError::Interrupted { step: 9 })), "{stopped:?}");
    run(&config, ENGINES[1], &out, &Silent).expect("goes on");
    assert!(tensors(&dir.path().join("whole")) == tensors(&out));
}

#[test]
fn what_is_frozen_stays_as_it_was_drawn_and_all_else_is_learned() {
    for (kind, freeze) in [
        (Kind::TopK, Freeze::Decoder),
        (Kind::Relu, Freeze::Decoder),
        (Kind::JumpRelu, Freeze::Encoder),
        (Kind::BatchTopK, Freeze::Encoder),
        (Kind::TopK, Freeze::SoftDecoder),
        (Kind::Gated, Freeze::SoftDecoder),
    ] {
        for engine in ENGINES {
            let (dir, told) = (tempfile::tempdir().expect("dir"), format!("{kind}, {freeze}, {engine:?}"));
            let config = TrainConfig { freeze: Some(freeze), lr: Some(2e-2), ..config(kind, 60) };
            let out = dir.path().join("sae");
            let stopped = run(&config, engine, &out, &StopAfter(AtomicU64::new(31)));
            assert!(stopped.is_err(), "{told}: half of it by a run that goes on");
            let last = run(&config, engine, &out, &Silent).expect("goes on").last;
            assert!(last.fvu < 1.0, "{told}: FVU {}", last.fvu);
            let architecture = TopK { k: 4 }.into();
            let drawn = initial(D_IN, 64, &architecture, Optimiser::Adam, 0, &[0.0; D_IN], Precision::F32);
            let (w_enc, w_dec) = (weights(&out, "W_enc"), weights(&out, "W_dec"));
            // On disk the encoder is transposed.
            let encoder: Vec<f32> = (0..64 * D_IN).map(|at| w_enc[at % D_IN * 64 + at / D_IN]).collect();
            let stays = |found: &[f32], drawn: &[f32]| found == drawn;
            assert_eq!(stays(&encoder, &drawn.w_enc.value), freeze == Freeze::Encoder, "{told}");
            assert_eq!(stays(&w_dec, &drawn.w_dec.value), freeze == Freeze::Decoder, "{told}");
            let cosine = |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosines = w_dec.chunks_exact(D_IN).zip(drawn.w_dec.value.chunks_exact(D_IN)).map(cosine);
            let least = cosines.fold(1f32, f32::min);
            match freeze {
                Freeze::SoftDecoder => assert!((least - 0.8).abs() < 1e-4, "{told}: a cosine of {least}"),
                Freeze::Encoder => assert!(least < 0.8, "{told}: a cosine of {least}"),
                Freeze::Decoder => {}
            }
        }
    }
}

fn weights(out: &Path, name: &str) -> Vec<f32> {
    tensors(out).into_iter().find(|(tensor, _)| tensor == name).expect("there").1
}
