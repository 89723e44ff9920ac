//! What people look at: the report, the event file, an average of the weights; none of it changes another's bytes.

mod origin;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use untangle_sae::{Precision, Sae};
use untangle_schema::{Event, Observer, Silent};
use untangle_store::{MemoryRows, RowSource, StoreError};
use untangle_train::{
    DataProvenance, EngineKind, Finished, Job, Kind, Run, Shown, TrainConfig, TrainError, Width, train,
};

const D_IN: usize = 16;
const BATCH: usize = 200;

fn rows(seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..2000 * D_IN).map(|_| generator.random_range(-1.0f32..1.0).powi(3)).collect()
}

fn config(kind: Kind) -> TrainConfig {
    TrainConfig {
        width: Width::Features(48),
        kind,
        k: 4,
        tokens: Some(12_000),
        batch: BATCH,
        lr: Some(1e-2),
        precision: Some(Precision::F32),
        ..TrainConfig::default()
    }
}

/// Stops after so many steps.
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

fn run(named: &[(&str, TrainConfig)], out: &Path, observer: &dyn Observer) -> Result<Vec<Finished>, TrainError> {
    let (rows, judged) = (rows(1), rows(2));
    let mut source = MemoryRows::new(rows.clone(), D_IN, BATCH, 4)?;
    let data = DataProvenance {
        stores: vec!["<script>alert(1)</script>.h5".to_owned()],
        column: "x & y".to_owned(),
        ..origin::made_up(source.rows_per_epoch())
    };
    let one = |(name, config): &(&str, TrainConfig)| Run {
        name: (*name).to_owned(),
        column: 0,
        further: Vec::new(),
        target: None,
        plan: config.plan(D_IN, source.rows_per_epoch()).expect("the settings fit"),
        data: match name.strip_prefix("of-") {
            Some(column) => DataProvenance { column: column.to_owned(), ..data.clone() },
            None => data.clone(),
        },
    };
    let runs: Vec<Run> = named.iter().map(one).collect();
    type Visit<'a> = &'a mut dyn FnMut(&[Vec<f32>], &[bool]);
    let held_out = |_: &[usize], visit: Visit<'_>| -> Result<(), StoreError> {
        judged.chunks(700 * D_IN).for_each(|rows| visit(&[rows.to_vec()], &vec![true; rows.len() / D_IN]));
        Ok(())
    };
    let job = Job {
        runs: &runs,
        source: &mut source,
        calibration: &|_| Ok(vec![rows[..500 * D_IN].to_vec()]),
        out,
        force: false,
        checkpoint_every: Some(7),
        shown: Shown { tensorboard: true, report: true, held_out: Some(&held_out) },
        engine: EngineKind::Native,
    };
    train(job, observer)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_report_shows_the_run_and_needs_nothing_but_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("sae");
    run(&[("", config(Kind::BatchTopK))], &out, &Silent).expect("trains");
    let page = text(&out.join("report.html"));
    assert!(page.contains("<h1>A dictionary of 48 features</h1>") && page.contains("x &amp; y"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "text became markup");
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page asks for {outside}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<figure>").count(), 7);
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number is none");
    // Every feature that fired is in the histogram, and the others are counted beside it.
    let counted: u64 = page
        .split(" features fire on 1 of")
        .filter_map(|before| before.rsplit("<title>").next()?.trim().parse::<u64>().ok())
        .sum();
    let dead: u64 =
        page.split(" never did in").next().and_then(|before| before.rsplit(' ').next()?.parse().ok()).expect("told");
    assert_eq!(counted + dead, 48);
}

#[test]
fn a_grid_has_a_report_and_its_members_have_those_of_their_own_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (grid, alone) = (folder.path().join("grid"), folder.path().join("alone"));
    run(&[("a", config(Kind::TopK)), ("b", config(Kind::Gated))], &grid, &Silent).expect("trains");
    run(&[("", config(Kind::Gated))], &alone, &Silent).expect("trains");
    assert_eq!(text(&grid.join("b/report.html")), text(&alone.join("report.html")));
    let page = text(&grid.join("report.html"));
    for part in ["<a href=\"a/report.html\">a</a>", "Pareto front", "held-out rows", "class=\"legend\""] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert_eq!(page.matches("<circle").count(), 2);
    assert_eq!(page.matches("Pareto front</h3>").count(), 1, "both are of one hook point");
}

