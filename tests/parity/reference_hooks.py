"""Values of transformers at hook points with TransformerLens names, read through module hooks.

One entry per hook point says on which module it lies, whether the module's input or output is meant, and which columns.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Place:
    """Where a hook point lies: the input or output of a module, perhaps a part of its columns."""

    module: str
    side: str = "output"
    part: Callable = lambda columns: columns


def columns(start, width):
    """Columns `start` to `start + width`."""
    return lambda tensor: tensor[..., start : start + width]


def columns_of_heads(heads, index, of):
    """Of each head's columns, the part `index` of `of` equal ones."""
    return lambda tensor: tensor.unflatten(-1, (heads, of, -1))[..., index, :].flatten(-2)


def scale(stream, config):
    """What a norm divides by: LayerNorm for the GPTs, else RMSNorm."""
    if config.model_type in ("gpt2", "gpt_neox"):
        eps = config.layer_norm_epsilon if config.model_type == "gpt2" else config.layer_norm_eps
        return ((stream - stream.mean(dim=-1, keepdim=True)).square().mean(dim=-1, keepdim=True) + eps).sqrt()
    return (stream.square().mean(dim=-1, keepdim=True) + config.rms_norm_eps).sqrt()


def normalized(stream, config):
    """What a norm yields before its weight."""
    centred = stream - stream.mean(dim=-1, keepdim=True) if config.model_type in ("gpt2", "gpt_neox") else stream
    return centred / scale(stream, config)


def _norm(name, module, config):
    """The two points of a norm, both functions of what it reads."""
    return {
        f"{name}.hook_scale": Place(module, "input", lambda stream: scale(stream, config)),
        f"{name}.hook_normalized": Place(module, "input", lambda stream: normalized(stream, config)),
    }


def _block(names, before, layer, hook):
    """The places of one block. `names` maps a site's name to its place with `{}` for the block's module."""
    return {
        f"{hook}.{site}": Place(place.module.format(f"{before}.{layer}"), place.side, place.part)
        for site, place in names.items()
    }


def _llama(config):
    """Llama and what took over its names; sites whose place differs are replaced."""
    names = {
        "hook_resid_pre": Place("{}", "input"),
        "attn.hook_q": Place("{}.self_attn.q_proj"),
        "attn.hook_k": Place("{}.self_attn.k_proj"),
        "attn.hook_v": Place("{}.self_attn.v_proj"),
        "attn.hook_z": Place("{}.self_attn.o_proj", "input"),
        "hook_attn_out": Place("{}.self_attn.o_proj"),
        "hook_resid_mid": Place("{}.post_attention_layernorm", "input"),
        "hook_mlp_in": Place("{}.post_attention_layernorm", "input"),
        "mlp.hook_pre": Place("{}.mlp.gate_proj"),
        "mlp.hook_post": Place("{}.mlp.down_proj", "input"),
        "hook_mlp_out": Place("{}.mlp"),
        "hook_resid_post": Place("{}"),
    }
    normed_output = {
        "hook_attn_out": Place("{}.post_attention_layernorm"),
        "hook_mlp_out": Place("{}.post_feedforward_layernorm"),
    }
    before_mlp = "{}.post_attention_layernorm"
    match config.model_type:
        case "gemma2" | "gemma3_text":
            before_mlp = "{}.pre_feedforward_layernorm"
            names |= normed_output | dict.fromkeys(["hook_resid_mid", "hook_mlp_in"], Place(before_mlp, "input"))
        case "olmo2":
            names |= normed_output | dict.fromkeys(["hook_resid_mid", "hook_mlp_in"], Place("{}.mlp", "input"))
        case "phi3":
            d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
            d_q, d_kv = config.num_attention_heads * d_head, config.num_key_value_heads * d_head
            names |= {
                "attn.hook_q": Place("{}.self_attn.qkv_proj", "output", columns(0, d_q)),
                "attn.hook_k": Place("{}.self_attn.qkv_proj", "output", columns(d_q, d_kv)),
                "attn.hook_v": Place("{}.self_attn.qkv_proj", "output", columns(d_q + d_kv, d_kv)),
                "mlp.hook_pre": Place("{}.mlp.gate_up_proj", "output", columns(0, config.intermediate_size)),
            }
    if config.model_type != "olmo2":  # which norms what attention and the MLP write
        names |= _norm("ln1", "{}.input_layernorm", config) | _norm("ln2", before_mlp, config)
    return "model.embed_tokens", "model.layers", names, "model.norm"


