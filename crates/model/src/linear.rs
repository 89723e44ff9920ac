//! A projection: `y = x W^T + b`.

use crate::few_rows;
use tch::Tensor;

/// One projection with its weights.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,       // [d_out, d_in]
    pub(crate) bias: Option<Tensor>, // [d_out]
}

impl Linear {
    /// `x` `[.., d_in]` to `[.., d_out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        few_rows::linear(x, &self.weight, self.bias.as_ref())
    }
}
