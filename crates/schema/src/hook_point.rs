//! Where in a model an activation is read or changed.
//!
//! Names are TransformerLens', which the field uses: `blocks.6.hook_resid_post`, `hook_embed`,
//! `ln_final.hook_normalized`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A place within one transformer block.
///
/// `batch`, `seq` and `d_model` are the pass' sizes; `heads` and `kv_heads` differ under grouped-query attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The residual stream that enters the block, `[batch, seq, d_model]`.
    ResidPre,
    /// What the norm before attention divides by, `[batch, seq, 1]`, f32; absent where nothing is normed there.
    Ln1Scale,
    /// That norm's output before its weight, `[batch, seq, d_model]`.
    Ln1Normalized,
    /// Query projections with bias, before query norm and rotary embedding, `[batch, seq, heads, d_head]`.
    AttnQ,
    /// Key projections with bias, before key norm and rotary embedding, `[batch, seq, kv_heads, d_head]`.
    AttnK,
    /// Value projections with bias, `[batch, seq, kv_heads, d_head]`.
    AttnV,
    /// Attention scores after scale, cap and mask, before the softmax: minus infinity where a key cannot be seen,
    /// `[batch, heads, seq, keys]`.
    AttnScores,
    /// Attention weights after mask and softmax, `[batch, heads, seq, keys]`.
    AttnPattern,
    /// Per-head mixed values, the input of the output projection, `[batch, seq, heads, d_head]`.
    AttnZ,
    /// What attention adds to the stream, `[batch, seq, d_model]`.
    AttnOut,
    /// The stream between attention and MLP, `[batch, seq, d_model]`; absent in parallel blocks.
    ResidMid,
    /// The stream that the MLP reads, before its norm, `[batch, seq, d_model]`; what is changed here changes what the MLP
    /// reads and nothing else.
    MlpIn,
    /// What the norm before the MLP divides by, `[batch, seq, 1]`, f32; absent where nothing is normed there.
    Ln2Scale,
    /// That norm's output before its weight, `[batch, seq, d_model]`.
    Ln2Normalized,
    /// The MLP's first projection (the gate projection where gated), before its non-linearity, `[batch, seq, d_mlp]`.
    MlpPre,
    /// The input of the MLP's down projection, `[batch, seq, d_mlp]`.
    MlpPost,
    /// What the MLP adds to the stream, `[batch, seq, d_model]`.
    MlpOut,
    /// The residual stream that leaves the block, `[batch, seq, d_model]`.
    ResidPost,
}

impl Site {
    /// All sites in the order in which a forward pass reaches them.
    pub const ALL: [Site; 18] = [
        Site::ResidPre,
        Site::Ln1Scale,
        Site::Ln1Normalized,
        Site::AttnQ,
        Site::AttnK,
        Site::AttnV,
        Site::AttnScores,
        Site::AttnPattern,
        Site::AttnZ,
        Site::AttnOut,
        Site::ResidMid,
        Site::MlpIn,
        Site::Ln2Scale,
        Site::Ln2Normalized,
        Site::MlpPre,
        Site::MlpPost,
        Site::MlpOut,
        Site::ResidPost,
    ];

    /// The part of the name after `blocks.L.`.
    pub const fn name(self) -> &'static str {
        match self {
            Site::ResidPre => "hook_resid_pre",
            Site::Ln1Scale => "ln1.hook_scale",
            Site::Ln1Normalized => "ln1.hook_normalized",
            Site::AttnQ => "attn.hook_q",
            Site::AttnK => "attn.hook_k",
            Site::AttnV => "attn.hook_v",
            Site::AttnScores => "attn.hook_attn_scores",
            Site::AttnPattern => "attn.hook_pattern",
            Site::AttnZ => "attn.hook_z",
            Site::AttnOut => "hook_attn_out",
            Site::ResidMid => "hook_resid_mid",
            Site::MlpIn => "hook_mlp_in",
            Site::Ln2Scale => "ln2.hook_scale",
            Site::Ln2Normalized => "ln2.hook_normalized",
            Site::MlpPre => "mlp.hook_pre",
            Site::MlpPost => "mlp.hook_post",
            Site::MlpOut => "hook_mlp_out",
            Site::ResidPost => "hook_resid_post",
        }
    }

    /// Whether there is a number for every pair of a query and a key, instead of a row for every token.
    pub const fn is_of_pairs(self) -> bool {
        matches!(self, Site::AttnScores | Site::AttnPattern)
    }

    /// Whether this is the residual stream, or what is added to it.
    pub const fn is_of_the_stream(self) -> bool {
        matches!(self, Site::ResidPre | Site::ResidMid | Site::MlpIn | Site::ResidPost | Site::AttnOut | Site::MlpOut)
    }
}

