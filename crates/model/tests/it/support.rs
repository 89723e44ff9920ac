//! Recording hooks, small models and comparisons.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};
use untangle_model::{Hook, LanguageModel, LoadOptions, ModelError, Pass};
use untangle_schema::HookPoint;

/// Names of the fixtures under tests/parity/fixtures/model.
pub(crate) const FIXTURES: [&str; 3] = ["gpt2", "llama", "llama3"];

/// Directory of a fixture.
pub(crate) fn fixture_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/model").join(name)
}

/// A fixture in f32.
pub(crate) fn fixture(name: &str) -> LanguageModel {
    LanguageModel::load(&fixture_dir(name), &LoadOptions::default()).unwrap()
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

/// Largest |found - expected| in units of the root mean square of `expected`.
pub(crate) fn error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
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
