//! One transformer block: `mid = x + attention(norm(x))`, `out = mid + mlp(norm(mid))`.
//!
//! A parallel block's MLP reads `x` as attention does: `out = x + attention(norm(x)) + mlp(norm'(x))` (Black et al.,
//! arXiv 2204.06745 section 2.1). Some families norm what attention and MLP write, instead of what they read or beside
//! it (OLMo Team, arXiv 2501.00656 section 2; Gemma Team, arXiv 2408.00118 section 2).

use crate::attention::Attention;
use crate::cache::LayerCache;
use crate::mlp::Mlp;
use crate::norm::{Norm, NormPoints};
use crate::surroundings::Surroundings;
use crate::tap::{Flow, Tap};
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_schema::{HookPoint, Site};

/// One transformer block.
#[derive(Debug)]
pub(crate) struct Block {
    /// On what attention reads.
    pub(crate) ln1: Option<Norm>,
    pub(crate) attention: Attention,
    /// On what attention writes.
    pub(crate) ln1_post: Option<Norm>,
    /// On what the MLP reads.
    pub(crate) ln2: Option<Norm>,
    pub(crate) mlp: Mlp,
    /// On what the MLP writes.
    pub(crate) ln2_post: Option<Norm>,
    /// Whether the MLP reads what attention reads.
    pub(crate) parallel: bool,
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

        let ln1 = NormPoints { scale: at(Site::Ln1Scale), normalized: at(Site::Ln1Normalized) };
        let read = past(self.ln1.as_ref(), pre.shallow_clone(), ln1, tap)?;
        let attn_out = self.attention.forward(&read, layer, surroundings, cache, tap)?;
        let attn_out = tap.at(at(Site::AttnOut), through(self.ln1_post.as_ref(), attn_out))?;
        let (mid, read) = if self.parallel {
            (&pre + attn_out, pre)
        } else {
            let mid = tap.at(at(Site::ResidMid), pre + attn_out)?;
            (mid.shallow_clone(), mid)
        };
        // A copy, because a hook may write into what it is given, and the stream itself goes on beside the MLP.
        let read = if tap.wants(at(Site::MlpIn)) { read.copy() } else { read };
        let read = tap.at(at(Site::MlpIn), read)?;
        let ln2 = NormPoints { scale: at(Site::Ln2Scale), normalized: at(Site::Ln2Normalized) };
        let read = past(self.ln2.as_ref(), read, ln2, tap)?;
        let mlp_out = self.mlp.forward(&read, layer, tap)?;
        let mlp_out = tap.at(at(Site::MlpOut), through(self.ln2_post.as_ref(), mlp_out))?;
        tap.at(at(Site::ResidPost), mid + mlp_out)
    }
}

fn through(norm: Option<&Norm>, x: Tensor) -> Tensor {
    match norm {
        Some(norm) => norm.forward(&x),
        None => x,
    }
}

fn past(norm: Option<&Norm>, x: Tensor, points: NormPoints, tap: &mut Tap<'_>) -> Flow<Tensor> {
    match norm {
        Some(norm) => norm.forward_past(&x, points, tap),
        None => ControlFlow::Continue(x),
    }
}
