//! Losses, gradients and weights of a few steps of every architecture against a record that lies beside this file.
//!
//! A change of structure must reproduce the record to the bit on the machine that wrote it; on another machine, where
//! products round differently, the record is met within a tolerance. `UNTANGLE_REFERENCE=write` writes the record anew,
//! `UNTANGLE_REFERENCE=exact` compares every digit and the checksums of the weights.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
use std::path::Path;
use untangle_sae::Precision;
use untangle_train::activity::{Batch, Scaled};
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
use untangle_train::constraint::Held;
use untangle_train::init::initial;
use untangle_train::state::TrainState;
use untangle_train::step::{StepReport, StepSettings, Workspace, step};
use untangle_train::{Architecture, Optimiser, Penalty, Prefixes, Sparsity};

const D_IN: usize = 48;
const D_OUT: usize = 20;
const D_SAE: usize = 160;
const K: usize = 6;
const ROWS: usize = 300;
const STEPS: u64 = 24;

/// What losses and gradients may differ by from one machine to another, relative to their size: twenty-four steps of f32
/// sums in another order, and now and then another latent in the last place of the chosen.
const TOLERANCE: f64 = 2e-3;

fn architectures() -> Vec<(&'static str, Architecture)> {
    let l0 = K as f64;
    let sparsity = Sparsity { coefficient: 0.3, l0: Some(8.0), warm_up: 3, steps: STEPS };
    let jump = |penalty| JumpRelu { penalty, sparsity, bandwidth: 0.5, threshold: 0.4 }.into();
    let nested = |prefixes| Matryoshka { k: K, l0, prefixes }.into();
    vec![
        ("topk", TopK { k: K }.into()),
        ("abs-topk", AbsTopK { k: K }.into()),
        ("batch-topk", BatchTopK { k: K, l0 }.into()),
        ("matryoshka fixed", nested(Prefixes::Fixed(vec![10, 40, D_SAE]))),
        ("matryoshka random", nested(Prefixes::Random(5))),
        ("jump-relu step", jump(Penalty::Step)),
        ("jump-relu quadratic", jump(Penalty::Quadratic { target: 8.0 })),
        ("jump-relu tanh", jump(Penalty::Tanh)),
        ("relu", Relu { sparsity }.into()),
        ("gated", Gated { sparsity }.into()),
        ("p-anneal", PAnneal { sparsity, begin: 4, steps: STEPS, end: 0.2 }.into()),
        ("transcoder", Transcoder { k: K, l0 }.into()),
        ("skip-transcoder", SkipTranscoder { k: K, l0 }.into()),
        ("crosscoder", Crosscoder { k: K, l0, parts: 3 }.into()),
        ("crosscoder-l1", CrosscoderL1 { sparsity, parts: 3 }.into()),
    ]
}

/// Rows that are sums of a few of a hundred directions.
fn rows(step: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let directions: Vec<f32> = (0..100 * D_IN).map(|_| generator.random_range(-1.0f32..1.0)).collect();
    let mut generator = ChaCha8Rng::seed_from_u64(100 + step);
    let mut rows = vec![0.1f32; ROWS * D_IN];
    for row in rows.chunks_exact_mut(D_IN) {
        for _ in 0..K {
            let (at, value) = (generator.random_range(0..100), generator.random_range(0.2f32..1.5));
            row.iter_mut().zip(&directions[at * D_IN..]).for_each(|(x, d)| *x += value * d);
        }
    }
    rows
}

/// What a transcoder predicts of rows.
fn target(rows: &[f32]) -> Vec<f32> {
    let row = |x: &[f32]| (0..D_OUT).map(|at| x[at] * x[at + 1] + 0.5 * x[at + 2]).collect::<Vec<_>>();
    rows.chunks_exact(D_IN).flat_map(row).collect()
}

/// The columns of a part of a crosscoder.
fn part(rows: &[f32], part: usize, parts: usize) -> Vec<f32> {
    let width = D_IN / parts;
    rows.chunks_exact(D_IN).flat_map(|row| row[part * width..(part + 1) * width].to_vec()).collect()
}

struct Training {
    architecture: Architecture,
    state: TrainState,
    workspace: Workspace,
    parts: usize,
}

impl Training {
    fn of(architecture: &Architecture, precision: Precision) -> Self {
        let d_out = if architecture.is_transcoder() { D_OUT } else { D_IN };
        let state = initial(D_IN, D_SAE, architecture, Optimiser::Adam, 3, &vec![0.1; d_out], precision);
        Training {
            architecture: architecture.clone(),
            state,
            workspace: Workspace::default(),
            parts: architecture.parts(),
        }
    }

