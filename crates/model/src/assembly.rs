//! How a decoder is put together from its configuration and a source of parameters.
//!
//! One walk over all modules serves loading and random weights; names and shapes of every parameter stand here.

use crate::attention::Attention;
use crate::block::Block;
use crate::config::{AttentionConfig, ModelConfig, NormKind, Positions, QkNorm};
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::linear::Linear;
use crate::mlp::Mlp;
use crate::names::{BlockPart, Module};
use crate::norm::Norm;
use crate::parameters::{Parameters, Slot};
use tch::{Device, Kind, Tensor};

/// A source of parameters and where they go.
pub(crate) struct Assembly<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) source: &'a mut dyn Parameters,
    pub(crate) kind: Kind,
    pub(crate) device: Device,
}

impl Assembly<'_> {
    /// The decoder that the configuration describes.
    pub(crate) fn decoder(mut self) -> Result<Decoder, ModelError> {
        let c = self.config;
        let (vocab, d_model) = (c.vocab_size as i64, c.d_model as i64);
        let embed = self.take(Module::Embed, Slot::Weight, &[vocab, d_model])?;
        let positions = match c.positions {
            Positions::Learned => Some(self.take(Module::Positions, Slot::Weight, &[c.max_context as i64, d_model])?),
            Positions::Rotary(_) => None,
        };
        let blocks = (0..c.n_layers).map(|layer| self.block(layer)).collect::<Result<_, _>>()?;
        let ln_final = self.norm(Module::FinalNorm, c.d_model)?;
        let unembed = match c.tied_unembedding {
            true => None,
            false => Some(self.take(Module::Unembed, Slot::Weight, &[vocab, d_model])?),
        };
        Ok(Decoder { config: c.clone(), embed, positions, blocks, ln_final, unembed })
    }

    fn block(&mut self, layer: usize) -> Result<Block, ModelError> {
        let at = |part| Module::Block(layer, part);
        let (c, mlp) = (self.config, self.config.mlp);
        let (before, after) = (c.norm_places.before(), c.norm_places.after());
        Ok(Block {
            ln1: self.norm_if(before, at(BlockPart::Norm1))?,
            attention: self.attention(layer)?,
            ln1_post: self.norm_if(after, at(BlockPart::Norm1Post))?,
            ln2: self.norm_if(before, at(BlockPart::Norm2))?,
            mlp: Mlp {
                activation: mlp.activation,
                first: self.linear(at(BlockPart::MlpFirst), c.d_mlp, c.d_model, mlp.bias)?,
                up: match mlp.gated {
                    true => Some(self.linear(at(BlockPart::MlpUp), c.d_mlp, c.d_model, mlp.bias)?),
                    false => None,
                },
                down: self.linear(at(BlockPart::MlpDown), c.d_model, c.d_mlp, mlp.bias)?,
            },
            ln2_post: self.norm_if(after, at(BlockPart::Norm2Post))?,
            parallel: c.parallel,
        })
    }

    fn attention(&mut self, layer: usize) -> Result<Attention, ModelError> {
        let at = |part| Module::Block(layer, part);
        let (c, a) = (self.config, &self.config.attention);
        let (d_q, d_kv) = (a.n_heads * a.d_head, a.n_kv_heads * a.d_head);
        let norm_widths = a.qk_norm.map(|over| match over {
            QkNorm::PerHead => (a.d_head, a.d_head),
            QkNorm::WholeProjection => (d_q, d_kv),
        });
        Ok(Attention {
            config: AttentionConfig { scale: a.scale_in(layer), ..a.clone() },
            q: self.linear(at(BlockPart::Query), d_q, c.d_model, a.qkv_bias)?,
            k: self.linear(at(BlockPart::Key), d_kv, c.d_model, a.qkv_bias)?,
            v: self.linear(at(BlockPart::Value), d_kv, c.d_model, a.qkv_bias)?,
            qk_norms: match norm_widths {
                Some((q, k)) => Some((self.norm(at(BlockPart::QueryNorm), q)?, self.norm(at(BlockPart::KeyNorm), k)?)),
                None => None,
            },
            out: self.linear(at(BlockPart::Out), c.d_model, d_q, a.out_bias)?,
            in_window: c.windows.as_ref().is_some_and(|windows| windows.covers(layer)),
        })
    }

    fn norm_if(&mut self, wanted: bool, module: Module) -> Result<Option<Norm>, ModelError> {
        if wanted { self.norm(module, self.config.d_model).map(Some) } else { Ok(None) }
    }

    fn norm(&mut self, module: Module, width: usize) -> Result<Norm, ModelError> {
        let shape = [width as i64];
        let weight = self.take(module, Slot::Weight, &shape)?;
        let bias = match self.config.norm.kind {
            NormKind::LayerNorm => Some(self.take(module, Slot::Bias, &shape)?),
            NormKind::RmsNorm => None,
        };
        Ok(Norm { config: self.config.norm, weight, bias })
    }

    fn linear(&mut self, module: Module, d_out: usize, d_in: usize, bias: bool) -> Result<Linear, ModelError> {
        let (d_out, d_in) = (d_out as i64, d_in as i64);
        let weight = self.take(module, Slot::Weight, &[d_out, d_in])?;
        let bias = if bias { Some(self.take(module, Slot::Bias, &[d_out])?) } else { None };
        Ok(Linear { weight, bias })
    }

    fn take(&mut self, module: Module, slot: Slot, shape: &[i64]) -> Result<Tensor, ModelError> {
        let tensor = self.source.take(module, slot, shape)?.to_kind(self.kind);
        let doing = "moving a parameter to the device";
        tensor.f_to_device(self.device).map_err(|source| ModelError::Torch { doing, source })
    }
}

