//! Dictionaries that are trained together: each is to the bit what it is alone, and the whole continues after a stop.

mod origin;
mod two_columns;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use two_columns::TwoColumns;
use untangle_sae::metrics::FiringCounts;
use untangle_sae::{Codes, Precision, Sae};
use untangle_schema::{Classify, Event, Fault, Observer, Silent};
use untangle_store::RowSource;
use untangle_train::{
    Centre, DataProvenance, EngineKind, Finished, Job, Kind, Optimiser, PartOrigin, Prefixes, Run, Shown, TrainConfig,
    TrainError, TrainingRecord, Width, Widths, train,
};

const D_IN: usize = 24;
/// Width of what transcoders predict, and of what crosscoders read beside.
const D_OUT: usize = D_IN;
const ROWS: usize = 6000;
const BATCH: usize = 500;
/// Rows from here on are for calibration.
const CALIBRATION: usize = 4000;

fn rows() -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(8);
    let directions: Vec<f32> = (0..48 * D_IN).map(|_| generator.random_range(-1.0..1.0)).collect();
    let mut rows = vec![0.2f32; ROWS * D_IN];
    for row in rows.chunks_exact_mut(D_IN) {
        for _ in 0..generator.random_range(1..6) {
            let (feature, value) = (generator.random_range(0..48), generator.random_range(0.5f32..2.0));
            row.iter_mut().zip(&directions[feature * D_IN..]).for_each(|(x, d)| *x += value * d);
        }
    }
    rows
}

/// What transcoders predict of a row.
fn predicted(rows: &[f32]) -> Vec<f32> {
    let row = |x: &[f32]| (0..D_OUT).map(|at| x[at].max(0.3) - x[(at + 2) % D_IN]).collect::<Vec<_>>();
    rows.chunks_exact(D_IN).flat_map(row).collect()
}

fn widths(config: &TrainConfig) -> Widths {
    let read = vec![D_IN; if config.kind.is_crosscoder() { 2 } else { 1 }];
    Widths { read, predicted: config.kind.is_transcoder().then_some(D_OUT) }
}

fn origins(config: &TrainConfig) -> Vec<PartOrigin> {
    let origin = |column: &str| PartOrigin { column: column.to_owned(), model: None };
    if config.kind.is_crosscoder() { vec![origin("x"), origin("y")] } else { Vec::new() }
}

fn config(kind: Kind, seed: u64, d_sae: usize) -> TrainConfig {
    TrainConfig {
        width: Width::Features(d_sae),
        kind,
        k: 4,
        tokens: Some(40_000),
        batch: BATCH,
        lr: Some(5e-3),
        seed,
        dead_after: Some(3000),
        precision: Some(Precision::Int8),
        ..TrainConfig::default()
    }
}

