//! Where every feature fires, as delphi caches it (`delphi/latents/cache.py`, read by `LatentDataset` of `delphi/latents/loader.py`).
//!
//! ```text
//! latents/HOOK/FIRST_LAST.safetensors    a part of the features, LAST included
//!     locations    [n, 3]                context, position in it, feature - FIRST; by context and position
//!     activations  [n] f16
//!     tokens       [contexts, tokens of the longest], the same in every part
//! latents/HOOK/config.json
//! ```
//!
//! Special tokens have no features here, as everywhere. Contexts that are shorter than the longest end in copies of a special token, on
//! which nothing fires either.

use super::plan::ExportPlan;
use crate::database::Run;
use crate::error::InterpretError;
use crate::point::column_of;
use crate::progress::Progress;
use half::f16;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use untangle_sae::{Codes, Sae};
use untangle_schema::capture::row_flags;
use untangle_schema::{Observer, Unit};
use untangle_store::{ActivationSet, RowBlock, StoreError};

/// The folder that delphi is given.
pub(super) const FOLDER: &str = "latents";
/// Parts of the features (delphi's own default).
const PARTS: usize = 5;
/// Weaker activations are left out, as delphi leaves them out.
const LEAST: f32 = 1e-5;
/// Rows that are encoded together.
const BLOCK_ROWS: u64 = 4096;

/// The contexts of a store, one behind the other and all of one length.
struct Contexts {
    tokens: Vec<u32>,
    length: usize,
    n: usize,
}

/// One part of the features while it grows. What lies in it is known before how much it is, so that it has files of its own.
struct Part {
    features: Range<usize>,
    path: PathBuf,
    locations: BufWriter<File>,
    activations: BufWriter<File>,
    n: u64,
}