    fn step(&mut self, number: u64, clip_norm: f32) -> StepReport {
        let rows = rows(number);
        let target = target(&rows);
        let parts: Vec<Vec<f32>> = (0..self.parts).map(|number| part(&rows, number, self.parts)).collect();
        let batch = Batch {
            inputs: parts.iter().map(|rows| Scaled { rows, factor: 0.9 }).collect(),
            target: self.state.input_centre.as_ref().map(|_| Scaled { rows: &target, factor: 1.1 }),
        };
        let settings = StepSettings {
            architecture: &self.architecture,
            held: &Held::default(),
            clip_norm,
            aux_coefficient: 0.5,
            dead_after: 900,
        };
        step(&mut self.state, &batch, 0.01, &settings, &mut self.workspace).expect("steps")
    }

    /// Length and sum of the gradient of every parameter in the first step, which leaves a tenth of it as first moment.
    fn gradients(architecture: &Architecture) -> Vec<(String, [f64; 2])> {
        let mut training = Self::of(architecture, Precision::F32);
        training.step(0, f32::INFINITY);
        let figures = |values: &[f32]| {
            let wide = || values.iter().map(|v| 10.0 * f64::from(*v));
            [wide().map(|v| v * v).sum::<f64>().sqrt(), wide().sum()]
        };
        training.state.parameters().into_iter().map(|(name, p)| (name.to_owned(), figures(&p.m))).collect()
    }

    fn checksum(&self) -> String {
        let mut hasher = crc32fast::Hasher::new();
        for (_, parameter) in self.state.parameters() {
            for values in [&parameter.value, &parameter.m, &parameter.v] {
                hasher.update(bytemuck::cast_slice(values));
            }
        }
        format!("{:08x}", hasher.finalize())
    }
}

/// The record: a line of a name and numbers for everything that is compared.
fn record() -> String {
    let mut out = String::new();
    let mut line = |name: String, values: &[f64]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:.8e}")).collect();
        writeln!(out, "{name}: {}", values.join(" ")).expect("a string");
    };
    let mut sums = Vec::new();
    for (name, architecture) in architectures() {
        for (parameter, figures) in Training::gradients(&architecture) {
            line(format!("{name}, gradient of {parameter}"), &figures);
        }
        let mut training = Training::of(&architecture, Precision::F32);
        let reports: Vec<StepReport> = (0..STEPS).map(|number| training.step(number, 1.0)).collect();
        let of = |figure: fn(&StepReport) -> f64| reports.iter().map(figure).collect::<Vec<_>>();
        line(format!("{name}, loss"), &of(|report| report.loss));
        line(format!("{name}, penalty"), &of(|report| report.penalty));
        line(format!("{name}, auxiliary loss"), &of(|report| report.aux_loss));
        line(format!("{name}, norm"), &of(|report| report.grad_norm));
        line(format!("{name}, active"), &of(|report| report.l0));
        let mut others = Vec::new();
        for precision in [Precision::Bf16, Precision::Int8] {
            let mut training = Training::of(&architecture, precision);
            for number in 0..STEPS {
                training.step(number, 1.0);
            }
            others.push(training.checksum());
        }
        sums.push(format!("# {name}: {} {}", training.checksum(), others.join(" ")));
    }
    out + &sums.join("\n") + "\n"
}

/// Compares a line's numbers; what is small beside the largest of them may differ by as much.
fn agrees(found: &str, expected: &str) -> bool {
    let split = |line: &str| {
        let (name, values) = line.split_once(": ").unwrap_or((line, ""));
        (name.to_owned(), values.split(' ').filter_map(|value| value.parse::<f64>().ok()).collect::<Vec<_>>())
    };
    let ((name, found), (of, expected)) = (split(found), split(expected));
    let largest = expected.iter().fold(1e-3f64, |largest, value| largest.max(value.abs()));
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE * largest;
    name == of && found.len() == expected.len() && found.iter().zip(&expected).all(close)
}

#[test]
fn steps_of_every_architecture_are_what_they_were() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/record.txt");
    let wanted = std::env::var("UNTANGLE_REFERENCE").unwrap_or_default();
    let found = record();
    if wanted == "write" {
        std::fs::write(&path, &found).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("the record");
    let exact = wanted == "exact";
    let lines =
        |text: &str| text.lines().filter(|l| exact || !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    let (found, expected) = (lines(&found), lines(&expected));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let same = if exact { found == expected } else { agrees(found, expected) };
        assert!(same, "found    {found}\nexpected {expected}");
    }
}
