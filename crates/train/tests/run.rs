//! Whole runs: planted truth is found, interruption changes no byte, and what cannot be trained is refused.

mod origin;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use untangle_sae::{Precision, Sae};
use untangle_schema::{Classify, Event, Fault, Observer, Silent};
use untangle_store::{MemoryRows, RowSource};
use untangle_train::{EngineKind, Job, Kind, Run, Shown, TrainConfig, TrainError, TrainPlan, Width, train};

const D_IN: usize = 32;
const FEATURES: usize = 64;
const ACTIVE: usize = 3;

/// Rows that are sums of a few of 64 random unit directions, with coefficients from 1 to 2 and a common offset.
struct Planted {
    directions: Vec<f32>,
    rows: Vec<f32>,
}

fn planted(n: usize) -> Planted {
    planted_with(n, FEATURES)
}

fn planted_with(n: usize, features: usize) -> Planted {
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let mut directions: Vec<f32> = (0..features * D_IN).map(|_| generator.random_range(-1.0..1.0)).collect();
    for row in directions.chunks_exact_mut(D_IN) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    }
    let mut rows = vec![0.3f32; n * D_IN];
    for row in rows.chunks_exact_mut(D_IN) {
        for _ in 0..ACTIVE {
            let (feature, value) = (generator.random_range(0..features), generator.random_range(1.0f32..2.0));
            row.iter_mut().zip(&directions[feature * D_IN..]).for_each(|(x, d)| *x += value * d);
        }
    }
    Planted { directions, rows }
}

fn config() -> TrainConfig {
    TrainConfig {
        width: Width::Features(FEATURES),
        k: ACTIVE,
        tokens: Some(400_000),
        batch: 1000,
        precision: Some(Precision::F32),
        ..TrainConfig::default()
    }
}

fn source(rows: &[f32]) -> MemoryRows {
    MemoryRows::new(rows.to_vec(), D_IN, 1000, 4).expect("enough rows")
}

fn plan(config: &TrainConfig, source: &MemoryRows) -> TrainPlan {
    config.plan(D_IN, source.rows_per_epoch()).expect("the settings fit")
}

fn run(rows: &[f32], config: &TrainConfig, out: &Path, observer: &dyn Observer) -> Result<Sae, TrainError> {
    run_with(rows, config, out, observer, false)
}

fn run_with(
    rows: &[f32],
    config: &TrainConfig,
    out: &Path,
    observer: &dyn Observer,
    force: bool,
) -> Result<Sae, TrainError> {
    let mut source = source(rows);
    let data = origin::made_up(source.rows_per_epoch());
    let runs =
        [Run { name: String::new(), column: 0, further: Vec::new(), target: None, plan: plan(config, &source), data }];
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &|_| Ok(vec![rows[..2000 * D_IN].to_vec()]),
        out,
        force,
        checkpoint_every: Some(7),
        shown: Shown::default(),
        engine: EngineKind::Native,
    };
    train(job, observer)?;
    Ok(Sae::load(out)?)
}

/// Mean over planted directions of the largest cosine with a decoder row.
fn mean_max_cosine(sae: &Sae, directions: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let best = |d: &[f32]| (0..sae.d_sae()).map(|i| dot(sae.decoder_row(i), d)).fold(0f32, f32::max);
    directions.chunks_exact(D_IN).map(best).sum::<f32>() / FEATURES as f32
}

#[test]
fn planted_features_are_found_and_only_where_there_are_any() {
    let (planted, dir) = (planted(20_000), tempfile::tempdir().expect("dir"));
    let sae = run(&planted.rows, &config(), &dir.path().join("sae"), &Silent).expect("trains");
    let found = mean_max_cosine(&sae, &planted.directions);
    // Random unit vectors reach about .45 with the best of 64.
    assert!(found > 0.95, "mean max cosine {found}");
    for feature in 0..sae.d_sae() {
        let norm: f32 = sae.decoder_row(feature).iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5, "decoder row {feature} has squared norm {norm}");
    }
    let names: Vec<_> =
        std::fs::read_dir(dir.path().join("sae")).expect("listed").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 4, "only the artefacts are left: {names:?}");
}

/// Asks to stop after so many more steps.
struct StopAfter(AtomicU64);

