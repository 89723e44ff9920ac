//! Where each family's checkpoints keep a parameter: names and layouts.

use crate::config::{Family, ModelConfig, NormPlaces};

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
    Block(usize, BlockPart),
}

/// A part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockPart {
    /// The norm on what attention reads.
    Norm1,
    /// The query projection.
    Query,
    /// The key projection.
    Key,
    /// The value projection.
    Value,
    /// The norm on queries.
    QueryNorm,
    /// The norm on keys.
    KeyNorm,
    /// Attention's output projection.
    Out,
    /// The norm on what attention writes.
    Norm1Post,
    /// The norm on what the MLP reads.
    Norm2,
    /// The MLP's first projection, the gate where gated.
    MlpFirst,
    /// What the gate multiplies.
    MlpUp,
    /// The MLP's down projection.
    MlpDown,
    /// The norm on what the MLP writes.
    Norm2Post,
}

impl Module {
    /// Our own name, the same for all families: `blocks.3.attn.q`.
    pub(crate) fn name(self) -> String {
        match self {
            Module::Embed => "embed".into(),
            Module::Positions => "pos_embed".into(),
            Module::FinalNorm => "ln_final".into(),
            Module::Unembed => "unembed".into(),
            Module::Block(layer, part) => format!("blocks.{layer}.{}", part.name()),
        }
    }

    /// Whether its weight is that of a norm.
    pub(crate) fn is_norm(self) -> bool {
        use BlockPart::{KeyNorm, Norm1, Norm1Post, Norm2, Norm2Post, QueryNorm};
        let of_block = [Norm1, Norm1Post, Norm2, Norm2Post, QueryNorm, KeyNorm];
        self == Module::FinalNorm || matches!(self, Module::Block(_, part) if of_block.contains(&part))
    }
}

impl BlockPart {
    const fn name(self) -> &'static str {
        match self {
            BlockPart::Norm1 => "ln1",
            BlockPart::Query => "attn.q",
            BlockPart::Key => "attn.k",
            BlockPart::Value => "attn.v",
            BlockPart::QueryNorm => "attn.q_norm",
            BlockPart::KeyNorm => "attn.k_norm",
            BlockPart::Out => "attn.out",
            BlockPart::Norm1Post => "ln1_post",
            BlockPart::Norm2 => "ln2",
            BlockPart::MlpFirst => "mlp.first",
            BlockPart::MlpUp => "mlp.up",
            BlockPart::MlpDown => "mlp.down",
            BlockPart::Norm2Post => "ln2_post",
        }
    }
}

/// How a checkpoint stores a module's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As we do: projections `[d_out, d_in]`, embeddings `[rows, d_model]`, norms `[d]`.
    Plain,
    /// `[d_in, d_out]`, GPT-2's Conv1D.
    Transposed,
    /// Columns from `start` of `[d_in, total]`, GPT-2's c_attn.
    Columns {
        /// The first.
        start: usize,
        /// Of all modules that share the tensor.
        total: usize,
    },
    /// Rows from `start` of `[total, d_in]`, Phi-3's qkv_proj and gate_up_proj.
    Rows {
        /// The first.
        start: usize,
        /// Of all modules that share the tensor.
        total: usize,
    },
    /// Part `index` of `of` in every head of `[n_heads * of * d_head, d_in]`, GPT-NeoX's query_key_value.
    InHeads {
        /// Which part.
        index: usize,
        /// How many.
        of: usize,
        /// Heads.
        n_heads: usize,
    },
}

impl Layout {
    /// Whether no other module takes a part of the same tensor after one of `d_out` rows; parts are taken in order.
    pub(crate) fn is_last_use(self, d_out: usize) -> bool {
        match self {
            Layout::Plain | Layout::Transposed => true,
            Layout::Columns { start, total } | Layout::Rows { start, total } => start + d_out >= total,
            Layout::InHeads { index, of, .. } => index + 1 == of,
        }
    }
}

/// How the checkpoints of a model's family name its tensors.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    config: &'a ModelConfig,
}

impl<'a> Names<'a> {
    pub(crate) fn of(config: &'a ModelConfig) -> Self {
        Self { config }
    }

    /// What stands before every name but the unembedding's, except in checkpoints of the bare decoder.
    pub(crate) fn prefix(&self) -> &'static str {
        match self.config.family {
            Family::Gpt2 => "transformer.",
            Family::GptNeox => "gpt_neox.",
            _ => "model.",
        }
    }

    /// The prefix of a checkpoint's names: nothing where none of them has the family's.
    pub(crate) fn prefix_among<'n>(&self, mut names: impl Iterator<Item = &'n String>) -> &'static str {
        if names.any(|name| name.starts_with(self.prefix())) { self.prefix() } else { "" }
    }

    /// Name without prefix and `.weight` or `.bias`; none for what the family does not have.
    pub(crate) fn place(&self, module: Module) -> Option<(String, Layout)> {
        let ((name, layout), blocks) = match self.config.family {
            Family::Gpt2 => (gpt2(self.config, module)?, "h"),
            Family::GptNeox => (gpt_neox(self.config, module)?, "layers"),
            Family::Phi3 => (phi3(self.config, module)?, "layers"),
            _ => (llama(self.config, module)?, "layers"),
        };
        let name = match module {
            Module::Block(layer, _) => format!("{blocks}.{layer}.{name}"),
            _ => name.to_owned(),
        };
        Some((name, layout))
    }

    /// Whether a tensor of this name is passed over in silence: masks and tables that old versions saved.
    pub(crate) fn ignores(name: &str) -> bool {
        let not_learned =
            [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"];
        not_learned.iter().any(|end| name.ends_with(end))
    }

    /// Whether a tensor of this name would be part of the decoder or its head, so that passing it over would change
    /// what the model computes. `prefix` is what the checkpoint has before names.
    pub(crate) fn is_of_decoder(&self, name: &str, prefix: &str) -> bool {
        let places = [Module::Embed, Module::Positions, Module::FinalNorm].map(|module| self.place(module));
        let places = places.into_iter().flatten().map(|(place, _)| format!("{prefix}{place}."));
        let blocks = if self.config.family == Family::Gpt2 { "h." } else { "layers." };
        let head = self.place(Module::Unembed).map(|(place, _)| format!("{place}."));
        places.chain(head).chain([format!("{prefix}{blocks}")]).any(|start| name.starts_with(&start))
    }
}