pub(super) fn write(
    run: &Run,
    plan: &ExportPlan<'_>,
    root: &Path,
    observer: &dyn Observer,
) -> Result<usize, InterpretError> {
    let (Some(sae), Some(store)) = (plan.sae, plan.store) else { return Err(InterpretError::NothingToEncode) };
    if store.manifest().is_none() {
        return Err(InterpretError::NoTokens { store: store.name() });
    }
    let column = column_of(sae, store, None)?;
    let hook = store.columns()[column].name.clone();
    let folder = root.join(FOLDER).join(&hook);
    let failed = |source| StoreError::Io { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    let contexts = Contexts::of(store)?;
    let is_wide = [contexts.n, contexts.length, sae.d_sae().div_ceil(PARTS) + 1].iter().any(|n| *n > 1 << 16);
    let ends: Vec<usize> = (0..=PARTS).map(|at| at * sae.d_sae() / PARTS).collect();
    let parts = ends.windows(2).filter(|ends| ends[0] < ends[1]);
    let mut parts =
        parts.map(|ends| Part::create(&folder, ends[0]..ends[1])).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    encode(&mut parts, sae, store, column, is_wide, &folder, observer)?;
    let n_parts = parts.len();
    parts.into_iter().try_for_each(|part| part.join(&contexts, is_wide)).map_err(failed)?;
    let model = run.model.as_ref().map_or(&plan.model_id, |model| &model.name);
    let config = json!({
        "dataset_repo": run.store, "dataset_split": "", "dataset_name": "", "dataset_column": "text", "batch_size": 1,
        "cache_ctx_len": contexts.length, "n_tokens": store.n_rows(), "n_splits": n_parts, "model_name": model,
    });
    fs::write(folder.join("config.json"), config.to_string()).map_err(failed)?;
    Ok(n_parts + 1)
}

/// All rows of a store, each with what fires on it.
fn encode(
    parts: &mut [Part],
    sae: &Sae,
    store: &ActivationSet,
    column: usize,
    is_wide: bool,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<(), InterpretError> {
    let mut progress = Progress::start(observer, "encode", Unit::Rows, store.n_rows());
    let (mut block, mut codes, mut context) = (RowBlock::default(), Codes::new(), None::<u32>);
    for from in (0..store.n_rows()).step_by(BLOCK_ROWS as usize) {
        store.read_rows(from..(from + BLOCK_ROWS).min(store.n_rows()), &[column], &mut block)?;
        sae.encode(&block.columns[0], &mut codes)?;
        for row in 0..block.len() {
            let position = block.positions[row];
            if position == 0 || context.is_none() {
                context = Some(context.map_or(0, |context| context + 1));
            }
            if block.flags[row] & row_flags::ANY_SPECIAL == 0 {
                let place = [context.unwrap_or(0), position];
                put(parts, place, codes.row(row), is_wide).map_err(StoreError::io(folder))?;
            }
        }
        progress.advance(block.len() as u64)?;
    }
    progress.finish();
    Ok(())
}

/// What fires on a row, each feature in its part.
fn put(parts: &mut [Part], place: [u32; 2], row: (&[u32], &[f32]), is_wide: bool) -> io::Result<()> {
    for (feature, activation) in row.0.iter().zip(row.1).filter(|(_, activation)| activation.abs() > LEAST) {
        let at = parts.partition_point(|part| part.features.end <= *feature as usize);
        let part = &mut parts[at]; // The parts cover all features.
        let within = *feature - part.features.start as u32;
        for number in [place[0], place[1], within] {
            match is_wide {
                true => part.locations.write_all(&number.to_le_bytes())?,
                // Nothing is wider, or all would be wide.
                false => part.locations.write_all(&(number as u16).to_le_bytes())?,
            }
        }
        // The largest that there is, where f16 has no number as large.
        let activation = f16::from_f32(activation.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
        part.activations.write_all(&activation.to_le_bytes())?;
        part.n += 1;
    }
    Ok(())
}

impl Contexts {
    fn of(store: &ActivationSet) -> Result<Self, InterpretError> {
        let (mut all, mut starts, mut filler, mut block) = (Vec::new(), Vec::new(), 0, RowBlock::default());
        for from in (0..store.n_rows()).step_by(BLOCK_ROWS as usize) {
            store.read_rows(from..(from + BLOCK_ROWS).min(store.n_rows()), &[], &mut block)?;
            for row in 0..block.len() {
                if block.positions[row] == 0 || starts.is_empty() {
                    starts.push(all.len());
                }
                if block.flags[row] & row_flags::ANY_SPECIAL != 0 {
                    filler = block.tokens[row];
                }
                all.push(block.tokens[row]);
            }
        }
        let n = starts.len();
        starts.push(all.len());
        let length = starts.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        let mut tokens = Vec::with_capacity(n * length);
        for ends in starts.windows(2) {
            tokens.extend(&all[ends[0]..ends[1]]);
            tokens.resize(tokens.len().next_multiple_of(length.max(1)), filler);
        }
        Ok(Contexts { tokens, length, n })
    }
}

impl Part {
    fn create(folder: &Path, features: Range<usize>) -> io::Result<Self> {
        let path = folder.join(format!("{}_{}.safetensors", features.start, features.end - 1));
        let begin = |name: &str| File::create_new(path.with_extension(name)).map(BufWriter::new);
        let (locations, activations) = (begin("locations.part")?, begin("activations.part")?);
        Ok(Part { features, locations, activations, path, n: 0 })
    }

    /// Joins the tensors under their header.
    fn join(mut self, contexts: &Contexts, is_wide: bool) -> io::Result<()> {
        self.locations.flush()?;
        self.activations.flush()?;
        let (dtype, size) = if is_wide { ("U32", 4) } else { ("U16", 2) };
        let ends = [8 * contexts.tokens.len() as u64, 3 * size * self.n, 2 * self.n];
        let ends: Vec<u64> = ends
            .iter()
            .scan(0, |end, size| {
                *end += size;
                Some(*end)
            })
            .collect();
        let header = json!({
            "tokens": { "dtype": "I64", "shape": [contexts.n, contexts.length], "data_offsets": [0, ends[0]] },
            "locations": { "dtype": dtype, "shape": [self.n, 3], "data_offsets": [ends[0], ends[1]] },
            "activations": { "dtype": "F16", "shape": [self.n], "data_offsets": [ends[1], ends[2]] },
        })
        .to_string();
        // Padded, so that the tensors are aligned.
        let header = format!("{header:<width$}", width = header.len().next_multiple_of(8));
        let mut out = BufWriter::new(File::create_new(&self.path)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        contexts.tokens.iter().try_for_each(|token| out.write_all(&i64::from(*token).to_le_bytes()))?;
        for name in ["locations.part", "activations.part"] {
            let path = self.path.with_extension(name);
            io::copy(&mut File::open(&path)?, &mut out)?;
            fs::remove_file(&path)?;
        }
        out.flush()
    }
}

/// Whether a file is one of a hook point's folder, finished or not.
pub(super) fn is_file(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let is_part = || {
        let (range, end) = name.split_once('.')?;
        let (first, last) = range.split_once('_')?;
        let ends = ["safetensors", "locations.part", "activations.part"];
        Some(is_number(first) && is_number(last) && ends.contains(&end))
    };
    name == "config.json" || is_part() == Some(true)
}
