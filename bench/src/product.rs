//! The encoder product alone, as libtorch does it: what no training step can avoid.

use tch::{Device, Kind, Tensor};

/// Operands of `x W_encᵀ`, in one kind.
pub(crate) struct Product {
    x: Tensor,
    w: Tensor,
    rows: i64,
}

impl Product {
    /// Random rows `[batch, d_in]` and weights `[d_sae, d_in]`.
    pub(crate) fn new(kind: Kind, batch: usize, d_in: usize, d_sae: usize) -> Self {
        let random = |n: usize| Tensor::randn([n as i64, d_in as i64], (Kind::Float, Device::Cpu)).to_kind(kind);
        Product { x: random(batch), w: random(d_sae).tr(), rows: batch as i64 }
    }

    /// The whole product at once, its result `[batch, d_sae]` written to memory.
    pub(crate) fn whole(&self) {
        let _ = self.x.matmul(&self.w);
    }

    /// The product in chunks of rows whose results are dropped at once: nearer to what the silicon can do.
    pub(crate) fn chunked(&self, chunk: i64) {
        for first in (0..self.rows).step_by(chunk as usize) {
            let _ = self.x.narrow(0, first, chunk.min(self.rows - first)).matmul(&self.w);
        }
    }
}
