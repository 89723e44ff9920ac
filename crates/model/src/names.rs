//! Where each family's checkpoints keep a parameter: names and layouts.

use crate::config::{Family, ModelConfig};

/// A module of the decoder that has parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// The token embedding.
    Embed,
    /// The learned positions.
    Positions,
    /// The final norm.
    FinalNorm,
    /// The unembedding, where it is not the token embedding.
    Unembed,
    /// A part of the block with this index.
    Block(usize, Part),
}

/// A part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The norm before attention.
    Norm1,
    /// The query projection.
    Query,
    /// The key projection.
    Key,
    /// The value projection.
    Value,
    /// Attention's output projection.
    Out,
    /// The norm before the MLP.
    Norm2,
    /// The MLP's first projection, the gate where gated.
    MlpFirst,
    /// What the gate multiplies.
    MlpUp,
    /// The MLP's down projection.
    MlpDown,
}

impl Module {
    /// Our own name, the same for all families: `blocks.3.attn.q`.
    pub(crate) fn name(self) -> String {
        match self {
            Module::Embed => "embed".into(),
            Module::Positions => "pos_embed".into(),
            Module::FinalNorm => "ln_final".into(),
            Module::Unembed => "unembed".into(),
            Module::Block(layer, part) => {
                let part = match part {
                    Part::Norm1 => "ln1",
                    Part::Query => "attn.q",
                    Part::Key => "attn.k",
                    Part::Value => "attn.v",
                    Part::Out => "attn.out",
                    Part::Norm2 => "ln2",
                    Part::MlpFirst => "mlp.first",
                    Part::MlpUp => "mlp.up",
                    Part::MlpDown => "mlp.down",
                };
                format!("blocks.{layer}.{part}")
            }
        }
    }
}

/// How a checkpoint stores a module's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As we do: projections `[d_out, d_in]`, embeddings `[rows, d_model]`, norms `[d_model]`.
    Plain,
    /// `[d_in, d_out]`, GPT-2's Conv1D.
    Transposed,
    /// Part `index` of `of` equal ones along d_out of `[d_in, of * d_out]`, GPT-2's c_attn.
    TransposedPart {
        /// Which part.
        index: i64,
        /// How many.
        of: i64,
    },
}

impl Layout {
    /// Whether no other module takes a part of the same tensor after this one; parts are taken in their order.
    pub(crate) fn is_last_use(self) -> bool {
        match self {
            Layout::Plain | Layout::Transposed => true,
            Layout::TransposedPart { index, of } => index + 1 == of,
        }
    }
}

/// How a family names its tensors.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// What stands before every name, except in checkpoints of the bare decoder.
    pub(crate) prefix: &'static str,
    /// Name without prefix and `.weight` or `.bias`; none for what the family does not have.
    pub(crate) module: fn(Module) -> Option<(String, Layout)>,
    /// Ends of names that hold nothing learned: masks and tables that old versions saved.
    pub(crate) ignored: &'static [&'static str],
}

impl Names {
    /// The names of the configuration's family.
    pub(crate) fn of(config: &ModelConfig) -> Names {
        match config.family {
            Family::Gpt2 => GPT2,
            Family::Llama => LLAMA,
        }
    }

    /// Whether a tensor of this name has no place in the decoder and is passed over.
    pub(crate) fn ignores(&self, name: &str, config: &ModelConfig) -> bool {
        let copy_of_embedding = config.tied_unembedding && name == "lm_head.weight";
        copy_of_embedding || self.ignored.iter().any(|end| name.ends_with(end))
    }
}

const GPT2: Names = Names { prefix: "transformer.", module: gpt2, ignored: &[".attn.bias", ".attn.masked_bias"] };
const LLAMA: Names = Names { prefix: "model.", module: llama, ignored: &[".rotary_emb.inv_freq"] };

fn gpt2(module: Module) -> Option<(String, Layout)> {
    let qkv = |index| ("attn.c_attn", Layout::TransposedPart { index, of: 3 });
    let (name, layout) = match module {
        Module::Embed => ("wte", Layout::Plain),
        Module::Positions => ("wpe", Layout::Plain),
        Module::FinalNorm => ("ln_f", Layout::Plain),
        Module::Unembed => ("lm_head", Layout::Plain),
        Module::Block(_, part) => match part {
            Part::Norm1 => ("ln_1", Layout::Plain),
            Part::Query => qkv(0),
            Part::Key => qkv(1),
            Part::Value => qkv(2),
            Part::Out => ("attn.c_proj", Layout::Transposed),
            Part::Norm2 => ("ln_2", Layout::Plain),
            Part::MlpFirst => ("mlp.c_fc", Layout::Transposed),
            Part::MlpUp => return None,
            Part::MlpDown => ("mlp.c_proj", Layout::Transposed),
        },
    };
    Some((in_block("h", module, name), layout))
}

fn llama(module: Module) -> Option<(String, Layout)> {
    let name = match module {
        Module::Embed => "embed_tokens",
        Module::Positions => return None,
        Module::FinalNorm => "norm",
        Module::Unembed => "lm_head",
        Module::Block(_, part) => match part {
            Part::Norm1 => "input_layernorm",
            Part::Query => "self_attn.q_proj",
            Part::Key => "self_attn.k_proj",
            Part::Value => "self_attn.v_proj",
            Part::Out => "self_attn.o_proj",
            Part::Norm2 => "post_attention_layernorm",
            Part::MlpFirst => "mlp.gate_proj",
            Part::MlpUp => "mlp.up_proj",
            Part::MlpDown => "mlp.down_proj",
        },
    };
    Some((in_block("layers", module, name), Layout::Plain))
}

fn in_block(blocks: &str, module: Module, name: &str) -> String {
    match module {
        Module::Block(layer, _) => format!("{blocks}.{layer}.{name}"),
        _ => name.to_owned(),
    }
}