fn names(members: &[(&'static str, TrainConfig)]) -> Vec<&'static str> {
    members.iter().map(|(name, _)| *name).collect()
}

/// Different in everything that may differ.
fn members() -> Vec<(&'static str, TrainConfig)> {
    let random = TrainConfig { prefixes: Some(Prefixes::Random(3)), ..config(Kind::Matryoshka, 2, 64) };
    let cheap = TrainConfig {
        optimiser: Optimiser::AdamMini,
        centre: Centre::GeometricMedian,
        ..config(Kind::BatchTopK, 3, 64)
    };
    let in_f32 = TrainConfig { precision: Some(Precision::F32), ..config(Kind::BatchTopK, 0, 64) };
    vec![
        ("cheap", cheap),
        ("in-f32", in_f32),
        ("relu", config(Kind::Relu, 0, 64)),
        ("gated", config(Kind::Gated, 0, 64)),
        ("jump", config(Kind::JumpRelu, 0, 64)),
        ("annealed", config(Kind::PAnneal, 0, 64)),
        ("plain", config(Kind::TopK, 0, 64)),
        ("other-seed", config(Kind::TopK, 1, 64)),
        ("shared", config(Kind::BatchTopK, 0, 100)),
        ("nested", config(Kind::Matryoshka, 2, 64)),
        ("random", random),
        ("across", config(Kind::Transcoder, 0, 64)),
        ("skipping", config(Kind::SkipTranscoder, 1, 64)),
        ("both", config(Kind::Crosscoder, 0, 64)),
        ("both-l1", config(Kind::CrosscoderL1, 1, 64)),
    ]
}

fn run(named: &[(&str, TrainConfig)], out: &Path, observer: &dyn Observer) -> Result<Vec<Finished>, TrainError> {
    let rows = rows();
    let trained = &rows[..CALIBRATION * D_IN];
    let mut source = TwoColumns::new(trained, &predicted(trained), [D_IN, D_OUT], BATCH, 4);
    let data = DataProvenance {
        calibration: json!({"rows": ROWS - CALIBRATION}),
        keep_outliers: false,
        ..origin::made_up(source.rows_per_epoch())
    };
    let one = |(name, config): &(&str, TrainConfig)| Run {
        name: (*name).to_owned(),
        column: 0,
        further: if config.kind.is_crosscoder() { vec![1] } else { Vec::new() },
        target: config.kind.is_transcoder().then_some(1),
        plan: config.plan_of(&widths(config), source.rows_per_epoch()).expect("the settings fit"),
        data: DataProvenance { parts: origins(config), ..data.clone() },
    };
    let runs: Vec<Run> = named.iter().map(one).collect();
    let of_column = |column: &usize| match column {
        0 => rows[CALIBRATION * D_IN..].to_vec(),
        _ => predicted(&rows[CALIBRATION * D_IN..]),
    };
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &|columns| Ok(columns.iter().map(of_column).collect()),
        out,
        force: false,
        checkpoint_every: Some(7),
        shown: Shown::default(),
        engine: EngineKind::Native,
    };
    train(job, observer)
}

fn same_artefacts(a: &Path, b: &Path) {
    for file in ["sae_weights.safetensors", "cfg.json", "training.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        assert!(read(a) == read(b), "{file} of {} and {} differs", a.display(), b.display());
    }
}

#[test]
fn every_dictionary_of_a_grid_is_to_the_byte_that_of_its_own_run() {
    let dir = tempfile::tempdir().expect("dir");
    let grid = dir.path().join("grid");
    let finished = run(&members(), &grid, &Silent).expect("trains");
    assert_eq!(finished.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), names(&members()));
    for (name, config) in members() {
        let alone = dir.path().join(format!("{name}-alone"));
        run(&[("", config)], &alone, &Silent).expect("trains");
        same_artefacts(&grid.join(name), &alone);
    }
}

/// Asks to stop after so many more steps.
struct StopAfter(AtomicU64);

impl Observer for StopAfter {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Advanced { .. } | Event::Compared { .. }) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupted_grid_continues_to_the_same_bytes() {
    let dir = tempfile::tempdir().expect("dir");
    let (whole, pieces) = (dir.path().join("whole"), dir.path().join("pieces"));
    run(&members(), &whole, &Silent).expect("trains");
    for steps in [1, 3, 20] {
        let stopped = run(&members(), &pieces, &StopAfter(AtomicU64::new(steps))).expect_err("stops");
        assert_eq!(stopped.fault(), Fault::Interrupted, "{stopped}");
    }
    let message = run(&members()[..2], &pieces, &Silent).expect_err("another grid").to_string();
    assert!(message.contains("begun with other settings"), "{message}");
    run(&members(), &pieces, &Silent).expect("continues");
    names(&members()).iter().for_each(|name| same_artefacts(&whole.join(name), &pieces.join(name)));
    assert!(!dir.path().join("pieces.partial").exists());
}

#[test]
fn thresholds_give_the_l0_that_was_asked_for_on_rows_that_set_them() {
    let dir = tempfile::tempdir().expect("dir");
    let asked = TrainConfig { l0: Some(3.5), ..config(Kind::BatchTopK, 0, 64) };
    let out = dir.path().join("sae");
    let finished = run(&[("", asked)], &out, &Silent).expect("trains");
    let sae = Sae::load(&out).expect("loads");
    assert_eq!((sae.architecture().as_str(), sae.k()), ("jumprelu", None));
    let (mut codes, mut firing) = (Codes::new(), FiringCounts::new(64));
    sae.encode(&rows()[CALIBRATION * D_IN..], &mut codes).expect("fits");
    firing.update(&codes);
    let calibrated = finished[0].calibrated_l0.expect("calibrated");
    assert!((calibrated - 3.5).abs() < 2e-3, "{calibrated}");
    // The scale is folded in between, which rounds.
    assert!((firing.l0() - 3.5).abs() < 1e-2, "{}", firing.l0());
    let record = std::fs::read_to_string(out.join("training.json")).expect("written");
    let record: TrainingRecord = serde_json::from_str(&record).expect("read back");
    assert_eq!(record.calibrated_l0, Some(calibrated));
    assert_eq!(record.plan.architecture.name(), "batch-topk");
}

#[test]
fn what_does_not_fit_together_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("dir");
    let out = dir.path().join("grid");
    let refused = |named: &[(&str, TrainConfig)], expected: &str| {
        let message = run(named, &out, &Silent).expect_err("refused").to_string();
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0, "{expected}: something was written");
    };
    let member = || config(Kind::TopK, 0, 64);
    refused(&[("a", member()), ("a", member())], "two dictionaries are called `a`");
    refused(&[("a", member()), ("b", TrainConfig { batch: 250, ..member() })], "serves 500 rows, the plan 250");
    refused(&[("a", member()), ("b", TrainConfig { tokens: Some(9000), ..member() })], "one number of steps");
    refused(&[], "holds no dictionary");
}