impl Observer for StopAfter {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Advanced { .. }) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupted_run_continues_to_the_same_bytes() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let config = TrainConfig { tokens: Some(40_000), dead_after: Some(3000), ..config() };
    let (whole, pieces) = (dir.path().join("whole"), dir.path().join("pieces"));
    run(&planted.rows, &config, &whole, &Silent).expect("trains");
    let mut stops = 0;
    for steps in [1, 2, 5, 11, 13, 100] {
        match run(&planted.rows, &config, &pieces, &StopAfter(AtomicU64::new(steps))) {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error.fault(), Fault::Interrupted, "{error}");
                stops += 1;
            }
        }
    }
    assert_eq!(stops, 5);
    for file in ["sae_weights.safetensors", "cfg.json", "training.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).expect("written");
        assert!(read(&whole) == read(&pieces), "{file} differs");
    }
    let steps = |dir: &Path| -> Vec<u64> {
        let text = std::fs::read_to_string(dir.join("metrics.jsonl")).expect("written");
        let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("json")["step"].as_u64();
        text.lines().filter_map(step).collect()
    };
    assert_eq!(steps(&whole), (1..=40).collect::<Vec<_>>());
    assert_eq!(steps(&pieces), steps(&whole), "a log of pieces is the log of the whole");
}

#[test]
fn a_run_goes_on_in_the_arithmetic_that_it_began_with_whatever_is_fastest_now() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    for precision in Precision::ALL {
        let out = dir.path().join(precision.name());
        // AuxK runs in what proposes.
        let aux_coefficient = Some(0.0);
        let asked = TrainConfig { tokens: Some(40_000), precision: Some(precision), aux_coefficient, ..config() };
        run(&planted.rows, &asked, &out, &StopAfter(AtomicU64::new(9))).expect_err("stops");
        // Nobody asks for an arithmetic now, and a timing would choose the same one for all three.
        let left_open = TrainConfig { precision: None, ..asked };
        run(&planted.rows, &left_open, &out, &Silent).expect("goes on");
        let record = std::fs::read_to_string(out.join("training.json")).expect("written");
        let record: serde_json::Value = serde_json::from_str(&record).expect("json");
        assert_eq!(record["plan"]["precision"], precision.name());
    }
    let of = |name: &str| std::fs::read(dir.path().join(name).join("sae_weights.safetensors")).expect("written");
    assert!(of("f32") == of("int8"), "what proposes decides nothing");
}

#[test]
fn abs_topk_keeps_signs_on_disk_and_however_few_rows_are_encoded() {
    let (mut planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    // Every second row says the opposite: mirrored at what all rows have in common.
    for row in planted.rows.chunks_exact_mut(D_IN).step_by(2) {
        row.iter_mut().for_each(|x| *x = 0.6 - *x);
    }
    let config = TrainConfig { kind: Kind::AbsTopK, tokens: Some(200_000), ..config() };
    let sae = run(&planted.rows, &config, &dir.path().join("sae"), &Silent).expect("trains");
    assert_eq!((sae.architecture().as_str(), sae.k()), ("abstopk", Some(ACTIVE)));
    assert!(sae.notes().iter().any(|note| note.contains("either sign")), "{:?}", sae.notes());
    let found = mean_max_cosine(&sae, &planted.directions);
    let turned: Vec<f32> = planted.directions.iter().map(|d| -d).collect();
    assert!(
        found + mean_max_cosine(&sae, &turned) > 1.2,
        "half of the directions are found the other way round: {found}"
    );
    let (mut all, mut few) = (untangle_sae::Codes::new(), untangle_sae::Codes::new());
    sae.encode(&planted.rows[..100 * D_IN], &mut all).expect("fits");
    sae.encode(&planted.rows[..8 * D_IN], &mut few).expect("fits");
    assert!(all.activations().iter().any(|f| *f < -0.1) && all.activations().iter().any(|f| *f > 0.1));
    for row in 0..100 {
        assert_eq!(all.row(row).0.len(), ACTIVE, "row {row}");
    }
    for row in 0..8 {
        assert_eq!(all.row(row).0, few.row(row).0, "row {row}");
        assert!(all.row(row).1.iter().zip(few.row(row).1).all(|(a, b)| (a - b).abs() < 1e-4), "row {row}");
    }
}

#[test]
fn killed_latents_come_back_to_life() {
    // 20 % of the encoder's biases at -2: those latents fall silent, and only AuxK can bring them back. It does while there
    // are more of them than k_aux = d_in / 2 = 16; the rest are chosen in every row, compete with nobody, and may stay.
    const MANY: usize = 256;
    let (planted, dir) = (planted_with(20_000, MANY), tempfile::tempdir().expect("dir"));
    let width = Width::Features(MANY);
    let config = TrainConfig { width, dead_after: Some(5_000), tokens: Some(300_000), ..config() };
    let out = dir.path().join("sae");
    let stopped = run(&planted.rows, &config, &out, &StopAfter(AtomicU64::new(30))).expect_err("stops");
    assert_eq!(stopped.fault(), Fault::Interrupted);
    let checkpoint = dir.path().join("sae.partial/checkpoint.safetensors");
    let killed = kill_every_fifth(&checkpoint, MANY);
    let sae = run(&planted.rows, &config, &out, &Silent).expect("continues");
    let mut codes = untangle_sae::Codes::new();
    sae.encode(&planted.rows, &mut codes).expect("fits");
    let mut firing = untangle_sae::metrics::FiringCounts::new(MANY);
    firing.update(&codes);
    let log = std::fs::read_to_string(out.join("metrics.jsonl")).expect("log");
    let dead = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("json")["dead"].as_u64();
    let most = log.lines().filter_map(dead).max().unwrap_or(0);
    assert!(most >= killed.len() as u64 - 1, "at most {most} were dead: nothing was tested");
    let alive = killed.iter().filter(|&&latent| firing.counts()[latent] > 0).count();
    assert!(alive * 2 > killed.len(), "{alive} of {} are alive", killed.len());
}

/// Lowers the biases of every fifth latent in a checkpoint's bytes; returns the latents.
fn kill_every_fifth(path: &Path, d_sae: usize) -> Vec<usize> {
    let mut bytes = std::fs::read(path).expect("checkpoint");
    let tensors = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..tensors]).expect("header");
    let offset = |tensor: &serde_json::Value, end: usize| {
        tensors + tensor["data_offsets"][end].as_u64().expect("an offset") as usize
    };
    let begin = offset(&header["b_enc.value"], 0);
    let killed: Vec<usize> = (0..d_sae).step_by(5).collect();
    for latent in &killed {
        bytes[begin + 4 * latent..begin + 4 * latent + 4].copy_from_slice(&(-2f32).to_le_bytes());
    }
    // The checksum is that of the changed tensors, or nothing would go on from them; serde_json sorts by name.
    let mut sum = crc32fast::Hasher::new();
    for (name, tensor) in header.as_object().expect("an object").iter().filter(|(name, _)| *name != "__metadata__") {
        let data = &bytes[offset(tensor, 0)..offset(tensor, 1)];
        sum.update(format!("{name} {} {}", tensor["dtype"].as_str().expect("a name"), data.len()).as_bytes());
        sum.update(data);
    }
    let old = header["__metadata__"]["crc32"].as_str().expect("a checksum");
    let text = String::from_utf8(bytes[8..tensors].to_vec()).expect("UTF-8");
    let text = text.replace(old, &format!("{:08x}", sum.finalize()));
    bytes[8..tensors].copy_from_slice(text.as_bytes());
    std::fs::write(path, bytes).expect("written");
    killed
}

