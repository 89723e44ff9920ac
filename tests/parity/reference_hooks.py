"""Values of transformers at hook points with TransformerLens names, read through module hooks.

One entry per hook point says on which module it lies, whether the module's input or output is meant, and which columns.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Place:
    """Where a hook point lies: the input or output of a module, perhaps one of `parts` equal slices of its columns."""

    module: str
    side: str = "output"
    part: int = 0
    parts: int = 1


def _final_norm(name):
    return {"ln_final.hook_normalized": Place(name, "input")}


def _llama(layers):
    places = {"hook_embed": Place("model.embed_tokens"), **_final_norm("model.norm")}
    for layer in range(layers):
        block, name = f"model.layers.{layer}", f"blocks.{layer}"
        places |= {
            f"{name}.hook_resid_pre": Place(block, "input"),
            f"{name}.attn.hook_q": Place(f"{block}.self_attn.q_proj"),
            f"{name}.attn.hook_k": Place(f"{block}.self_attn.k_proj"),
            f"{name}.attn.hook_v": Place(f"{block}.self_attn.v_proj"),
            f"{name}.attn.hook_z": Place(f"{block}.self_attn.o_proj", "input"),
            f"{name}.hook_attn_out": Place(f"{block}.self_attn.o_proj"),
            f"{name}.hook_resid_mid": Place(f"{block}.post_attention_layernorm", "input"),
            f"{name}.mlp.hook_pre": Place(f"{block}.mlp.gate_proj"),
            f"{name}.mlp.hook_post": Place(f"{block}.mlp.down_proj", "input"),
            f"{name}.hook_mlp_out": Place(f"{block}.mlp"),
            f"{name}.hook_resid_post": Place(block),
        }
    return places


def _gpt2(layers):
    places = {"hook_embed": Place("transformer.wte"), **_final_norm("transformer.ln_f")}
    for layer in range(layers):
        block, name = f"transformer.h.{layer}", f"blocks.{layer}"
        for part, qkv in enumerate("qkv"):
            places[f"{name}.attn.hook_{qkv}"] = Place(f"{block}.attn.c_attn", "output", part, 3)
        places |= {
            f"{name}.hook_resid_pre": Place(block, "input"),
            f"{name}.attn.hook_z": Place(f"{block}.attn.c_proj", "input"),
            f"{name}.hook_attn_out": Place(f"{block}.attn.c_proj"),
            f"{name}.hook_resid_mid": Place(f"{block}.ln_2", "input"),
            f"{name}.mlp.hook_pre": Place(f"{block}.mlp.c_fc"),
            f"{name}.mlp.hook_post": Place(f"{block}.mlp.c_proj", "input"),
            f"{name}.hook_mlp_out": Place(f"{block}.mlp"),
            f"{name}.hook_resid_post": Place(block),
        }
    return places


FAMILIES = {"llama": _llama, "gpt2": _gpt2}


def places(config):
    """Hook name -> place, for every hook point of a model that holds one row per token."""
    return FAMILIES[config.model_type](config.num_hidden_layers)


def normalized(stream, config):
    """What the final norm yields before its weight: LayerNorm for gpt2, RMSNorm for llama."""
    if config.model_type == "gpt2":
        centred = stream - stream.mean(dim=-1, keepdim=True)
        return centred / (centred.square().mean(dim=-1, keepdim=True) + config.layer_norm_epsilon).sqrt()
    return stream / (stream.square().mean(dim=-1, keepdim=True) + config.rms_norm_eps).sqrt()


@torch.no_grad()
def values(model, ids):
    """Hook name -> [batch, seq, d] of one forward pass over ids [batch, seq]."""
    found, handles = {}, []

    def keep(hook, place, tensor):
        tensor = tensor[0] if isinstance(tensor, tuple) else tensor
        found[hook] = tensor.detach().chunk(place.parts, dim=-1)[place.part].clone()

    for hook, place in places(model.config).items():
        module = model.get_submodule(place.module)
        if place.side == "input":
            visit = lambda _, args, kwargs, h=hook, p=place: keep(h, p, args[0] if args else kwargs["hidden_states"])
            handles.append(module.register_forward_pre_hook(visit, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(lambda _, args, out, h=hook, p=place: keep(h, p, out)))
    try:
        model(ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    final = "ln_final.hook_normalized"
    found[final] = normalized(found[final], model.config)
    return found
