//! One transformer block: `mid = x + attention(norm(x))`, `out = mid + mlp(norm(mid))`.

use crate::attention::{Attention, Surroundings};
use crate::cache::LayerCache;
use crate::mlp::Mlp;
use crate::norm::Norm;
use crate::tap::{Flow, Tap};
use tch::Tensor;
use untangle_schema::{HookPoint, Site};

/// One transformer block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) ln1: Norm,
    pub(crate) attention: Attention,
    pub(crate) ln2: Norm,
    pub(crate) mlp: Mlp,
}

impl Block {
    /// The residual stream `[batch, seq, d_model]` through this block, same shape.
    pub(crate) fn forward(
        &self,
        stream: Tensor,
        layer: usize,
        surroundings: &Surroundings,
        cache: Option<&mut LayerCache>,
        tap: &mut Tap<'_>,
    ) -> Flow<Tensor> {
        let at = |site| HookPoint::block(layer, site);
        let pre = tap.at(at(Site::ResidPre), stream)?;

        let attn_out = self.attention.forward(&self.ln1.forward(&pre), layer, surroundings, cache, tap)?;
        let attn_out = tap.at(at(Site::AttnOut), attn_out)?;
        let mid = tap.at(at(Site::ResidMid), pre + attn_out)?;

        let mlp_out = self.mlp.forward(&self.ln2.forward(&mid), layer, tap)?;
        let mlp_out = tap.at(at(Site::MlpOut), mlp_out)?;
        tap.at(at(Site::ResidPost), mid + mlp_out)
    }
}
