//! Do these models give what their `reference.safetensors` holds, at every hook point?
//!
//! `parity DIR…`: each DIR is a Hugging Face directory with a `reference.safetensors` of `tokens`, `logits` and every
//! hook point by name, as `tests/parity/make_model_fixtures.py` writes it. Prints, by model type and hook point over all
//! layers, the largest and the mean difference in units of the reference's root mean square, once with attention
//! patterns asked for and once through fused attention; exit code 1 where one is above 1e-4.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, LoadOptions, ModelError, Pass};
use untangle_schema::{HookPoint, Site};

/// Largest difference in units of the reference's root mean square.
const TOLERANCE: f64 = 1e-4;

/// Differences of one kind of hook point, in units of the reference's root mean square.
#[derive(Clone, Copy, Default)]
struct Differences {
    max: f64,
    sum: f64,
    tensors: usize,
}

impl Differences {
    fn add(&mut self, max: f64, mean: f64) {
        *self = Self { max: self.max.max(max), sum: self.sum + mean, tensors: self.tensors + 1 };
    }
}

/// By model type, order in the pass and name: with patterns, and fused.
type Table = BTreeMap<(&'static str, usize, String), [Differences; 2]>;

/// Keeps everything but what it is told to leave.
struct Recorder {
    patterns: bool,
    found: Vec<(HookPoint, Tensor)>,
}

impl Hook for Recorder {
    fn wants(&self, point: HookPoint) -> bool {
        self.patterns || !point.is_of_pairs()
    }

    fn visit(&mut self, point: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.found.push((point, acts.shallow_clone()));
        Ok(acts)
    }
}

fn main() -> ExitCode {
    let mut table = Table::new();
    let mut far = false;
    let directories: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    for directory in &directories {
        match compare(directory, &mut table) {
            Ok(agrees) => far |= !agrees,
            Err(error) => {
                println!("PROBLEM: {}: {error}", directory.display());
                far = true;
            }
        }
    }
    print(&table, directories.len());
    if far || table.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Compares one model; whether it agrees.
fn compare(directory: &Path, table: &mut Table) -> Result<bool, Box<dyn Error>> {
    let model = LanguageModel::load(directory, &LoadOptions::default())?;
    let family = model.config().family.model_type();
    let reference: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(directory.join("reference.safetensors"))?.into_iter().collect();
    let get = |name: &str| reference.get(name).ok_or_else(|| format!("the reference lacks {name}"));
    let tokens = get("tokens")?;
    let mut agrees = true;
    let mut note = |path: usize, (order, name): (usize, String), at: String, found: &Tensor, expected: &Tensor| {
        let (max, mean) = differences(found, expected);
        table.entry((family, order, name)).or_default()[path].add(max, mean);
        if !matches!(max.partial_cmp(&TOLERANCE), Some(std::cmp::Ordering::Less)) {
            println!("TOO FAR: {} {at}: {max:.1e}", directory.display());
            agrees = false;
        }
    };
    // With patterns attention takes its explicit path, without them the fused one.
    for (path, patterns) in [true, false].into_iter().enumerate() {
        let mut recorder = Recorder { patterns, found: Vec::new() };
        let logits = model.forward(tokens, &mut recorder)?.ok_or("no logits")?;
        for (point, acts) in &recorder.found {
            note(path, kind(*point), point.to_string(), &flat(*point, acts), get(&point.to_string())?);
        }
        note(path, (usize::MAX, "logits".into()), "logits".into(), &logits, get("logits")?);
        if patterns && recorder.found.len() + 2 != reference.len() {
            return Err(
                format!("{} hook points, the reference has {}", recorder.found.len(), reference.len() - 2).into()
            );
        }
    }
    Ok(agrees)
}

/// Place in the order of a pass, and name with `*` for the layer.
fn kind(point: HookPoint) -> (usize, String) {
    match point {
        HookPoint::Embed => (0, point.to_string()),
        HookPoint::Block { site, .. } => (1 + site as usize, format!("blocks.*.{}", site.name())),
        HookPoint::FinalScale => (1 + Site::ALL.len(), point.to_string()),
        HookPoint::FinalNormalized => (2 + Site::ALL.len(), point.to_string()),
    }
}

/// Heads of everything but scores and patterns flattened, as the reference has them.
fn flat(point: HookPoint, acts: &Tensor) -> Tensor {
    if point.is_of_pairs() { acts.shallow_clone() } else { acts.flatten(2, -1) }
}

/// Largest and mean |found - expected| over the root mean square of `expected`; infinite where shapes differ, or the places that
/// are minus infinity in both.
fn differences(found: &Tensor, expected: &Tensor) -> (f64, f64) {
    if found.size() != expected.size() {
        return (f64::INFINITY, f64::INFINITY);
    }
    let unseen = expected.isneginf();
    if !found.isneginf().equal(&unseen) {
        return (f64::INFINITY, f64::INFINITY);
    }
    let finite = |tensor: &Tensor| tensor.to_kind(Kind::Double).masked_fill(&unseen, 0.0);
    let (found, expected) = (finite(found), finite(expected));
    let rms = expected.square().mean(None::<Kind>).sqrt();
    let difference = (found - expected).abs() / rms;
    (difference.max().double_value(&[]), difference.mean(None::<Kind>).double_value(&[]))
}

fn print(table: &Table, models: usize) {
    println!("{models} models; differences relative to the reference's RMS");
    println!("{:44} {:>20}  {:>20}", "", "with patterns", "fused attention");
    println!("{:12} {:26}tensors {:>9} {:>9}   {:>9} {:>9}", "family", "hook point", "max", "mean", "max", "mean");
    for ((family, _, name), paths) in table {
        let columns = paths.map(|path| match path.tensors {
            0 => format!("{:>9} {:>9}", "-", "-"),
            n => format!("{:9.1e} {:9.1e}", path.max, path.sum / n as f64),
        });
        println!("{family:12} {name:26} {:6} {}   {}", paths[0].tensors, columns[0], columns[1]);
    }
}
