//! The decoder: token ids to logits, readable top to bottom.
//!
//! Shapes: `batch` rows of `seq` tokens; `keys` is `seq` and what a cache holds; `d_model`, `d_head`, `d_mlp`, `vocab`
//! are the model's.

use crate::attention::{Surroundings, Visible};
use crate::block::Block;
use crate::cache::KvCache;
use crate::config::{ModelConfig, Positions};
use crate::hook::{Hook, Pass};
use crate::input::{Input, Logits};
use crate::norm::Norm;
use crate::rotary::Rotation;
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

/// Sizes and places of one pass.
struct Places {
    /// Absolute columns, int64 `[seq]`.
    columns: Tensor,
    /// Position of every token among the real ones of its row, int64 `[batch or 1, seq]`.
    positions: Tensor,
    /// Real tokens up to this pass's end, bool `[batch, keys]`; none when all are.
    mask: Option<Tensor>,
}

impl Decoder {
    /// One pass over checked input: logits f32 `[batch, seq or 1, vocab]`.
    pub(crate) fn forward(
        &self,
        input: &Input<'_>,
        mut cache: Option<&mut KvCache>,
        hook: &mut dyn Hook,
    ) -> Flow<Tensor> {
        let places = Places::of(input, cache.as_deref());
        let pass = Pass { tokens: input.tokens, positions: &places.columns, mask: input.mask, phase: input.phase };
        let tap = &mut Tap::new(hook, pass);

        let embedded = Tensor::embedding(&self.embed, input.tokens, -1, false, false); // [batch, seq, d_model]
        let embedded = tap.at(HookPoint::Embed, embedded)?;
        let mut stream = match &self.positions {
            Some(table) => embedded + Tensor::embedding(table, &places.positions, -1, false, false),
            None => embedded,
        }; // [batch, seq, d_model]
        let surroundings = self.surroundings(&places, stream.kind());
        for (layer, block) in self.blocks.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers[layer]);
            stream = block.forward(stream, layer, &surroundings, cache, tap)?; // [batch, seq, d_model]
        }
        if let Some(cache) = cache {
            cache.advance(input.tokens.size()[1], places.mask.as_ref().map(Tensor::shallow_clone));
        }
        let normalized = tap.at(HookPoint::FinalNormalized, self.ln_final.normalize(&stream))?; // [batch, seq, d_model]
        let normalized = match input.logits {
            Logits::All => normalized,
            Logits::Last => normalized.narrow(1, -1, 1), // [batch, 1, d_model]
        };
        let logits = self.ln_final.affine(&normalized).linear(self.unembed(), None::<&Tensor>); // [batch, seq, vocab]
        ControlFlow::Continue(logits.to_kind(Kind::Float))
    }

    /// The unembedding, `[vocab, d_model]`.
    pub(crate) fn unembed(&self) -> &Tensor {
        self.unembed.as_ref().unwrap_or(&self.embed)
    }

    fn surroundings(&self, places: &Places, kind: Kind) -> Surroundings {
        let rotation = match &self.config.positions {
            Positions::Learned => None,
            Positions::Rotary(rotary) => {
                Some(Rotation::at(rotary, self.config.attention.d_head, &places.positions, kind))
            }
        };
        Surroundings { rotation, visible: places.visible() }
    }
}

impl Places {
    fn of(input: &Input<'_>, cache: Option<&KvCache>) -> Self {
        let seq = input.tokens.size()[1];
        let past = cache.map_or(0, |cache| cache.len() as i64);
        let columns = Tensor::arange_start(past, past + seq, (Kind::Int64, input.tokens.device()));
        let mask = match cache {
            Some(cache) => cache.mask_with(input.tokens, input.mask),
            None => input.mask.map(Tensor::shallow_clone),
        };
        let positions = match &mask {
            None => columns.unsqueeze(0),
            // A token's position is the number of real tokens before it; padding at the left gets 0.
            Some(mask) => (mask.cumsum(1, Kind::Int64) - 1).clamp_min(0).narrow(1, past, seq),
        };
        Self { columns, positions, mask }
    }

    fn visible(&self) -> Visible {
        let past_and_seq = (self.columns.int64_value(&[0]), self.columns.size()[0]);
        match (&self.mask, past_and_seq) {
            (None, (0, _)) => Visible::Causal,
            (None, (_, 1)) => Visible::All,
            (mask, (past, seq)) => {
                let keys = Tensor::arange(past + seq, (Kind::Int64, self.columns.device())); // [keys]
                let queries = self.columns.unsqueeze(1); // [seq, 1]
                let earlier = keys.le_tensor(&queries); // [seq, keys]
                let Some(mask) = mask else { return Visible::Where(earlier.unsqueeze(0).unsqueeze(0)) };
                // Padding sees itself, so that no row of the softmax is empty; nobody else sees padding.
                let real = mask.unsqueeze(1).logical_or(&keys.eq_tensor(&queries)); // [batch, seq, keys]
                Visible::Where(real.logical_and(&earlier).unsqueeze(1)) // [batch, 1, seq, keys]
            }
        }
    }
}