impl Decoder {
    /// All parameters by name, in the order of the pass.
    pub(crate) fn parameters(&self) -> Vec<(String, &Tensor)> {
        let mut all = Named::default();
        all.add(Module::Embed, Some(&self.embed), None);
        all.add(Module::Positions, self.positions.as_ref(), None);
        for (layer, block) in self.blocks.iter().enumerate() {
            let at = |part| Module::Block(layer, part);
            let attention = &block.attention;
            let (q_norm, k_norm) = attention.qk_norms.as_ref().map(|(q, k)| (q, k)).unzip();
            all.norm(at(BlockPart::Norm1), block.ln1.as_ref());
            all.linear(at(BlockPart::Query), Some(&attention.q));
            all.linear(at(BlockPart::Key), Some(&attention.k));
            all.linear(at(BlockPart::Value), Some(&attention.v));
            all.norm(at(BlockPart::QueryNorm), q_norm);
            all.norm(at(BlockPart::KeyNorm), k_norm);
            all.linear(at(BlockPart::Out), Some(&attention.out));
            all.norm(at(BlockPart::Norm1Post), block.ln1_post.as_ref());
            all.norm(at(BlockPart::Norm2), block.ln2.as_ref());
            all.linear(at(BlockPart::MlpFirst), Some(&block.mlp.first));
            all.linear(at(BlockPart::MlpUp), block.mlp.up.as_ref());
            all.linear(at(BlockPart::MlpDown), Some(&block.mlp.down));
            all.norm(at(BlockPart::Norm2Post), block.ln2_post.as_ref());
        }
        all.norm(Module::FinalNorm, Some(&self.ln_final));
        all.add(Module::Unembed, self.unembed.as_ref(), None);
        all.0
    }
}

#[derive(Default)]
struct Named<'a>(Vec<(String, &'a Tensor)>);

impl<'a> Named<'a> {
    fn add(&mut self, module: Module, weight: Option<&'a Tensor>, bias: Option<&'a Tensor>) {
        for (slot, tensor) in [(Slot::Weight, weight), (Slot::Bias, bias)] {
            self.0.extend(tensor.map(|tensor| (format!("{}.{}", module.name(), slot.name()), tensor)));
        }
    }

    fn norm(&mut self, module: Module, norm: Option<&'a Norm>) {
        self.add(module, norm.map(|norm| &norm.weight), norm.and_then(|norm| norm.bias.as_ref()));
    }

    fn linear(&mut self, module: Module, linear: Option<&'a Linear>) {
        self.add(module, linear.map(|l| &l.weight), linear.and_then(|l| l.bias.as_ref()));
    }
}
