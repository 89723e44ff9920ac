//! The state of a run on disk: everything that the next step depends on, in one file that appears by rename.
//!
//! The file carries a CRC-32 over the names and bytes of its tensors: what was damaged since is never gone on from.

use crate::average;
use crate::error::TrainError;
use crate::init::{held, zeros};
use crate::job::Run;
use crate::log::{Log, Mark};
use crate::scale::{DataScale, TargetScale};
use crate::state::Carried;
use crate::trained::Trained;
use crc32fast::Hasher;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::HashMap;
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

/// The name of a tensor of a dictionary; those of the only one have no prefix.
fn named(run: &Run, tensor: &str) -> String {
    if run.name.is_empty() { tensor.to_owned() } else { format!("{}/{tensor}", run.name) }
}

/// The key of the header under which the checksum stands.
pub(crate) const CHECKSUM: &str = "crc32";

/// The checksum of tensors, by name.
fn checksum<'a>(tensors: impl Iterator<Item = (String, Dtype, &'a [u8])>) -> String {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut hasher = Hasher::new();
    for (name, dtype, bytes) in tensors {
        hasher.update(format!("{name} {dtype:?} {}", bytes.len()).as_bytes());
        hasher.update(bytes);
    }
    format!("{:08x}", hasher.finalize())
}

/// Writes the states of all dictionaries, with the scales of their data and how far their logs are, to `path`.
///
/// # Errors
/// When writing fails; an older checkpoint is then still there.
pub(crate) fn save(runs: &[Run], trained: &[Trained], logs: &[Log], path: &Path) -> Result<(), TrainError> {
    let marks = logs.iter().map(Log::mark).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<Vec<u64>> = trained.iter().zip(&marks).map(|(trained, mark)| numbers(trained, *mark)).collect();
    let mut views: Vec<(String, Stored<'_>)> = Vec::new();
    for ((run, Trained { state, scale, .. }), numbers) in runs.iter().zip(trained).zip(&numbers) {
        let mut add = |tensor: &str, dtype: Dtype, len: usize, bytes| {
            views.push((named(run, tensor), Stored { dtype, shape: [len], bytes }));
        };
        for (name, parameter) in state.parameters() {
            for (part, values) in [("value", &parameter.value), ("m", &parameter.m), ("v", &parameter.v)] {
                add(&format!("{name}.{part}"), Dtype::F32, values.len(), bytemuck::cast_slice(values));
            }
        }
        for ((name, _), average) in state.parameters().into_iter().zip(&state.averages) {
            add(&format!("{name}.average"), Dtype::F32, average.len(), bytemuck::cast_slice(average));
        }
        add("mean", Dtype::F32, scale.mean.len(), bytemuck::cast_slice(&scale.mean));
        add("spread", Dtype::F32, scale.spread.len(), bytemuck::cast_slice(&scale.spread));
        add("further_factors", Dtype::F32, scale.further.len(), bytemuck::cast_slice(&scale.further));
        add("fired_at", Dtype::U64, state.fired_at.len(), bytemuck::cast_slice(&state.fired_at));
        add("counters", Dtype::U64, numbers.len(), bytemuck::cast_slice(numbers));
    }
    let io = |source: std::io::Error| TrainError::Io { path: path.to_owned(), source };
    let beside = durable::with_suffix(path, ".new");
    durable::create(&beside).map_err(io)?;
    let sum = checksum(views.iter().map(|(name, stored)| (name.clone(), stored.dtype, stored.bytes)));
    let metadata = HashMap::from([(CHECKSUM.to_owned(), sum)]);
    safetensors::serialize_to_file(views, Some(metadata), &beside).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => io(source),
        other => TrainError::Checkpoint { path: path.to_owned(), reason: other.to_string() },
    })?;
    File::open(&beside).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&beside, path).map_err(io)?;
    Ok(durable::sync_folder(path)?)
}

/// Everything of a state that is a number: steps, tokens, the data's scale, what the architecture carries, and the scale of
/// what a transcoder predicts; then how far the log is.
fn numbers(Trained { state, scale, target, .. }: &Trained, mark: Mark) -> Vec<u64> {
    let mut numbers = vec![state.step, state.tokens, u64::from(scale.factor.to_bits()), scale.variance.to_bits()];
    numbers.extend(state.carried.words());
    numbers.extend(target.iter().flat_map(|target| [u64::from(target.factor.to_bits()), target.variance.to_bits()]));
    numbers.extend([mark.bytes, u64::from(mark.crc)]);
    numbers
}

/// Reads what [`save`] wrote; none where there is no checkpoint.
///
/// # Errors
/// [`TrainError::Checkpoint`] where the file is damaged or not one of these runs.
pub(crate) fn load(runs: &[Run], path: &Path) -> Result<Option<Vec<(Trained, Mark)>>, TrainError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TrainError::Io { path: path.to_owned(), source }),
    };
    parse(runs, path, &bytes).map(Some)
}

