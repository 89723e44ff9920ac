//! What do dictionaries and directions say of the tokens of a pass, where a change depends on it?

use super::dictionary::Part;
use super::step::{Direction, dot, norm};
use crate::error::InterpretError;
use crate::intervene::flat;
use tch::{Kind, Tensor};
use untangle_sae::Sae;
use untangle_schema::HookPoint;

/// What a dictionary reads in the pass at hand, token by token, as it arrives at each hook point.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) parts: Vec<Part>,
    /// Features whose activations are wanted, ascending; none where the scale of rows alone is.
    features: Vec<usize>,
    /// Numbers of the rows that are heard, in `[batch * seq]`, ascending.
    pub(super) rows: Vec<i64>,
    read: Vec<f32>,        // [rows, d_in]
    activations: Vec<f32>, // [rows, features]
}

impl Reader {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Reader { parts, features: Vec::new(), rows: Vec::new(), read: Vec::new(), activations: Vec::new() }
    }

    /// Has a feature's activation known.
    pub(super) fn listen_for(&mut self, feature: usize) {
        if let Err(at) = self.features.binary_search(&feature) {
            self.features.insert(at, feature);
        }
    }

    /// The point after which it knows all.
    pub(super) fn last(&self) -> HookPoint {
        self.parts.iter().map(|part| part.point).max().expect("a dictionary reads something")
    }

    /// Hears `all`, `[batch * seq, width]`, at a point.
    pub(super) fn hear(&mut self, point: HookPoint, all: &Tensor, sae: &Sae) -> Result<(), InterpretError> {
        let d_in = sae.d_in();
        for part in self.parts.iter().filter(|part| part.point == point) {
            let heard = on_host(all, &self.rows)?; // [rows, width]
            self.read.resize(self.rows.len() * d_in, 0.0);
            for (row, heard) in self.read.chunks_exact_mut(d_in).zip(heard.chunks_exact(part.width)) {
                row[part.first..part.first + part.width].copy_from_slice(heard);
            }
        }
        if point == self.last() {
            self.activations = sae.activations(&self.read, &self.features)?;
        }
        Ok(())
    }

    /// What is read of a row of the pass.
    pub(super) fn read(&self, row: i64, sae: &Sae) -> &[f32] {
        let at = self.place(row);
        &self.read[at * sae.d_in()..(at + 1) * sae.d_in()]
    }

    /// The activation of a feature that was [listened for](Self::listen_for), on a row of the pass.
    pub(super) fn activation(&self, row: i64, feature: usize) -> f32 {
        let at = self.features.binary_search(&feature).expect("every feature that is asked for was listened for");
        self.activations[self.place(row) * self.features.len() + at]
    }

    fn place(&self, row: i64) -> usize {
        self.rows.binary_search(&row).expect("every row that is asked for was heard")
    }
}

/// What lies along a direction in the pass at hand, token by token.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) direction: Direction,
    pub(super) rows: Vec<i64>,
    /// What lies along it, and the norm of the whole.
    found: Vec<(f32, f32)>,
}

impl Probe {
    pub(super) fn new(direction: Direction) -> Self {
        Probe { direction, rows: Vec::new(), found: Vec::new() }
    }

    /// Hears `all`, `[batch * seq, width]`.
    pub(super) fn hear(&mut self, all: &Tensor) -> Result<(), InterpretError> {
        let (unit, heard) = (&self.direction.unit, on_host(all, &self.rows)?);
        let of_row = |row: &[f32]| (dot(row, unit) as f32, norm(row) as f32);
        self.found = heard.chunks_exact(unit.len()).map(of_row).collect();
        Ok(())
    }

    /// What lies along it on a row, and the norm of the whole.
    pub(super) fn found(&self, row: i64) -> (f32, f32) {
        self.found[self.rows.binary_search(&row).expect("every row that is asked for was heard")]
    }
}

/// Some rows of `all`, `[n, width]`, on the host in f32, which holds every kind exactly.
pub(super) fn on_host(all: &Tensor, rows: &[i64]) -> Result<Vec<f32>, InterpretError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    flat(&some_rows(all, rows).to_kind(Kind::Float))
}

/// Some rows of `all`, ascending; itself where they are all.
pub(super) fn some_rows(all: &Tensor, rows: &[i64]) -> Tensor {
    match rows.len() as i64 == all.size()[0] {
        true => all.shallow_clone(),
        false => all.index_select(0, &Tensor::from_slice(rows).to_device(all.device())),
    }
}
