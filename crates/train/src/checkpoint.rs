//! The state of a run on disk: everything that the next step depends on, in one file that appears by rename.

use crate::error::TrainError;
use crate::state::{Parameter, TrainState};
use crate::{config::TrainPlan, init::DataScale};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::fs::{self, File};
use std::path::Path;
use untangle_store::durable;

/// A tensor of the file, borrowed.
struct Stored<'a> {
    dtype: Dtype,
    shape: [usize; 1],
    bytes: &'a [u8],
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes the state, the scale of the data included, to `path`.
///
/// # Errors
/// When writing fails; an older checkpoint is then still there.
pub(crate) fn save(state: &TrainState, scale: &DataScale, path: &Path) -> Result<(), TrainError> {
    let counters = [state.step, state.tokens, u64::from(scale.factor.to_bits()), scale.variance.to_bits()];
    let of_f32 = |values: &'_ [f32]| -> (Dtype, usize) { (Dtype::F32, values.len()) };
    let mut views: Vec<(String, Stored<'_>)> = Vec::new();
    let mut add = |name: String, (dtype, len): (Dtype, usize), bytes| {
        views.push((name, Stored { dtype, shape: [len], bytes }));
    };
    for (name, parameter) in state.parameters() {
        for (part, values) in [("value", &parameter.value), ("m", &parameter.m), ("v", &parameter.v)] {
            add(format!("{name}.{part}"), of_f32(values), bytemuck::cast_slice(values));
        }
    }
    add("mean".to_owned(), of_f32(&scale.mean), bytemuck::cast_slice(&scale.mean));
    add("spread".to_owned(), of_f32(&scale.spread), bytemuck::cast_slice(&scale.spread));
    add("fired_at".to_owned(), (Dtype::U64, state.fired_at.len()), bytemuck::cast_slice(&state.fired_at));
    add("counters".to_owned(), (Dtype::U64, counters.len()), bytemuck::cast_slice(&counters));
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let beside = durable::with_suffix(path, ".new");
    safetensors::serialize_to_file(views, None, &beside).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => io(source),
        other => TrainError::Checkpoint { path: path.to_owned(), reason: other.to_string() },
    })?;
    File::open(&beside).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&beside, path).map_err(io)?;
    Ok(durable::sync_folder(path)?)
}

/// Reads what [`save`] wrote; none where there is no checkpoint.
///
/// # Errors
/// [`TrainError::Checkpoint`] where the file is not one of this plan.
pub(crate) fn load(plan: &TrainPlan, path: &Path) -> Result<Option<(TrainState, DataScale)>, TrainError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TrainError::Io { path: path.to_owned(), source }),
    };
    let wrong = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
    let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
    let tensor = |name: &str, dtype: Dtype, len: usize| {
        let tensor = file.tensor(name).map_err(|_| wrong(format!("`{name}` is missing")))?;
        match tensor.dtype() == dtype && tensor.shape() == [len] {
            true => Ok(tensor.data()),
            false => Err(wrong(format!("`{name}` has another shape or type than this run's"))),
        }
    };
    let floats = |name: &str, len: usize| {
        let data = tensor(name, Dtype::F32, len)?;
        Ok::<Vec<f32>, TrainError>(data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    };
    let integers = |name: &str, len: usize| {
        let data = tensor(name, Dtype::U64, len)?;
        Ok::<Vec<u64>, TrainError>(data.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect())
    };
    let (d, f) = (plan.d_in, plan.d_sae);
    let counters = integers("counters", 4)?;
    let scale = DataScale {
        factor: f32::from_bits(counters[2] as u32),
        mean: floats("mean", d)?,
        spread: floats("spread", d)?,
        variance: f64::from_bits(counters[3]),
    };
    let mut state = TrainState::zeros(d, f, plan.k, plan.precision());
    let restore = |name: &str, parameter: &mut Parameter| {
        for (part, values) in [("value", &mut parameter.value), ("m", &mut parameter.m), ("v", &mut parameter.v)] {
            let stored = floats(&format!("{name}.{part}"), values.len())?;
            values.copy_from_slice(&stored);
        }
        Ok::<(), TrainError>(())
    };
    restore("W_enc", &mut state.w_enc)?;
    restore("b_enc", &mut state.b_enc)?;
    restore("W_dec", &mut state.w_dec)?;
    restore("b_dec", &mut state.b_dec)?;
    state.narrow_encoder(&scale.spread);
    state.fired_at = integers("fired_at", f)?;
    (state.step, state.tokens) = (counters[0], counters[1]);
    Ok(Some((state, scale)))
}