/// A named point of the forward pass.
///
/// The order of the variants, and of [`Site::ALL`], is the order of the pass, so `a <= b` means that `a` is reached
/// no later than `b`.
///
/// ```
/// use untangle_schema::{HookPoint, Site};
/// let point: HookPoint = "blocks.6.hook_resid_post".parse().unwrap();
/// assert_eq!(point, HookPoint::Block { layer: 6, site: Site::ResidPost });
/// assert_eq!(point.to_string(), "blocks.6.hook_resid_post");
/// assert!("blocks.6.hook_resid_pots".parse::<HookPoint>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HookPoint {
    /// `hook_embed`: the token embeddings, before any position is added, `[batch, seq, d_model]`.
    Embed,
    /// `blocks.L.…`: a site of block `layer` (from 0).
    Block {
        /// Index of the block, from 0.
        layer: usize,
        /// The place within the block.
        site: Site,
    },
    /// `ln_final.hook_scale`: what the final norm divides by, `[batch, seq, 1]`, f32.
    FinalScale,
    /// `ln_final.hook_normalized`: the final norm's output before its weight, `[batch, seq, d_model]`.
    FinalNormalized,
}

impl HookPoint {
    /// The point `site` of block `layer`.
    pub const fn block(layer: usize, site: Site) -> Self {
        HookPoint::Block { layer, site }
    }

    /// Whether there is a number for every pair of a query and a key, instead of a row for every token.
    pub const fn is_of_pairs(self) -> bool {
        matches!(self, HookPoint::Block { site, .. } if site.is_of_pairs())
    }

    /// All points of a model with `n_layers` blocks, in the order of the pass.
    pub fn all(n_layers: usize) -> Vec<HookPoint> {
        let blocks = (0..n_layers).flat_map(|layer| Site::ALL.map(|site| HookPoint::block(layer, site)));
        std::iter::once(HookPoint::Embed)
            .chain(blocks)
            .chain([HookPoint::FinalScale, HookPoint::FinalNormalized])
            .collect()
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookPoint::Embed => f.write_str("hook_embed"),
            HookPoint::Block { layer, site } => write!(f, "blocks.{layer}.{}", site.name()),
            HookPoint::FinalScale => f.write_str("ln_final.hook_scale"),
            HookPoint::FinalNormalized => f.write_str("ln_final.hook_normalized"),
        }
    }
}

/// A hook name that is not one of TransformerLens' that Untangle knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown hook point `{0}`; known are hook_embed, ln_final.hook_scale, ln_final.hook_normalized and blocks.L.SITE with SITE one of {sites}",
    sites = Site::ALL.map(Site::name).join(", ")
)]
pub struct UnknownHookPoint(pub String);

impl FromStr for HookPoint {
    type Err = UnknownHookPoint;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let block = || {
            let (layer, site) = name.strip_prefix("blocks.")?.split_once('.')?;
            let layer = layer.bytes().all(|b| b.is_ascii_digit()).then(|| layer.parse().ok())??;
            let site = Site::ALL.into_iter().find(|s| s.name() == site)?;
            Some(HookPoint::Block { layer, site })
        };
        match name {
            "hook_embed" => Ok(HookPoint::Embed),
            "ln_final.hook_scale" => Ok(HookPoint::FinalScale),
            "ln_final.hook_normalized" => Ok(HookPoint::FinalNormalized),
            _ => block().ok_or_else(|| UnknownHookPoint(name.to_owned())),
        }
    }
}

impl Serialize for HookPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HookPoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_survives_printing_and_parsing() {
        for point in HookPoint::all(13) {
            assert_eq!(point.to_string().parse(), Ok(point));
        }
    }

    #[test]
    fn points_are_ordered_as_the_pass_reaches_them() {
        let points = HookPoint::all(3);
        assert!(points.is_sorted());
        assert_eq!(points.len(), 3 + 3 * 18);
    }

    #[test]
    fn names_that_are_nearly_right_are_refused() {
        for name in
            ["", "blocks", "blocks.1", "blocks.-1.hook_resid_pre", "blocks.+1.hook_resid_pre", "blocks.1.hook_z"]
        {
            assert_eq!(name.parse::<HookPoint>(), Err(UnknownHookPoint(name.to_owned())));
        }
    }
}
