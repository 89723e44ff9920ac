//! The decoder: token ids to logits, readable top to bottom.
//!
//! Shapes: `batch` rows of `seq` tokens; `keys` is `seq` and what a cache holds; `d_model`, `d_head`, `d_mlp`, `vocab`
//! are the model's.

use crate::block::Block;
use crate::cache::KvCache;
use crate::config::ModelConfig;
use crate::few_rows::{self, FewRows};
use crate::hook::{Hook, Pass};
use crate::input::{Input, Logits};
use crate::norm::{Norm, NormPoints};
use crate::surroundings::{Places, Surroundings};
use crate::tap::{Flow, Tap};
use std::ops::ControlFlow;
use tch::{Kind, Tensor};
use untangle_schema::HookPoint;

/// The parameters of a decoder.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) embed: Tensor,             // [vocab, d_model]
    pub(crate) positions: Option<Tensor>, // [max_context, d_model]
    pub(crate) blocks: Vec<Block>,
    pub(crate) ln_final: Norm,
    pub(crate) unembed: Option<Tensor>, // [vocab, d_model]; none where tied to `embed`
}

impl Decoder {
    /// One pass over checked input: logits f32 `[batch, seq or 1, vocab]`.
    pub(crate) fn forward(
        &self,
        input: &Input<'_>,
        mut cache: Option<&mut KvCache>,
        hook: &mut dyn Hook,
    ) -> Flow<Tensor> {
        let _few = FewRows::begin(input.tokens.numel() as i64, self.unembed());
        let places = Places::of(input, cache.as_deref());
        let pass = Pass {
            tokens: input.tokens,
            positions: &places.columns,
            places: &places.positions,
            mask: input.mask,
            phase: input.phase,
        };
        let tap = &mut Tap::new(hook, pass);

        let embedded = Tensor::embedding(&self.embed, input.tokens, -1, false, false); // [batch, seq, d_model]
        let embedded = match self.config.embed_scale {
            Some(scale) => &embedded * rounded(scale, &embedded),
            None => embedded,
        };
        let embedded = tap.at(HookPoint::Embed, embedded)?;
        let mut stream = match &self.positions {
            Some(table) => embedded + Tensor::embedding(table, &places.positions, -1, false, false),
            None => embedded,
        }; // [batch, seq, d_model]
        let surroundings = Surroundings::new(&self.config, &places, stream.kind());
        for (layer, block) in self.blocks.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers[layer]);
            stream = block.forward(stream, layer, &surroundings, cache, tap)?; // [batch, seq, d_model]
        }
        if let Some(cache) = cache {
            cache.advance(input.tokens.size()[1], places.mask.as_ref().map(Tensor::shallow_clone));
        }
        let points = NormPoints { scale: HookPoint::FinalScale, normalized: HookPoint::FinalNormalized };
        let normalized = self.ln_final.normalize_past(&stream, points, tap)?; // [batch, seq, d_model]
        let normalized = match input.logits {
            Logits::All => normalized,
            Logits::Last => normalized.narrow(1, -1, 1), // [batch, 1, d_model]
        };
        let logits = few_rows::linear(&self.ln_final.affine(&normalized), self.unembed(), None); // [batch, seq, vocab]
        let logits = logits.to_kind(Kind::Float);
        ControlFlow::Continue(match self.config.logit_softcap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        })
    }

    /// The unembedding, `[vocab, d_model]`.
    pub(crate) fn unembed(&self) -> &Tensor {
        self.unembed.as_ref().unwrap_or(&self.embed)
    }
}

/// A number rounded to the kind of `like`, as the models that scale their embeddings were trained with.
fn rounded(number: f64, like: &Tensor) -> Tensor {
    Tensor::from(number).to_kind(Kind::Float).to_kind(like.kind()).to_device(like.device())
}