#[test]
fn other_settings_and_taken_outputs_are_refused_and_nothing_is_lost() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let config = TrainConfig { tokens: Some(20_000), ..config() };
    let out = dir.path().join("sae");
    run(&planted.rows, &config, &out, &StopAfter(AtomicU64::new(3))).expect_err("stops");
    let other = TrainConfig { lr: Some(1e-3), seed: 5, ..config.clone() };
    let message = run(&planted.rows, &other, &out, &Silent).expect_err("refused").to_string();
    assert!(message.contains("plan.schedule.lr") && message.contains("plan.seed"), "{message}");
    run(&planted.rows, &config, &out, &Silent).expect("the old settings continue");
    let before = std::fs::read(out.join("sae_weights.safetensors")).expect("written");
    let error = run(&planted.rows, &other, &out, &Silent).expect_err("refused");
    assert!(matches!(error, TrainError::Exists { .. }), "{error}");
    assert!(std::fs::read(out.join("sae_weights.safetensors")).expect("kept") == before);
    run_with(&planted.rows, &other, &out, &Silent, true).expect("forced");
    assert!(std::fs::read(out.join("sae_weights.safetensors")).expect("replaced") != before);
    assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing else is left");
}

#[test]
fn rows_that_are_not_finite_are_refused_by_number() {
    let (mut planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    planted.rows[1234 * D_IN + 7] = f32::NAN;
    let error = match MemoryRows::new(planted.rows.clone(), D_IN, 1000, 4) {
        Err(error) => error.to_string(),
        Ok(_) => run(&planted.rows, &config(), &dir.path().join("sae"), &Silent).expect_err("refused").to_string(),
    };
    assert!(error.contains("1234"), "{error}");
    assert!(!dir.path().join("sae").exists());
}

#[test]
fn a_loss_that_explodes_is_an_error_that_names_the_remedy() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let config = TrainConfig { lr: Some(1e38), clip_norm: None, normalise: false, ..config() };
    let error = run(&planted.rows, &config, &dir.path().join("sae"), &Silent).expect_err("diverges");
    assert!(error.to_string().contains("lower --lr"), "{error}");
}

