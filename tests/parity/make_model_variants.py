#!/usr/bin/env python3
"""Writes many small random models of every family with their references, odd shapes among them.

    make_model_variants.py OUT [--per-family N] [--seed N]

Each is a directory as make_model_fixtures.py writes it, with a configuration drawn at random: heads that are not the
width over their number, shared keys and values, one layer, windows shorter than the text, parts of heads that turn,
stretched angles, tied or not, with biases or without, widths that are no multiple of anything.
"""

import argparse
import random
from pathlib import Path

import torch
from make_model_fixtures import write
from transformers import Gemma2Config, Gemma3TextConfig, GemmaConfig, GPT2Config, GPTNeoXConfig, LlamaConfig
from transformers import MistralConfig, Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config

CONTEXT = 64
ACTIVATIONS = ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


class Draw:
    """Random choices of one configuration."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.heads = self.one_of(1, 2, 3, 4, 6)
        self.layers = self.one_of(1, 1, 2, 3, 4)
        self.d_head = self.one_of(2, 4, 6, 10, 12, 16)

    def one_of(self, *values):
        return self.rng.choice(values)

    def flag(self):
        return self.rng.random() < 0.5

    def common(self):
        """Fields that every class has."""
        return {
            "vocab_size": self.one_of(37, 41, 53, 101),
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_size": self.heads * self.one_of(4, 6, 8),
            "intermediate_size": self.one_of(5, 21, 33, 48),
            "max_position_embeddings": CONTEXT,
            "tie_word_embeddings": self.flag(),
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": None,
        }

    def like_llama(self):
        """And those that Llama and its descendants have."""
        return {
            **self.common(),
            "num_key_value_heads": self.heads // self.one_of(*[n for n in range(1, 7) if self.heads % n == 0]),
            "rms_norm_eps": self.one_of(1e-6, 1e-5, 1e-2),
            "rope_parameters": self.rope(),
        }

    def theta(self):
        return self.one_of(30.0, 500.0, 10_000.0, 1_000_000.0)

    def rope(self):
        kinds = [
            {"rope_type": "default"},
            {"rope_type": "linear", "factor": self.one_of(2.0, 8.0)},
            {
                "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": self.one_of(8, 16, 32),
            },
        ]
        return self.one_of(*kinds) | {"rope_theta": self.theta()}

    def longrope(self, d_head):
        share = self.one_of(*[share for share in (1.0, 0.75, 0.5) if d_head * share % 2 == 0])
        n_pairs = int(d_head * share) // 2
        factors = lambda: [round(self.rng.uniform(1, 8), 3) for _ in range(n_pairs)]
        plain = {"rope_type": "default", "rope_theta": self.theta(), "partial_rotary_factor": share}
        long = plain | {"rope_type": "longrope", "short_factor": factors(), "long_factor": factors()}
        return long | self.one_of({}, {"attention_factor": 1.25}) if self.rng.random() < 0.75 else plain

    def window(self):
        return self.one_of(1, 2, 3, 5, 30)

    def layer_types(self):
        return [self.one_of("sliding_attention", "full_attention") for _ in range(self.layers)]

    def windows_of_qwen(self):
        used = {"use_sliding_window": True, "sliding_window": self.window(), "max_window_layers": self.one_of(0, 1, 2)}
        return self.one_of({}, used, used | {"layer_types": self.layer_types()})


def gpt2(d):
    d_model = d.heads * d.one_of(4, 5, 9)
    return GPT2Config(
        vocab_size=d.one_of(37, 53), n_positions=CONTEXT, n_embd=d_model, n_layer=d.layers, n_head=d.heads,
        n_inner=d.one_of(None, 21), activation_function=d.one_of(*ACTIVATIONS), scale_attn_weights=d.flag(),
        scale_attn_by_inverse_layer_idx=d.flag(), reorder_and_upcast_attn=d.flag(),
        layer_norm_epsilon=d.one_of(1e-5, 1e-2), tie_word_embeddings=d.flag(), bos_token_id=1, eos_token_id=2,
    )


def gpt_neox(d):
    rope = {"rope_type": "default", "rope_theta": d.theta(), "partial_rotary_factor": d.one_of(0.25, 0.5, 0.6, 1.0)}
    return GPTNeoXConfig(
        **d.common() | {"hidden_size": d.heads * d.one_of(8, 12, 20)}, use_parallel_residual=d.rng.random() < 0.7,
        attention_bias=d.flag(), hidden_act=d.one_of("gelu", "gelu_fast", "gelu_new"), rope_parameters=rope,
        layer_norm_eps=d.one_of(1e-5, 1e-2),
    )


def llama(d):
    return LlamaConfig(
        **d.like_llama(), head_dim=d.d_head, attention_bias=d.flag(), mlp_bias=d.flag(),
        hidden_act=d.one_of(*ACTIVATIONS),
    )


def mistral(d):
    return MistralConfig(**d.like_llama(), head_dim=d.d_head, sliding_window=d.one_of(None, d.window()))


def qwen2(d):
    return Qwen2Config(**d.like_llama(), **d.windows_of_qwen())


def qwen3(d):
    return Qwen3Config(**d.like_llama(), **d.windows_of_qwen(), head_dim=d.d_head, attention_bias=d.flag())


def gemma(d):
    return GemmaConfig(**d.like_llama(), head_dim=d.d_head, attention_bias=d.flag())


def gemma2(d):
    cap = lambda: d.one_of(None, 0.5, 5.0, 50.0)
    return Gemma2Config(
        **d.like_llama(), head_dim=d.d_head, attention_bias=d.flag(), query_pre_attn_scalar=d.one_of(3, 16, 256),
        sliding_window=d.window(), attn_logit_softcapping=cap(), final_logit_softcapping=cap(),
        layer_types=d.one_of(None, d.layer_types()),
    )


def gemma3(d):
    angles = {"full_attention": d.rope(), "sliding_attention": {"rope_type": "default", "rope_theta": d.theta()}}
    return Gemma3TextConfig(
        **d.like_llama() | {"rope_parameters": angles, "num_hidden_layers": max(d.layers, 2)}, head_dim=d.d_head,
        attention_bias=d.flag(), query_pre_attn_scalar=d.one_of(3, 16, 256), sliding_window=d.window(),
        sliding_window_pattern=d.one_of(1, 2, 3, 6), final_logit_softcapping=d.one_of(None, 5.0),
    )


def olmo2(d):
    return Olmo2Config(**d.like_llama(), attention_bias=d.flag(), hidden_act=d.one_of(*ACTIVATIONS))


def phi3(d):
    d_head = d.one_of(8, 12, 16)
    return Phi3Config(
        **d.like_llama() | {"rope_parameters": d.longrope(d_head), "hidden_size": d.heads * d_head},
        original_max_position_embeddings=d.one_of(4, 8, 32), sliding_window=d.one_of(None, d.window()),
    )


FAMILIES = [gpt2, gpt_neox, llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3, olmo2, phi3]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-family", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for family in FAMILIES:
        for index in range(args.per_family):
            seed = f"{args.seed}-{family.__name__}-{index}"
            draw = Draw(seed)
            config = family(draw)
            torch.manual_seed(draw.rng.getrandbits(32))
            tokens = (draw.one_of(1, 2), draw.one_of(1, 5, 13, 17))
            write(args.out / seed, config, draw.one_of(*DTYPES), "10KB" if draw.flag() else "1GB", tokens, seed)


if __name__ == "__main__":
    main()
