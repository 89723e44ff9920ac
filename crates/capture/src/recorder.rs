//! How are activations copied out of a forward pass?

use tch::{Device, Kind, Tensor};
use untangle_model::{Hook, ModelError, Pass};
use untangle_schema::HookPoint;

/// Copies the activations at some hook points to host memory as f32, and ends the pass after the last of them.
#[derive(Debug)]
pub struct Recorder {
    points: Vec<HookPoint>,
    /// One buffer per point, `[rows, d]`.
    columns: Vec<Vec<f32>>,
    seen: Vec<bool>,
}

impl Recorder {
    /// Records at these points.
    pub fn new(points: Vec<HookPoint>) -> Self {
        let (columns, seen) = (vec![Vec::new(); points.len()], vec![false; points.len()]);
        Recorder { points, columns, seen }
    }

    /// What the pass gave, one row-major `[batch * seq, d]` buffer per point in the order they were named, heads
    /// flattened.
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

    fn visit(&mut self, point: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        let Some(index) = self.points.iter().position(|wanted| *wanted == point) else { return Ok(acts) };
        let torch = |source| ModelError::Torch { doing: "copying activations out of the pass", source };
        let host = acts.detach().f_to_device(Device::Cpu).and_then(|acts| acts.f_to_kind(Kind::Float));
        let host = host.and_then(|acts| acts.f_contiguous()).map_err(torch)?; // [batch, seq, ...]
        let column = &mut self.columns[index];
        column.resize(host.numel(), 0.0);
        host.f_copy_data(column, host.numel()).map_err(torch)?;
        self.seen[index] = true;
        Ok(acts)
    }

    fn last(&self) -> Option<HookPoint> {
        self.points.iter().max().copied()
    }
}