#[test]
fn what_a_kill_left_behind_is_neither_believed_nor_in_the_way() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let config = TrainConfig { tokens: Some(20_000), ..config() };
    let other = TrainConfig { seed: 5, ..config.clone() };
    let (clean, out) = (dir.path().join("clean"), dir.path().join("sae"));
    run(&planted.rows, &other, &clean, &Silent).expect("trains");
    // A checkpoint whose settings are unknown, a checkpoint half written, and an output half finished.
    run(&planted.rows, &config, &out, &StopAfter(AtomicU64::new(9))).expect_err("stops");
    let partial = dir.path().join("sae.partial");
    std::fs::remove_file(partial.join("plan.json")).expect("removed");
    std::fs::write(partial.join("checkpoint.safetensors.new"), "half").expect("written");
    std::fs::create_dir(partial.join("finished")).expect("made");
    std::fs::write(partial.join("finished/cfg.json"), "of another").expect("written");
    run(&planted.rows, &other, &out, &Silent).expect("trains from the beginning");
    let weights = |dir: &Path| std::fs::read(dir.join("sae_weights.safetensors")).expect("written");
    assert!(weights(&out) == weights(&clean), "the old checkpoint was believed");
    assert_eq!(std::fs::read_dir(&out).expect("listed").count(), 4);
    // A folder of somebody else's beside it.
    std::fs::create_dir(dir.path().join("sae.replaced")).expect("made");
    std::fs::write(dir.path().join("sae.replaced/cfg.json"), "old").expect("written");
    run_with(&planted.rows, &config, &out, &Silent, true).expect("forced");
    assert!(weights(&out) != weights(&clean));
    assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 3, "only the two outputs are left");
    assert_eq!(std::fs::read(dir.path().join("sae.replaced/cfg.json")).expect("kept"), b"old");
    // A dictionary that was being replaced when the process died, where two folders cannot be exchanged.
    run(&planted.rows, &other, &dir.path().join("third"), &StopAfter(AtomicU64::new(9))).expect_err("stops");
    std::fs::rename(&out, dir.path().join("third.partial/replaced")).expect("renamed");
    let before = weights(&dir.path().join("third.partial/replaced"));
    let error = run(&planted.rows, &other, &dir.path().join("third"), &Silent).expect_err("it is back");
    assert!(matches!(error, TrainError::Exists { .. }), "{error}");
    assert!(weights(&dir.path().join("third")) == before);
    // What is not of a training is neither written over nor removed.
    std::fs::write(dir.path().join("third.partial/notes.txt"), "mine").expect("written");
    let error = run_with(&planted.rows, &other, &dir.path().join("third"), &Silent, true).expect_err("refused");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read(dir.path().join("third.partial/notes.txt")).expect("kept"), b"mine");
}

#[test]
fn a_damaged_checkpoint_or_log_is_replaced_only_by_force() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let config = TrainConfig { tokens: Some(20_000), ..config() };
    for file in ["checkpoint.safetensors", "metrics.jsonl"] {
        let out = dir.path().join(file);
        run(&planted.rows, &config, &out, &StopAfter(AtomicU64::new(9))).expect_err("stops");
        let path = dir.path().join(format!("{file}.partial")).join(file);
        let mut bytes = std::fs::read(&path).expect("left");
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        let error = run(&planted.rows, &config, &out, &Silent).expect_err("damaged");
        assert!(error.fault() == Fault::BadInput && error.to_string().contains("--force"), "{error}");
        assert!(std::fs::read(&path).expect("kept") == bytes);
        run_with(&planted.rows, &config, &out, &Silent, true).expect("begun anew");
    }
}

#[test]
fn a_dictionary_at_the_name_of_unfinished_work_stays() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let config = TrainConfig { tokens: Some(5_000), ..config() };
    let (mine, out) = (dir.path().join("new.partial"), dir.path().join("new"));
    run(&planted.rows, &config, &mine, &Silent).expect("trains");
    for force in [false, true] {
        let error = run_with(&planted.rows, &config, &out, &Silent, force).expect_err("in the way");
        assert!(error.fault() == Fault::BadInput && error.to_string().contains("new.partial"), "{error}");
    }
    Sae::load(&mine).expect("still there");
}

#[test]
fn a_run_that_failed_before_it_had_learned_anything_is_in_nobodys_way() {
    let (planted, dir) = (planted(5_000), tempfile::tempdir().expect("dir"));
    let out = dir.path().join("sae");
    let wild = TrainConfig { lr: Some(1e38), clip_norm: None, normalise: false, ..config() };
    run(&planted.rows, &wild, &out, &Silent).expect_err("diverges");
    run(&planted.rows, &TrainConfig { tokens: Some(5_000), ..config() }, &out, &Silent).expect("other settings");
}
