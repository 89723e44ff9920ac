#!/usr/bin/env python3
"""Writes fixtures/model: small random models as Hugging Face directories, and what transformers computes with them.

Each directory also holds reference.safetensors: `tokens` [batch, seq], `logits` [batch, seq, vocab] and every hook point
by its TransformerLens name (heads flattened; patterns [batch, heads, seq, seq]), eager attention, f32. The three differ
in everything that a configuration can say: see MODELS. The same versions write the same bytes.
"""

import shutil
from pathlib import Path

import torch
import transformers
from reference_hooks import values
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

SEED = 20
OUT = Path(__file__).parent / "fixtures" / "model"
BATCH, SEQ, VOCAB = 2, 9, 53

# name -> (configuration, element type of the weight files, largest shard)
MODELS = {
    # Learned positions, LayerNorm, plain MLP of odd width, tied; keeps GPT-2's token ids, which are out of range.
    "gpt2": (
        GPT2Config(vocab_size=VOCAB, n_positions=16, n_embd=24, n_layer=2, n_head=3, n_inner=37),
        torch.float32,
        "1MB",
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
    ),
}


def random_model(config, dtype):
    """A model whose every parameter matters: no bias is 0 and no norm weight is 1. Representable in `dtype`."""
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_((torch.randn_like(parameter) * 0.3 + is_norm).to(dtype))
    return model


@torch.no_grad()
def reference(model, tokens):
    """Every hook point and the logits."""
    found = values(model, tokens)
    output = model(tokens, use_cache=False, output_attentions=True)
    for layer, pattern in enumerate(output.attentions):
        found[f"blocks.{layer}.attn.hook_pattern"] = pattern
    return {"tokens": tokens, "logits": output.logits, **found}


def main():
    made_by = f"make_model_fixtures.py, seed {SEED}, torch {torch.__version__}, transformers {transformers.__version__}"
    torch.set_num_threads(1)
    for name, (config, dtype, shard) in MODELS.items():
        torch.manual_seed(SEED)
        directory = OUT / name
        shutil.rmtree(directory, ignore_errors=True)
        model = random_model(config, dtype)
        tokens = torch.randint(0, VOCAB, (BATCH, SEQ))
        found = {key: tensor.contiguous() for key, tensor in reference(model, tokens).items()}
        model.to(dtype).save_pretrained(directory, max_shard_size=shard)
        save_file(found, directory / "reference.safetensors", metadata={"made_by": made_by})
        size = sum(file.stat().st_size for file in directory.iterdir())
        print(f"{directory.relative_to(OUT.parent)}: {len(found)} tensors, {size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