/// The states in the bytes of the file at `path`.
pub(crate) fn parse(runs: &[Run], path: &Path, bytes: &[u8]) -> Result<Vec<(Trained, Mark)>, TrainError> {
    let wrong = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(format!("it is damaged ({e})")))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(format!("it is damaged ({e})")))?;
    let stored = header.metadata().as_ref().and_then(|metadata| metadata.get(CHECKSUM));
    match stored {
        None => return Err(wrong("it has no checksum: an older untangle wrote it".to_owned())),
        Some(sum) if *sum != checksum_of(&file) => {
            return Err(wrong("it is damaged: it does not have its checksum".to_owned()));
        }
        Some(_) => {}
    }
    runs.iter().map(|run| Reader { path, file: &file, run }.restore()).collect()
}

/// The checksum that the tensors of a file have now.
pub(crate) fn checksum_of(file: &SafeTensors<'_>) -> String {
    checksum(file.iter().map(|(name, tensor)| (name.to_owned(), tensor.dtype(), tensor.data())))
}

/// The tensors of one dictionary.
struct Reader<'a> {
    path: &'a Path,
    file: &'a SafeTensors<'a>,
    run: &'a Run,
}

impl Reader<'_> {
    fn tensor(&self, name: &str, dtype: Dtype, len: usize) -> Result<&[u8], TrainError> {
        let name = named(self.run, name);
        let wrong = |reason: String| TrainError::Checkpoint { path: self.path.to_owned(), reason };
        let tensor = self.file.tensor(&name).map_err(|_| wrong(format!("`{name}` is missing")))?;
        match tensor.dtype() == dtype && tensor.shape() == [len] {
            true => Ok(tensor.data()),
            false => Err(wrong(format!("`{name}` has another shape or type than this run's"))),
        }
    }

    fn floats(&self, name: &str, into: &mut [f32]) -> Result<(), TrainError> {
        let data = self.tensor(name, Dtype::F32, into.len())?;
        into.iter_mut().zip(data.as_chunks().0).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
        Ok(())
    }

    fn integers(&self, name: &str, len: usize) -> Result<Vec<u64>, TrainError> {
        let data = self.tensor(name, Dtype::U64, len)?;
        Ok(data.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect())
    }

    fn restore(&self) -> Result<(Trained, Mark), TrainError> {
        let plan = &self.run.plan;
        let carried = Carried::default().words();
        let of_target = 4 + carried.len();
        let of_log = of_target + if plan.d_out.is_some() { 2 } else { 0 };
        let numbers = self.integers("counters", of_log + 2)?;
        let mark = Mark { bytes: numbers[of_log], crc: numbers[of_log + 1] as u32 };
        let target = |_| TargetScale {
            factor: f32::from_bits(numbers[of_target] as u32),
            variance: f64::from_bits(numbers[of_target + 1]),
        };
        let target = plan.d_out.map(target);
        let (mut mean, mut spread) = (vec![0f32; plan.d_in], vec![0f32; plan.d_in]);
        self.floats("mean", &mut mean)?;
        self.floats("spread", &mut spread)?;
        let (factor, variance) = (f32::from_bits(numbers[2] as u32), f64::from_bits(numbers[3]));
        let mut further = vec![0f32; plan.architecture.parts() - 1];
        self.floats("further_factors", &mut further)?;
        let scale = DataScale { factor, further, mean, spread, variance };
        let mut state = zeros(plan.widths(), plan.d_sae, &plan.architecture, plan.optimiser, plan.precision());
        for (name, parameter) in state.parameters_mut() {
            for (part, values) in [("value", &mut parameter.value), ("m", &mut parameter.m), ("v", &mut parameter.v)] {
                self.floats(&format!("{name}.{part}"), values)?;
            }
        }
        if plan.ema.is_some() {
            average::begin(&mut state);
            let names: Vec<_> = state.parameters().iter().map(|(name, _)| *name).collect();
            for (name, average) in names.into_iter().zip(&mut state.averages) {
                self.floats(&format!("{name}.average"), average)?;
            }
        }
        state.narrow_encoder(&scale.spread);
        state.sum_norms();
        state.input_centre = target.map(|_| scale.mean.clone());
        state.fired_at = self.integers("fired_at", plan.d_sae)?;
        (state.step, state.tokens) = (numbers[0], numbers[1]);
        let mut words = carried;
        words.copy_from_slice(&numbers[4..of_target]);
        state.carried = Carried::from_words(words);
        let begun = state.step <= plan.schedule.steps && state.tokens <= plan.tokens();
        if !begun || state.fired_at.iter().any(|at| *at > state.tokens) {
            let reason = "its counters are none that this run can come to".to_owned();
            return Err(TrainError::Checkpoint { path: self.path.to_owned(), reason });
        }
        Ok((Trained { state, scale, target, held: held(plan) }, mark))
    }
}
