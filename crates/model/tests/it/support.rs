//! Recording hooks, small models whole and damaged, and comparisons.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use untangle_model::{Hook, LanguageModel, LoadOptions, ModelError, Pass};
use untangle_schema::{Classify, Fault, HookPoint};

/// Names of the fixtures under tests/parity/fixtures/model.
pub(crate) const FIXTURES: [&str; 13] = [
    "gpt2",
    "gpt2_by_depth",
    "gpt_neox",
    "llama",
    "llama3",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "olmo2",
    "phi3",
];

/// Directory of a fixture.
pub(crate) fn fixture_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/model").join(name)
}

/// A fixture in f32.
pub(crate) fn fixture(name: &str) -> LanguageModel {
    LanguageModel::load(&fixture_dir(name), &LoadOptions::default()).unwrap()
}

/// A copy of a fixture that can be damaged.
pub(crate) fn copy_of(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture_dir(name)).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, dir.path().join(from.file_name().unwrap())).unwrap();
    }
    dir
}

/// The error of loading `dir`, without the folder's path.
pub(crate) fn refusal(dir: &Path) -> String {
    let error = LanguageModel::load(dir, &LoadOptions::default()).expect_err("damaged");
    assert_eq!(error.fault(), Fault::BadInput, "{error}");
    error.to_string().replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

/// Writes the fixture's config with some fields replaced, and returns the error.
pub(crate) fn refusal_with(name: &str, changes: Value) -> String {
    let dir = copy_of(name);
    let path = dir.path().join("config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        json[field] = value.clone();
    }
    fs::write(&path, json.to_string()).unwrap();
    refusal(dir.path())
}

/// Keeps what it wants and changes nothing.
#[derive(Default)]
pub(crate) struct Recorder {
    /// The points to keep; all where this is none.
    pub(crate) points: Option<Vec<HookPoint>>,
    /// Points to leave out.
    pub(crate) not: Vec<HookPoint>,
    pub(crate) last: Option<HookPoint>,
    pub(crate) found: BTreeMap<HookPoint, Tensor>,
    /// Points in the order in which they came.
    pub(crate) order: Vec<HookPoint>,
}

impl Recorder {
    pub(crate) fn of(points: &[HookPoint]) -> Self {
        Self { points: Some(points.to_vec()), ..Self::default() }
    }
}

impl Hook for Recorder {
    fn wants(&self, point: HookPoint) -> bool {
        !self.not.contains(&point) && self.points.as_ref().is_none_or(|points| points.contains(&point))
    }

    fn visit(&mut self, point: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.found.insert(point, acts.copy());
        self.order.push(point);
        Ok(acts)
    }

    fn last(&self) -> Option<HookPoint> {
        self.last
    }
}

/// Replaces the activation at one point by a function of it.
pub(crate) struct Replace<F> {
    pub(crate) at: HookPoint,
    pub(crate) with: F,
}

impl<F: FnMut(&Pass<'_>, Tensor) -> Tensor> Hook for Replace<F> {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.at
    }

    fn visit(&mut self, _: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        Ok((self.with)(pass, acts))
    }
}

/// Token ids `[batch, seq]`, the same for the same arguments.
pub(crate) fn tokens(model: &LanguageModel, batch: i64, seq: i64) -> Tensor {
    let ids = Tensor::arange(batch * seq, (Kind::Int64, Device::Cpu)) * 7 + 3;
    ids.remainder(model.vocab_size() as i64).view([batch, seq])
}

/// Largest |found - expected| in units of the root mean square of `expected`; both are minus infinity at the same places,
/// which are left out.
pub(crate) fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let unseen = expected.isneginf();
    assert!(found.isneginf().equal(&unseen), "infinite elsewhere");
    let finite = |tensor: &Tensor| tensor.to_kind(Kind::Double).masked_fill(&unseen, 0.0);
    let (found, expected) = (finite(found), finite(expected));
    let rms = expected.square().mean(None::<Kind>).sqrt();
    ((found - expected).abs().max() / rms).double_value(&[])
}

/// Fails unless the two agree to `tolerance` in units of the expected root mean square.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let error = error(found, expected);
    assert!(error <= tolerance, "{what}: differs by {error:.1e} of the RMS, at most {tolerance:.0e} is allowed");
}

/// The tensors of a safetensors file.
pub(crate) fn read_tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// A folder of the test material beside the project, or none, said aloud, where it is absent.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("UNTANGLE_SHARED").map_or_else(beside, PathBuf::from);
    let dir = root.join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    assert!(std::env::var_os("CI").is_none(), "test material is missing: {}; set UNTANGLE_SHARED", dir.display());
    eprintln!("skipped: {} is not there; set UNTANGLE_SHARED", dir.display());
    None
}

/// Points whose sight takes the pass from its fused kernels, so that the last bit may differ: attention's scores and
/// patterns, and norms.
pub(crate) fn explicit(model: &LanguageModel) -> Vec<HookPoint> {
    let apart = |point: &HookPoint| point.is_of_pairs() || point.to_string().contains("ln");
    let final_normalized = HookPoint::FinalNormalized; // always computed apart
    model.hook_points().into_iter().filter(|point| apart(point) && *point != final_normalized).collect()
}
