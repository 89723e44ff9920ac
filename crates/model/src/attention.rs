//! Causal attention with grouped queries.
//!
//! Per head: `softmax(cap(q k^T * scale) + mask) v` (Vaswani et al., arXiv 1706.03762 section 3.2.1); query head i reads
//! key and value head i / (n_heads / n_kv_heads) (Ainslie et al., arXiv 2305.13245). In some models queries and keys
//! are normed first (Henry et al., arXiv 2010.04245), and scores capped: `cap(s) = c tanh(s / c)` (Gemma Team, arXiv
//! 2408.00118 section 2).

use crate::cache::LayerCache;
use crate::config::{AttentionConfig, QkNorm};
use crate::linear::Linear;
use crate::norm::Norm;
use crate::surroundings::{Surroundings, Visible};
use crate::tap::{Flow, Tap};
use std::ops::ControlFlow;
use tch::{Kind, Tensor};
use untangle_schema::{HookPoint, Site};

/// One block's attention.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) config: AttentionConfig,
    pub(crate) q: Linear,   // [n_heads * d_head, d_model]
    pub(crate) k: Linear,   // [n_kv_heads * d_head, d_model]
    pub(crate) v: Linear,   // [n_kv_heads * d_head, d_model]
    pub(crate) out: Linear, // [d_model, n_heads * d_head]
    /// Norms on queries and on keys.
    pub(crate) qk_norms: Option<(Norm, Norm)>,
    /// Whether queries see only the nearest keys.
    pub(crate) in_window: bool,
}

impl Attention {
    /// The output for `x` `[batch, seq, d_model]`, before it is added to the stream, same shape.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        layer: usize,
        surroundings: &Surroundings,
        cache: Option<&mut LayerCache>,
        tap: &mut Tap<'_>,
    ) -> Flow<Tensor> {
        let at = |site| HookPoint::block(layer, site);
        let c = &self.config;
        let q = tap.at(at(Site::AttnQ), heads(&self.q, x, c.n_heads))?; // [batch, seq, n_heads, d_head]
        let k = tap.at(at(Site::AttnK), heads(&self.k, x, c.n_kv_heads))?; // [batch, seq, n_kv_heads, d_head]
        let v = tap.at(at(Site::AttnV), heads(&self.v, x, c.n_kv_heads))?; // [batch, seq, n_kv_heads, d_head]
        let (q, k) = match &self.qk_norms {
            Some((q_norm, k_norm)) => (self.normed(q_norm, &q), self.normed(k_norm, &k)),
            None => (q, k),
        };
        let (q, k) = match surroundings.rotation(self.in_window) {
            Some(rotation) => (rotation.apply(&q), rotation.apply(&k)),
            None => (q, k),
        };
        let (q, k, v) = (q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)); // [batch, heads, seq, d_head]
        let (k, v) = match cache {
            Some(cache) => cache.append(k, v),
            None => (k, v),
        }; // [batch, n_kv_heads, keys, d_head]
        let visible = surroundings.visible(self.in_window);
        let explicit = tap.wants(at(Site::AttnScores)) || tap.wants(at(Site::AttnPattern));
        let z = if c.softcap.is_some() || explicit {
            let scores = tap.at(at(Site::AttnScores), self.scores(&q, &k, visible))?; // [batch, n_heads, seq, keys]
            let pattern = scores.softmax(-1, Kind::Float).to_kind(q.kind());
            let pattern = tap.at(at(Site::AttnPattern), pattern)?;
            pattern.matmul(&self.for_every_query_head(&v)) // [batch, n_heads, seq, d_head]
        } else {
            self.fused(&q, &k, &v, visible) // [batch, n_heads, seq, d_head]
        };
        let z = tap.at(at(Site::AttnZ), z.transpose(1, 2))?; // [batch, seq, n_heads, d_head]
        ControlFlow::Continue(self.out.forward(&z.flatten(2, 3))) // [batch, seq, d_model]
    }

    /// Queries or keys `[batch, seq, heads, d_head]` behind their norm, same shape.
    fn normed(&self, norm: &Norm, x: &Tensor) -> Tensor {
        match self.config.qk_norm {
            Some(QkNorm::WholeProjection) => norm.forward(&x.flatten(2, 3)).view_as(x),
            _ => norm.forward(x),
        }
    }

    /// softmax(q k^T * scale + mask) v without storing the scores, `[batch, n_heads, seq, d_head]`.
    fn fused(&self, q: &Tensor, k: &Tensor, v: &Tensor, visible: &Visible) -> Tensor {
        let (mask, causal) = match visible {
            Visible::All => (None, false),
            Visible::Causal => (None, true),
            Visible::Where(mask) => (Some(mask), false),
        };
        let grouped = self.config.n_heads != self.config.n_kv_heads;
        Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, self.config.scale, grouped)
    }

    /// What the softmax makes the weights of, `[batch, n_heads, seq, keys]`; the same as [`Attention::fused`] uses.
    fn scores(&self, q: &Tensor, k: &Tensor, visible: &Visible) -> Tensor {
        let scores = q.matmul(&self.for_every_query_head(k).transpose(-2, -1)) * self.config.scale;
        let scores = match self.config.softcap {
            Some(cap) => (scores / cap).tanh() * cap,
            None => scores,
        };
        match visible {
            Visible::All => scores,
            Visible::Causal => {
                let size = [scores.size()[2], scores.size()[3]];
                let later = Tensor::ones(size, (Kind::Bool, scores.device())).triu(1); // [seq, keys]
                scores.masked_fill(&later, f64::NEG_INFINITY)
            }
            Visible::Where(mask) => scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY),
        }
    }

    /// Keys or values `[batch, n_kv_heads, keys, d_head]` repeated to `[batch, n_heads, keys, d_head]`.
    fn for_every_query_head(&self, kv: &Tensor) -> Tensor {
        let group = (self.config.n_heads / self.config.n_kv_heads) as i64;
        if group == 1 { kv.shallow_clone() } else { kv.repeat_interleave_self_int(group, 1, None) }
    }
}

/// `x` `[batch, seq, d_model]` projected to `[batch, seq, n_heads, d_head]`.
fn heads(projection: &Linear, x: &Tensor, n_heads: usize) -> Tensor {
    projection.forward(x).unflatten(2, [n_heads as i64, -1])
}