#[test]
fn a_grid_over_two_hook_points_has_a_front_for_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let grid = folder.path().join("grid");
    run(&[("of-p", config(Kind::TopK)), ("of-q", config(Kind::TopK)), ("of-q2", config(Kind::Gated))], &grid, &Silent)
        .expect("trains");
    let page = text(&grid.join("report.html"));
    for part in
        ["A grid, on p, q, q2", "Pareto front of p</h3>", "Pareto front of q</h3>", "<th>of</th>", "<td>q2</td>"]
    {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    assert_eq!(page.matches("class=\"line front\"").count(), 3);
    assert_eq!(page.matches("<td>yes</td>").count(), 3, "each is alone and so the best of its own");
}

/// Lines of the log without what the clock says.
fn without_clocks(path: &Path) -> Vec<serde_json::Value> {
    let lines = text(path);
    let record = |line: &str| {
        let mut record: serde_json::Value = serde_json::from_str(line).expect("a record");
        let fields = record.as_object_mut().expect("an object");
        assert!(fields.remove("seconds").is_some() && fields.remove("time").is_some());
        record
    };
    lines.lines().map(record).collect()
}

/// Records of an event file: length, payload.
fn events(path: &Path) -> Vec<Vec<u8>> {
    let (bytes, mut at, mut all) = (fs::read(path).expect("there"), 0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight")) as usize;
        all.push(bytes[at + 12..at + 12 + length].to_vec());
        at += length + 16;
    }
    assert_eq!(at, bytes.len(), "the last record is cut short");
    all
}

#[test]
fn a_stopped_run_shows_what_one_shows_that_never_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let averaged = |kind| TrainConfig { ema: Some(0.9), ..config(kind) };
    let members = [("a", averaged(Kind::TopK)), ("b", averaged(Kind::JumpRelu)), ("c", config(Kind::TopK))];
    let (whole, stopped) = (folder.path().join("whole"), folder.path().join("stopped"));
    run(&members, &whole, &Silent).expect("trains");
    for after in [5, 17] {
        let error = run(&members, &stopped, &StopAfter(AtomicU64::new(after))).expect_err("stops");
        assert!(matches!(error, TrainError::Interrupted { .. }), "{error}");
    }
    run(&members, &stopped, &Silent).expect("goes on");
    assert_eq!(text(&whole.join("report.html")), text(&stopped.join("report.html")));
    for (name, _) in &members {
        let (whole, stopped) = (whole.join(name), stopped.join(name));
        for file in ["sae_weights.safetensors", "cfg.json", "training.json", "report.html"] {
            assert!(
                fs::read(whole.join(file)).expect("there") == fs::read(stopped.join(file)).expect("there"),
                "{file}"
            );
        }
        assert_eq!(without_clocks(&whole.join("metrics.jsonl")), without_clocks(&stopped.join("metrics.jsonl")));
        let [a, b] = [&whole, &stopped].map(|dir| events(&dir.join("events.out.tfevents.untangle")));
        // One for the version and one for each of 60 steps; the nine bytes of the time differ.
        assert_eq!((a.len(), b.len()), (61, 61));
        assert!(a.iter().zip(&b).all(|(a, b)| a[9..] == b[9..]), "{name}: events differ");
    }
}

#[test]
fn an_average_is_saved_with_unit_rows_and_none_is_the_weights_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let trained = |name: &str, ema| {
        let out = folder.path().join(name);
        run(&[("", TrainConfig { ema, ..config(Kind::TopK) })], &out, &Silent).expect("trains");
        Sae::load(&out).expect("loads")
    };
    let (plain, zero, averaged) = (trained("plain", None), trained("zero", Some(0.0)), trained("averaged", Some(0.9)));
    assert_eq!(plain.parts().w_enc[..], zero.parts().w_enc[..]);
    assert_ne!(plain.parts().w_enc[..], averaged.parts().w_enc[..]);
    for feature in 0..48 {
        let norm: f32 = averaged.decoder_row(feature).iter().map(|w| w * w).sum();
        assert!((norm - 1.0).abs() < 1e-5, "row {feature} has norm {norm}");
    }
}
