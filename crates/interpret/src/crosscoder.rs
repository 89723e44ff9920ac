//! How well a crosscoder reconstructs each of its activations, and how its features are shared between them.
//!
//! FVU is that of [`untangle_sae::judge`], over all parts made equally large, and of every part on its own.

use crate::bootstrap::Interval;
use crate::corpus::{rows_in, side_by_side};
use crate::error::InterpretError;
use crate::evaluate::{Evaluation, Sums};
use crate::point::columns_of;
use crate::progress::Progress;
use crate::sharing::{Sharing, absent_from, sharing};
use serde::Serialize;
use std::sync::Arc;
use untangle_sae::{Codes, Crosscoder};
use untangle_schema::{Observer, Unit};
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, Scan};

/// Rows that are read and encoded together.
const BLOCK_ROWS: usize = 4096;

/// What a crosscoder does with one of its parts, on the ordinary rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartEvaluation {
    /// The model.
    pub model: Option<String>,
    /// The hook point, or the name of a matrix.
    pub hook: String,
    /// Fraction of this part's variance unexplained; lower is better.
    pub fvu: f64,
    /// Its 95 % interval.
    pub fvu_interval: Option<Interval>,
    /// Features that are not dead and are absent from this part.
    pub absent: usize,
    /// Features that are not dead and are in this part alone.
    pub exclusive: usize,
}

/// What a crosscoder does on the evaluated rows; its features count as dead, as shared and the like on the ordinary ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrosscoderEvaluation {
    /// Over all parts, equally large.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Part by part.
    pub parts: Vec<PartEvaluation>,
    /// How the features that are not dead are shared.
    pub sharing: Sharing,
}

/// Evaluates `crosscoder` on a part of `store`, divided by `held_out`.
///
/// # Errors
/// When the store lacks a part, the rows are none, a value is not finite, or the user asks to stop.
pub fn evaluate_crosscoder(
    crosscoder: &Crosscoder,
    store: &Arc<ActivationSet>,
    held_out: &HeldOut,
    part: Part,
    observer: &dyn Observer,
) -> Result<CrosscoderEvaluation, InterpretError> {
    let columns = columns_of(crosscoder, store)?;
    let mut sums = Sums::of_crosscoder(crosscoder);
    let mut progress = Progress::start(observer, "evaluate", Unit::Rows, rows_in(store, held_out, part)?);
    let mut scan = Scan::new(Arc::clone(store), held_out, part, &columns, BLOCK_ROWS)?;
    let (mut block, mut rows, mut codes) = (RowBlock::default(), Vec::new(), Codes::new());
    while scan.next_block(&mut block)? {
        side_by_side(&block.columns, block.len(), &mut rows);
        crosscoder.encode(&rows, &mut codes)?;
        sums.add(store, &block, (&rows, &rows), &codes)?;
        progress.advance(block.len() as u64)?;
    }
    progress.finish();
    let evaluation = sums.finish(store, part)?;
    let alive = |feature: usize| sums.judge.ordinary().firing().counts()[feature] > 0;
    let sharing = sharing(crosscoder, alive);
    let fvus = sums.judge.ordinary().part_fvus().zip(&sums.parts);
    let parts = fvus.zip(crosscoder.places()).enumerate().map(|(number, ((fvu, groups), part))| PartEvaluation {
        model: part.model.clone(),
        hook: part.hook.clone().unwrap_or_default(),
        fvu,
        fvu_interval: groups.fvu_interval(),
        absent: absent_from(crosscoder, number, alive),
        exclusive: sharing.exclusive[number],
    });
    Ok(CrosscoderEvaluation { evaluation, parts: parts.collect(), sharing })
}
