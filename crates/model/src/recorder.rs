//! How are activations copied out of a forward pass?

use crate::error::ModelError;
use crate::hook::{Hook, Pass};
use tch::{Device, Kind, TchError, Tensor};
use untangle_schema::{HookPoint, Site};

/// Copies the activations at some hook points to host memory as f32, and ends the pass after the last of them.
#[derive(Debug)]
pub struct Recorder {
    points: Vec<HookPoint>,
    /// One buffer per point, `[rows, d]`.
    columns: Vec<Vec<f32>>,
    seen: Vec<bool>,
    /// Keys of a row of attention scores or of a pattern; none for as many as the pass has.
    context: Option<usize>,
    /// Numbers of the rows that are kept, in `[batch * seq]`; none for all that are no padding.
    rows: Option<Tensor>,
}

impl Recorder {
    /// Records at these points.
    pub fn new(points: Vec<HookPoint>) -> Self {
        let (columns, seen) = (vec![Vec::new(); points.len()], vec![false; points.len()]);
        Recorder { points, columns, seen, context: None, rows: None }
    }

    /// Gives attention scores and patterns `context` keys whatever the length of a pass, at least as many as any has.
    pub fn with_context(self, context: usize) -> Self {
        Recorder { context: Some(context), ..self }
    }

    /// Keeps these rows of every pass alone: their numbers in `[batch * seq]`, int64 `[n]`, on the model's device.
    pub fn of_rows(self, rows: Tensor) -> Self {
        Recorder { rows: Some(rows), ..self }
    }

    /// What the pass gave, one row-major `[batch * seq, d]` buffer per point in the order they were named, heads
    /// flattened; attention scores and patterns as `[batch * seq, heads * context]`, a row being what the token's queries attend to,
    /// head after head, with zeros behind the token, of scores minus infinity. Padding has no rows, and of a recorder of some rows only these have.
    pub fn columns(&self) -> Vec<&[f32]> {
        self.columns.iter().map(Vec::as_slice).collect()
    }

    /// The same, given away.
    pub fn take_columns(&mut self) -> Vec<Vec<f32>> {
        self.columns.iter_mut().map(std::mem::take).collect()
    }

    /// A point that no pass since the last call came to.
    pub fn missed(&mut self) -> Option<HookPoint> {
        let missed = self.seen.iter().position(|seen| !seen).map(|index| self.points[index]);
        self.seen.fill(false);
        missed
    }
}

impl Hook for Recorder {
    fn wants(&self, point: HookPoint) -> bool {
        self.points.contains(&point)
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        let torch = |source| ModelError::Torch { doing: "copying activations out of the pass", source };
        let rows = match point {
            HookPoint::Block { site: Site::AttnPattern, .. } => by_query(&acts, self.context, 0.0),
            HookPoint::Block { site: Site::AttnScores, .. } => by_query(&acts, self.context, f64::NEG_INFINITY),
            _ => Ok(acts.detach()),
        };
        let rows = rows.and_then(|rows| match (&self.rows, pass.mask) {
            (Some(kept), _) => rows.f_flatten(0, 1)?.f_index_select(0, kept), // [rows, ...]
            (None, Some(real)) => rows.f_index(&[Some(real)]),                // [rows, ...]
            (None, None) => Ok(rows),
        });
        let host = rows.and_then(|rows| rows.f_to_device(Device::Cpu)).and_then(|acts| acts.f_to_kind(Kind::Float));
        let host = host.and_then(|acts| acts.f_contiguous()).map_err(torch)?; // [rows, ...]
        let wanted = self.points.iter().zip(self.columns.iter_mut().zip(&mut self.seen));
        for (_, (column, seen)) in wanted.filter(|(wanted, _)| **wanted == point) {
            column.resize(host.numel(), 0.0);
            host.f_copy_data(column, host.numel()).map_err(torch)?;
            *seen = true;
        }
        Ok(acts)
    }

    fn last(&self) -> Option<HookPoint> {
        self.points.iter().max().copied()
    }
}

/// Attention weights or scores `[batch, heads, seq, keys]` as `[batch, seq, heads, context]`, `unseen` where there are no
/// keys.
fn by_query(pairs: &Tensor, context: Option<usize>, unseen: f64) -> Result<Tensor, TchError> {
    let rows = pairs.detach().f_transpose(1, 2)?;
    let missing = context.map_or(0, |context| context as i64 - rows.size()[3]);
    if missing > 0 { rows.f_pad([0, missing], "constant", unseen) } else { Ok(rows) }
}
