//! What stands in for an activation when a dictionary is judged by the model's loss: its reconstruction, nothing, or
//! the mean.

use crate::error::InterpretError;
use crate::intervene::{Intervene, Rewrite, on_host};
use tch::Tensor;
use untangle_sae::{Codes, Sae};

/// Replaces every row by its reconstruction, `decode(encode(x))`; by a transcoder's prediction of it where that is one.
#[derive(Debug)]
pub struct Splice<'a> {
    sae: &'a Sae,
    codes: Codes,
}

impl<'a> Splice<'a> {
    /// Splices in the reconstructions of `sae`.
    pub fn new(sae: &'a Sae) -> Self {
        Self { sae, codes: Codes::new() }
    }
}

impl Intervene for Splice<'_> {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(self, rows, read)
    }
}

impl Rewrite for Splice<'_> {
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError> {
        self.sae.encode(read.unwrap_or(rows), &mut self.codes)?;
        match read {
            Some(read) => self.sae.reconstruct(read, &self.codes, rows)?,
            None => {
                let read = rows.to_vec();
                self.sae.reconstruct(&read, &self.codes, rows)?;
            }
        }
        Ok(true)
    }
}

/// Replaces every row by zeros.
#[derive(Clone, Copy, Debug)]
pub struct Zero;

impl Intervene for Zero {
    fn intervene(&mut self, rows: &Tensor, _: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        Ok(Some(rows.zeros_like()))
    }
}

/// Replaces every row by one and the same.
#[derive(Clone, Debug)]
pub struct Mean {
    /// The row, `[d]`.
    pub mean: Vec<f32>,
}

impl Intervene for Mean {
    fn intervene(&mut self, rows: &Tensor, _: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        let mean = Tensor::from_slice(&self.mean).to_kind(rows.kind()).to_device(rows.device());
        Ok(Some(mean.expand_as(rows).contiguous()))
    }
}

/// Changes nothing and sums what it sees.
#[derive(Clone, Debug)]
pub struct Watch {
    rows: u64,
    sum: Vec<f64>,
}

impl Watch {
    /// Watches rows of `width` columns.
    pub fn new(width: usize) -> Self {
        Self { rows: 0, sum: vec![0.0; width] }
    }

    /// The mean of what was seen, `[width]`; zeros where nothing was.
    pub fn mean(&self) -> Vec<f32> {
        self.sum.iter().map(|sum| (sum / self.rows.max(1) as f64) as f32).collect()
    }
}

impl Intervene for Watch {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(self, rows, read)
    }
}

impl Rewrite for Watch {
    fn rewrite(&mut self, rows: &mut [f32], _: Option<&[f32]>) -> Result<bool, InterpretError> {
        for row in rows.chunks_exact(self.sum.len()) {
            self.rows += 1;
            self.sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        Ok(false)
    }
}
