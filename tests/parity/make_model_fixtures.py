#!/usr/bin/env python3
"""Writes fixtures/model: small random models as Hugging Face directories, and what transformers computes with them.

Each directory also holds reference.safetensors: `tokens` [batch, seq], `logits` [batch, seq, vocab] and every hook point
by its TransformerLens name (heads flattened; patterns [batch, heads, seq, seq]), eager attention, f32. There is one for
each family, and between them they differ in everything that a configuration can say: see MODELS. The same versions write
the same bytes.
"""

import shutil
from pathlib import Path

import torch
import transformers
from reference_hooks import reference
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers import Gemma2Config, Gemma3TextConfig, GemmaConfig, GPT2Config, GPTNeoXConfig, LlamaConfig
from transformers import MistralConfig, Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config

SEED = 20
OUT = Path(__file__).parent / "fixtures" / "model"
SEQ, VOCAB = 9, 53
# Shared by the newer fixtures, whose texts are one row of ids below a vocabulary that is no multiple of anything.
SMALL = {"vocab_size": 37, "num_hidden_layers": 2, "max_position_embeddings": 32, "pad_token_id": None}

# name -> (configuration, element type of the weight files, largest shard, rows of tokens)
MODELS = {
    # Learned positions, LayerNorm, plain MLP of odd width, tied; keeps GPT-2's token ids, which are out of range.
    "gpt2": (
        GPT2Config(vocab_size=VOCAB, n_positions=16, n_embd=24, n_layer=2, n_head=3, n_inner=37),
        torch.float32,
        "1MB",
        2,
    ),
    # Scores divided by the block's number as well, and neither scaled nor tied otherwise.
    "gpt2_by_depth": (
        GPT2Config(
            vocab_size=37, n_positions=16, n_embd=20, n_layer=3, n_head=2, scale_attn_by_inverse_layer_idx=True,
            reorder_and_upcast_attn=True, bos_token_id=1, eos_token_id=2,
        ),
        torch.float32,
        "1MB",
        1,
    ),
    # Grouped queries, heads wider than d_model / heads, biases everywhere, untied, in shards.
    "llama": (
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=12, max_position_embeddings=16, attention_bias=True, mlp_bias=True,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=False,
        ),
        torch.float16,
        "20KB",
        2,
    ),
    # One key-value head, Llama 3's stretched frequencies, another activation, tied.
    "llama3": (
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=64, hidden_act="gelu_pytorch_tanh", rms_norm_eps=1e-3,
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 100.0, "factor": 4.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
            },
            tie_word_embeddings=True,
        ),
        torch.bfloat16,
        "1MB",
        2,
    ),
    # Parallel blocks; 5 of 10 coordinates turn, which is rounded up to three pairs.
    "gpt_neox": (
        GPTNeoXConfig(
            **SMALL, hidden_size=20, intermediate_size=27, num_attention_heads=2,
            rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
        ),
        torch.float32,
        "1MB",
        1,
    ),
    # A window of four keys in every block.
    "mistral": (
        MistralConfig(
            **SMALL, hidden_size=16, intermediate_size=21, num_attention_heads=3, num_key_value_heads=1, head_dim=6,
            sliding_window=4,
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Biases on queries, keys and values only; windows in the upper blocks.
    "qwen2": (
        Qwen2Config(
            **SMALL, hidden_size=16, intermediate_size=21, num_attention_heads=4, num_key_value_heads=2,
            use_sliding_window=True, sliding_window=3, max_window_layers=1, tie_word_embeddings=True,
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Norms on heads; windows where layer_types names them.
    "qwen3": (
        Qwen3Config(
            **SMALL, hidden_size=16, intermediate_size=21, num_attention_heads=4, num_key_value_heads=1, head_dim=6,
            use_sliding_window=True, sliding_window=2, layer_types=["sliding_attention", "full_attention"],
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Scaled embeddings; norm weights learned as a distance from 1.
    "gemma": (
        GemmaConfig(
            **SMALL, hidden_size=16, intermediate_size=21, num_attention_heads=3, num_key_value_heads=1, head_dim=10,
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Soft caps low enough to bite, alternating windows, norms around.
    "gemma2": (
        Gemma2Config(
            **SMALL, hidden_size=16, intermediate_size=21, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
            query_pre_attn_scalar=5, sliding_window=4, attn_logit_softcapping=1.5, final_logit_softcapping=2.0,
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Local and global angles, the global ones stretched; norms on heads with weights as a distance from 1.
    "gemma3_text": (
        Gemma3TextConfig(
            **SMALL | {"num_hidden_layers": 3}, hidden_size=16, intermediate_size=21, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=11, sliding_window=3,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
            },
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Norms on whole projections, and on what attention and MLP write only.
    "olmo2": (
        Olmo2Config(
            **SMALL, hidden_size=16, intermediate_size=21, num_attention_heads=4, num_key_value_heads=2,
            eos_token_id=0,
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
    # Fused projections, LongRoPE in a text longer than the original context, 6 of 8 coordinates turn.
    "phi3": (
        Phi3Config(
            **SMALL, hidden_size=24, intermediate_size=21, num_attention_heads=3, num_key_value_heads=1,
            original_max_position_embeddings=6, eos_token_id=0,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 100.0, "partial_rotary_factor": 0.75,
                "short_factor": [1.0, 1.1, 1.5], "long_factor": [1.5, 2.5, 4.0],
            },
        ),
        torch.bfloat16,
        "1MB",
        1,
    ),
}


def random_model(config, dtype):
    """A model whose every parameter matters: no bias is 0 and no norm is without effect. Representable in `dtype`."""
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    neutral = 0 if config.model_type.startswith("gemma") else 1
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_((torch.randn_like(parameter) * 0.3 + is_norm * neutral).to(dtype))
    return model


def write(directory, config, dtype, shard, tokens, seed):
    """Makes the model of `seed` and writes it with its reference; the number of tensors in the latter."""
    made_by = f"{Path(__file__).name}, seed {seed}, torch {torch.__version__}, transformers {transformers.__version__}"
    model = random_model(config, dtype)
    tokens = torch.randint(0, config.vocab_size, tokens)
    found = {key: tensor.contiguous() for key, tensor in reference(model, tokens).items()}
    model.to(dtype).save_pretrained(directory, max_shard_size=shard)
    save_file(found, directory / "reference.safetensors", metadata={"made_by": made_by})
    return len(found)


def main():
    torch.set_num_threads(1)
    for name, (config, dtype, shard, rows) in MODELS.items():
        torch.manual_seed(SEED)
        directory = OUT / name
        shutil.rmtree(directory, ignore_errors=True)
        n = write(directory, config, dtype, shard, (rows, SEQ), SEED)
        size = sum(file.stat().st_size for file in directory.iterdir())
        print(f"{directory.relative_to(OUT.parent)}: {n} tensors, {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