def _gpt2(config):
    d = config.hidden_size
    names = {
        "hook_resid_pre": Place("{}", "input"),
        "attn.hook_q": Place("{}.attn.c_attn", "output", columns(0, d)),
        "attn.hook_k": Place("{}.attn.c_attn", "output", columns(d, d)),
        "attn.hook_v": Place("{}.attn.c_attn", "output", columns(2 * d, d)),
        "attn.hook_z": Place("{}.attn.c_proj", "input"),
        "hook_attn_out": Place("{}.attn.c_proj"),
        "hook_resid_mid": Place("{}.ln_2", "input"),
        "hook_mlp_in": Place("{}.ln_2", "input"),
        "mlp.hook_pre": Place("{}.mlp.c_fc"),
        "mlp.hook_post": Place("{}.mlp.c_proj", "input"),
        "hook_mlp_out": Place("{}.mlp"),
        "hook_resid_post": Place("{}"),
    }
    names |= _norm("ln1", "{}.ln_1", config) | _norm("ln2", "{}.ln_2", config)
    return "transformer.wte", "transformer.h", names, "transformer.ln_f"


def _gpt_neox(config):
    heads = config.num_attention_heads
    names = {
        "hook_resid_pre": Place("{}", "input"),
        "attn.hook_q": Place("{}.attention.query_key_value", "output", columns_of_heads(heads, 0, 3)),
        "attn.hook_k": Place("{}.attention.query_key_value", "output", columns_of_heads(heads, 1, 3)),
        "attn.hook_v": Place("{}.attention.query_key_value", "output", columns_of_heads(heads, 2, 3)),
        "attn.hook_z": Place("{}.attention.dense", "input"),
        "hook_attn_out": Place("{}.attention.dense"),
        "hook_resid_mid": Place("{}.post_attention_layernorm", "input"),
        "hook_mlp_in": Place("{}.post_attention_layernorm", "input"),
        "mlp.hook_pre": Place("{}.mlp.dense_h_to_4h"),
        "mlp.hook_post": Place("{}.mlp.dense_4h_to_h", "input"),
        "hook_mlp_out": Place("{}.mlp"),
        "hook_resid_post": Place("{}"),
    }
    names |= _norm("ln1", "{}.input_layernorm", config) | _norm("ln2", "{}.post_attention_layernorm", config)
    if config.use_parallel_residual:
        del names["hook_resid_mid"]  # attention and MLP read the same stream
    return "gpt_neox.embed_in", "gpt_neox.layers", names, "gpt_neox.final_layer_norm"


def places(config):
    """Hook name -> place, for every hook point of a model that holds one row per token."""
    family = {"gpt2": _gpt2, "gpt_neox": _gpt_neox}.get(config.model_type, _llama)
    embed, blocks, names, final_norm = family(config)
    found = {"hook_embed": Place(embed)} | _norm("ln_final", final_norm, config)
    for layer in range(config.num_hidden_layers):
        found |= _block(names, blocks, layer, f"blocks.{layer}")
    return found


@torch.no_grad()
def values(model, ids):
    """Hook name -> [batch, seq, d] of one forward pass over ids [batch, seq]."""
    found, handles = {}, []

    def keep(hook, place, tensor):
        tensor = tensor[0] if isinstance(tensor, tuple) else tensor
        found[hook] = place.part(tensor.detach()).clone()

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
    return found


@contextmanager
def scores_kept():
    """What every softmax over keys is given in this block, in order: attention's masked scores."""
    kept, softmax = [], torch.nn.functional.softmax

    def keep(scores, *args, **kwargs):
        # The mask of transformers is the least number of the type; ours is minus infinity.
        kept.append(scores.detach().masked_fill(scores < -1e30, -torch.inf))
        return softmax(scores, *args, **kwargs)

    torch.nn.functional.softmax = keep
    try:
        yield kept
    finally:
        torch.nn.functional.softmax = softmax


@torch.no_grad()
def reference(model, ids):
    """Every hook point, attention scores and patterns [batch, heads, seq, seq] among them, the ids and the logits."""
    found = values(model, ids)
    with scores_kept() as all_scores:
        output = model(ids, use_cache=False, output_attentions=True)
    assert len(all_scores) == model.config.num_hidden_layers, "a softmax that is not attention's"
    for layer, scores in enumerate(all_scores):
        found[f"blocks.{layer}.attn.hook_attn_scores"] = scores
    for layer, pattern in enumerate(output.attentions):
        found[f"blocks.{layer}.attn.hook_pattern"] = pattern
    return {"tokens": ids, "logits": output.logits, **found}
