//! Which tokens a feature's direction makes more or less likely, by itself.
//!
//! `effect(v) = d . (w * W_U[:, v])`: d the feature's decoder row, w the weight of the final norm, W_U the unembedding;
//! under LayerNorm the mean over the stream's coordinates is taken off, as the norm does. Up to the norm's scale at the
//! token at hand, which is positive, this is the change of the logits when d is added to the final residual stream;
//! what later blocks do with d is left out (nostalgebraist 2020, "logit lens").

use crate::error::InterpretError;
use crate::intervene::flat;
use crate::steer::dictionary::{Dictionary, Part};
use crate::vocabulary::Vocabulary;
use tch::{Device, Kind, Tensor};
use untangle_model::LanguageModel;
use untangle_sae::Sae;
use untangle_schema::{HookPoint, LogitEffect};

/// Features whose effects are computed at once.
const BLOCK: usize = 256;

/// The strongest effects of one feature.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Tokens raised most, most first.
    pub top: Vec<LogitEffect>,
    /// Tokens lowered most, most first.
    pub bottom: Vec<LogitEffect>,
}

/// Reads directions through the unembedding of a model.
#[derive(Debug)]
pub struct TokenLens {
    /// f32 `[d_model, vocab]`; none where the model has none.
    unembedding: Option<Tensor>,
}

impl TokenLens {
    /// The lens of a model. Columns that the tokenizer lacks (padding) are left out.
    pub fn new(model: &LanguageModel) -> Self {
        let n_tokens = model.tokenizer().map_or(usize::MAX, |tokenizer| tokenizer.vocab_size()).min(model.vocab_size());
        let folded = || tch::no_grad(|| model.unembedding_folded()).to_device(Device::Cpu).to_kind(Kind::Float);
        let unembedding = model.has_unembedding().then(|| folded().narrow(1, 0, n_tokens as i64).contiguous());
        Self { unembedding }
    }

    /// The tokens that any of the directions raises most, `n` of each, each once and the foremost first; those that do not lie in the residual stream
    /// raise none.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn raised(&self, directions: &[(HookPoint, &[f32])], n: usize) -> Result<Vec<u32>, InterpretError> {
        let of_stream: Vec<&[f32]> =
            directions.iter().filter(|(point, _)| writes_to_stream(*point)).map(|(_, direction)| *direction).collect();
        let extremes = self.extremes(&of_stream, n, true)?;
        let mut ids = Vec::new();
        for rank in 0..n {
            for (id, _) in extremes.iter().filter_map(|of_direction| of_direction.get(rank)) {
                if !ids.contains(id) {
                    ids.push(*id);
                }
            }
        }
        Ok(ids)
    }

    /// Per direction, the `n` tokens with the largest or the smallest effects, the extreme one first.
    fn extremes(&self, directions: &[&[f32]], n: usize, largest: bool) -> Result<Vec<Vec<(u32, f32)>>, InterpretError> {
        let Some(unembedding) = self.unembedding.as_ref().filter(|_| !directions.is_empty()) else {
            return Ok(vec![Vec::new(); directions.len()]);
        };
        let all = Tensor::from_slice(&directions.concat()).view([directions.len() as i64, -1]); // [directions, d_model]
        let logits = all.matmul(unembedding); // [directions, vocab]
        let n = (n as i64).min(logits.size()[1]);
        let (values, ids) = logits.topk(n, 1, largest, true); // [directions, n]
        let (values, ids): (Vec<f32>, Vec<i64>) = (flat(&values)?, flat(&ids)?);
        let pairs: Vec<(u32, f32)> = ids.iter().map(|id| *id as u32).zip(values).collect();
        Ok(pairs.chunks(n.max(1) as usize).map(<[(u32, f32)]>::to_vec).collect())
    }
}

/// Reads what the features of a dictionary write through the unembedding of a model.
#[derive(Debug)]
pub struct LogitLens<'a> {
    sae: &'a Sae,
    /// The part of the decoder rows that is read, and where the model has it.
    part: Part,
    lens: TokenLens,
}

impl<'a> LogitLens<'a> {
    /// The lens for a dictionary of `model`; of a crosscoder, for its last part that lies in the model's residual stream.
    ///
    /// # Errors
    /// When the dictionary does not belong to the model.
    pub fn new(dictionary: Dictionary<'a>, model: &LanguageModel) -> Result<Self, InterpretError> {
        let parts = dictionary.writes(model)?;
        let of_stream = parts.iter().rfind(|part| writes_to_stream(part.point));
        let part = *of_stream.unwrap_or(&parts[parts.len() - 1]);
        let lens = if of_stream.is_some() { TokenLens::new(model) } else { TokenLens { unembedding: None } };
        Ok(Self { sae: dictionary.sae(), part, lens })
    }

    fn row(&self, feature: usize) -> &[f32] {
        &self.sae.decoder_row(feature)[self.part.first..self.part.first + self.part.width]
    }

    /// The `n` tokens that each of the features raises and lowers most; none where directions do not lie in the
    /// residual stream.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn effects(&self, n: usize, vocabulary: &Vocabulary) -> Result<Vec<Effects>, InterpretError> {
        let features: Vec<usize> = (0..self.sae.d_sae()).collect();
        let named = |extremes: Vec<(u32, f32)>| -> Vec<LogitEffect> {
            let effect = |(id, effect)| LogitEffect { token: vocabulary.text(id), id, effect };
            extremes.into_iter().map(effect).collect()
        };
        let mut effects = Vec::with_capacity(features.len());
        for block in features.chunks(BLOCK) {
            let rows: Vec<&[f32]> = block.iter().map(|feature| self.row(*feature)).collect();
            let (top, bottom) = (self.lens.extremes(&rows, n, true)?, self.lens.extremes(&rows, n, false)?);
            effects.extend(top.into_iter().zip(bottom).map(|(t, b)| Effects { top: named(t), bottom: named(b) }));
        }
        Ok(effects)
    }

    /// The tokens that any of the features raises most, `n` per feature, each once.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn raised(&self, features: &[usize], n: usize) -> Result<Vec<u32>, InterpretError> {
        let rows: Vec<_> = features.iter().map(|feature| (self.part.point, self.row(*feature))).collect();
        self.lens.raised(&rows, n)
    }
}

/// Whether directions at `point` are directions of the residual stream.
pub(crate) fn writes_to_stream(point: HookPoint) -> bool {
    match point {
        HookPoint::Embed => true,
        HookPoint::FinalScale | HookPoint::FinalNormalized => false,
        HookPoint::Block { site, .. } => site.is_of_the_stream(),
    }
}