type Place = Option<(&'static str, Layout)>;

fn gpt2(config: &ModelConfig, module: Module) -> Place {
    let qkv = |index| {
        let layout = Layout::Columns { start: index * config.d_model, total: 3 * config.d_model };
        ("attn.c_attn", layout)
    };
    Some(match module {
        Module::Embed => ("wte", Layout::Plain),
        Module::Positions => ("wpe", Layout::Plain),
        Module::FinalNorm => ("ln_f", Layout::Plain),
        Module::Unembed => ("lm_head", Layout::Plain),
        Module::Block(_, part) => match part {
            BlockPart::Norm1 => ("ln_1", Layout::Plain),
            BlockPart::Query => qkv(0),
            BlockPart::Key => qkv(1),
            BlockPart::Value => qkv(2),
            BlockPart::Out => ("attn.c_proj", Layout::Transposed),
            BlockPart::Norm2 => ("ln_2", Layout::Plain),
            BlockPart::MlpFirst => ("mlp.c_fc", Layout::Transposed),
            BlockPart::MlpDown => ("mlp.c_proj", Layout::Transposed),
            BlockPart::QueryNorm
            | BlockPart::KeyNorm
            | BlockPart::Norm1Post
            | BlockPart::MlpUp
            | BlockPart::Norm2Post => return None,
        },
    })
}

fn gpt_neox(config: &ModelConfig, module: Module) -> Place {
    let qkv =
        |index| ("attention.query_key_value", Layout::InHeads { index, of: 3, n_heads: config.attention.n_heads });
    Some(match module {
        Module::Embed => ("embed_in", Layout::Plain),
        Module::Positions => return None,
        Module::FinalNorm => ("final_layer_norm", Layout::Plain),
        Module::Unembed => ("embed_out", Layout::Plain),
        Module::Block(_, part) => match part {
            BlockPart::Norm1 => ("input_layernorm", Layout::Plain),
            BlockPart::Query => qkv(0),
            BlockPart::Key => qkv(1),
            BlockPart::Value => qkv(2),
            BlockPart::Out => ("attention.dense", Layout::Plain),
            BlockPart::Norm2 => ("post_attention_layernorm", Layout::Plain),
            BlockPart::MlpFirst => ("mlp.dense_h_to_4h", Layout::Plain),
            BlockPart::MlpDown => ("mlp.dense_4h_to_h", Layout::Plain),
            BlockPart::QueryNorm
            | BlockPart::KeyNorm
            | BlockPart::Norm1Post
            | BlockPart::MlpUp
            | BlockPart::Norm2Post => return None,
        },
    })
}

fn llama(config: &ModelConfig, module: Module) -> Place {
    let name = match module {
        Module::Embed => "embed_tokens",
        Module::Positions => return None,
        Module::FinalNorm => "norm",
        Module::Unembed => "lm_head",
        Module::Block(_, part) => match part {
            BlockPart::Norm1 => "input_layernorm",
            BlockPart::Query => "self_attn.q_proj",
            BlockPart::Key => "self_attn.k_proj",
            BlockPart::Value => "self_attn.v_proj",
            BlockPart::QueryNorm => "self_attn.q_norm",
            BlockPart::KeyNorm => "self_attn.k_norm",
            BlockPart::Out => "self_attn.o_proj",
            // Llama calls the norm on what the MLP reads by the place where others have one on what attention writes.
            BlockPart::Norm2 if config.norm_places == NormPlaces::Before => "post_attention_layernorm",
            BlockPart::Norm1Post => "post_attention_layernorm",
            BlockPart::Norm2 => "pre_feedforward_layernorm",
            BlockPart::MlpFirst => "mlp.gate_proj",
            BlockPart::MlpUp => "mlp.up_proj",
            BlockPart::MlpDown => "mlp.down_proj",
            BlockPart::Norm2Post => "post_feedforward_layernorm",
        },
    };
    Some((name, Layout::Plain))
}

/// Llama's names, with projections of the same input in one tensor.
fn phi3(config: &ModelConfig, module: Module) -> Place {
    let a = &config.attention;
    let (d_q, d_kv) = (a.n_heads * a.d_head, a.n_kv_heads * a.d_head);
    let qkv = |start| ("self_attn.qkv_proj", Layout::Rows { start, total: d_q + 2 * d_kv });
    let gate_up = |start| ("mlp.gate_up_proj", Layout::Rows { start, total: 2 * config.d_mlp });
    match module {
        Module::Block(_, BlockPart::Query) => Some(qkv(0)),
        Module::Block(_, BlockPart::Key) => Some(qkv(d_q)),
        Module::Block(_, BlockPart::Value) => Some(qkv(d_q + d_kv)),
        Module::Block(_, BlockPart::MlpFirst) => Some(gate_up(0)),
        Module::Block(_, BlockPart::MlpUp) => Some(gate_up(config.d_mlp)),
        other => llama(config, other),
    }
}
