#!/usr/bin/env python3
"""Writes small seeded dictionaries as SAELens saves them, with what SAELens computes from them.

Each folder of tests/parity/fixtures/sae/ holds `cfg.json` and `sae_weights.safetensors`, written by SAELens' own save
function, and `io.safetensors`: rows `x` [n, d_in], `features` = encode(x) [n, d_sae] and `reconstruction` = what
the dictionary gives for x [n, d_in], of transcoders [n, d_out], all f32. Its metadata key `provenance` names the versions and the seed.

Some are rewritten afterwards as SAELens 2 to 5 had them (`OLDER`), or as sparsify and Gemma Scope store them, with the values of
SAELens' own; SAELens 6 reads the former, so that what is recorded is what it makes of them.

A row is kept only where no feature lies close to switching (see `margin`), so that every correct implementation finds
the same features, whatever its order of summation.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import sae_lens
import torch
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.saes.transcoder import (
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    JumpReLUTranscoder,
    JumpReLUTranscoderConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    Transcoder,
    TranscoderConfig,
)
from safetensors.torch import load_file, save_file

SEED = 20
D_IN, D_SAE, K, ROWS = 12, 40, 5, 64
# Width of what transcoders predict.
D_OUT = 9
# Distance that every feature keeps from its switching point, a thousand times the rounding error of f32 here.
MARGIN = 1e-3
OUT = Path(__file__).resolve().parent / "fixtures" / "sae"
METADATA = {"model_name": "fixture", "hook_name": "blocks.0.hook_resid_post", "context_size": 16, "prepend_bos": True}


def dictionaries():
    """Name -> (SAE, its function that saves for inference). What each shows is said beside it."""
    size = {"d_in": D_IN, "d_sae": D_SAE}
    topk = {**size, "k": K}
    plain = TopKSAE(TopKSAEConfig(**topk, rescale_acts_by_decoder_norm=False))
    # Ranks by activation times decoder norm; the rows of W_dec have different norms.
    rescaled = TopKSAE(TopKSAEConfig(**topk, rescale_acts_by_decoder_norm=True))
    # A training checkpoint saved for inference: SAELens folds the norms into W_enc and b_enc.
    trained = TopKTrainingSAE(TopKTrainingSAEConfig(**topk, rescale_acts_by_decoder_norm=True))
    standard = StandardSAE(StandardSAEConfig(**size))
    # b_dec is not subtracted from the input, as in Gemma Scope.
    jumprelu = JumpReLUSAE(JumpReLUSAEConfig(**size, apply_b_dec_to_input=False))
    # Rows are scaled one by one before they are encoded, and their reconstructions back.
    layer_norm = StandardSAE(StandardSAEConfig(**size, normalize_activations="layer_norm"))
    constant_norm = TopKSAE(TopKSAEConfig(**topk, normalize_activations="constant_norm_rescale"))
    gated = GatedSAE(GatedSAEConfig(**size))
    # What is predicted has another width, and nothing is subtracted from the input.
    across = {**size, "d_out": D_OUT, "apply_b_dec_to_input": False}
    transcoders = {
        "transcoder": Transcoder(TranscoderConfig(**across)),
        "skip-transcoder": SkipTranscoder(SkipTranscoderConfig(**across)),
        "jumprelu-transcoder": JumpReLUTranscoder(JumpReLUTranscoderConfig(**across)),
        "jumprelu-skip-transcoder": JumpReLUSkipTranscoder(JumpReLUSkipTranscoderConfig(**across)),
    }
    return {
        "topk": (plain, plain.save_model),
        "topk-rescaled": (rescaled, rescaled.save_model),
        "topk-trained": (trained, trained.save_inference_model),
        "standard": (standard, standard.save_model),
        "jumprelu": (jumprelu, jumprelu.save_model),
        **{name: (transcoder, transcoder.save_model) for name, transcoder in transcoders.items()},
        "layer-norm": (layer_norm, layer_norm.save_model),
        "constant-norm": (constant_norm, constant_norm.save_model),
        "gated": (gated, gated.save_model),
    }


def fill(sae, random):
    """Random weights. The encoder bias is mostly negative, so that some rows have fewer than k active features."""

    def normal(*shape, scale=1.0):
        return torch.from_numpy((scale * random.standard_normal(shape)).astype(np.float32))

    d_out = getattr(sae.cfg, "d_out", D_IN)
    decoder = torch.nn.functional.normalize(normal(D_SAE, d_out), dim=1)
    # An encoder reads what its decoder writes, but a transcoder's has nothing to do with it.
    read = decoder if d_out == D_IN else torch.nn.functional.normalize(normal(D_SAE, D_IN), dim=1)
    lengths = torch.from_numpy(random.uniform(0.5, 2.0, (D_SAE, 1)).astype(np.float32))
    with torch.no_grad():
        sae.W_dec.copy_(decoder * lengths)
        sae.W_enc.copy_(read.T + normal(D_IN, D_SAE, scale=0.1))
        getattr(sae, "b_gate" if hasattr(sae, "b_gate") else "b_enc").copy_(normal(D_SAE, scale=0.5) - 2.0)
        sae.b_dec.copy_(normal(d_out, scale=0.5))
        if hasattr(sae, "W_skip"):
            sae.W_skip.copy_(normal(d_out, D_IN, scale=0.3))
        if hasattr(sae, "r_mag"):
            sae.r_mag.copy_(normal(D_SAE, scale=0.2))
            sae.b_mag.copy_(normal(D_SAE, scale=0.5))
        if hasattr(sae, "threshold"):
            sae.threshold.copy_(normal(D_SAE, scale=0.3).abs())


def margin(sae, x):
    """Per row, how far the pre-activation nearest to its switching point lies from it."""
    seen = sae.run_time_activation_norm_fn_in(x)
    if sae.cfg.apply_b_dec_to_input:
        seen = seen - sae.b_dec
    pre = seen @ sae.W_enc + (sae.b_gate if hasattr(sae, "b_gate") else sae.b_enc)
    if hasattr(sae, "r_mag"):
        return torch.minimum(pre.abs(), (seen @ (sae.W_enc * sae.r_mag.exp()) + sae.b_mag).abs()).amin(dim=1)
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        pre = pre * sae.W_dec.norm(dim=-1)
    if hasattr(sae, "threshold"):
        return torch.minimum((pre - sae.threshold).abs(), pre.abs()).amin(dim=1)
    if hasattr(sae.cfg, "k"):
        top = pre.topk(sae.cfg.k + 1, dim=1).values
        # Only a positive k-th value has a rival; zero is a switching point for every candidate.
        gap = torch.where(top[:, -2] > 0, top[:, -2] - top[:, -1], torch.inf)
        return torch.minimum(gap, top.abs().amin(dim=1))
    return pre.abs().amin(dim=1)


@torch.no_grad()
def write(folder):
    random = np.random.Generator(np.random.PCG64(SEED))
    versions = {"sae_lens": sae_lens.__version__, "torch": torch.__version__.split("+")[0], "numpy": np.__version__}
    provenance = json.dumps({"generator": Path(__file__).name, "seed": SEED, **versions})
    for name, (sae, save) in dictionaries().items():
        fill(sae, random)
        for key, value in METADATA.items():
            sae.cfg.metadata[key] = value
        if hasattr(sae.cfg, "d_out"):
            sae.cfg.metadata["hook_name_out"] = "blocks.0.hook_mlp_out"
        pool = torch.from_numpy((1.5 * random.standard_normal((4 * ROWS, D_IN))).astype(np.float32))
        x = pool[margin(sae, pool) > MARGIN][:ROWS].contiguous()
        if len(x) < ROWS:
            sys.exit(f"{name}: only {len(x)} rows keep the margin; choose another seed")
        path = folder / name
        save(path)
        # SAELens' order of keys changes from run to run.
        config = path / "cfg.json"
        config.write_text(json.dumps(json.loads(config.read_text()), sort_keys=True, indent=2) + "\n")
        saved = sae_lens.SAE.load_from_disk(path)
        features = saved.encode(x)
        # A skip connection takes part in the whole alone.
        reconstruction = saved(x) if hasattr(saved, "W_skip") else saved.decode(features)
        values = {"x": x, "features": features, "reconstruction": reconstruction}
        save_file(values, path / "io.safetensors", metadata={"provenance": provenance})
        active = (features > 0).sum(dim=1)
        print(f"{name:14} {ROWS} rows, {active.min()} to {active.max()} active features")


# What SAELens 3 to 5 kept at the top level of cfg.json.
V3 = {
    "d_in": D_IN,
    "d_sae": D_SAE,
    "dtype": "torch.float32",
    "device": "cpu",
    "model_name": "gpt2-small",
    "hook_name": "blocks.0.hook_resid_pre",
    "hook_layer": 0,
    "hook_head_index": None,
    "architecture": "standard",
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "apply_b_dec_to_input": True,
    "finetuning_scaling_factor": False,
    "normalize_activations": "none",
    "context_size": 128,
    "prepend_bos": True,
    "dataset_path": "Skylion007/openwebtext",
    "neuronpedia_id": "gpt2-small/0-res-jb",
    "sae_lens_training_version": "3.12.1",
}
# Name -> (fixture whose tensors it has, cfg.json as it was written then).
OLDER = {
    "older-standard": ("standard", V3),
    "older-topk": ("topk", {**V3, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}),
    "older-jumprelu": ("jumprelu", {**V3, "architecture": "jumprelu", "apply_b_dec_to_input": False}),
    "older-gated": ("gated", {**V3, "architecture": "gated"}),
    "older-layer-norm": ("layer-norm", {**V3, "normalize_activations": "layer_norm"}),
    # Version 2: hooks were points, and nothing said how activations are computed.
    "older-v2": (
        "standard",
        {
            **{key: V3[key] for key in ("d_in", "d_sae", "dtype", "device", "model_name", "context_size")},
            "hook_point": "blocks.0.hook_resid_pre",
            "hook_point_layer": 0,
            "hook_point_head_index": None,
            "normalize_activations": False,
            "l1_coefficient": 8e-05,
            "expansion_factor": 4,
        },
    ),
}


@torch.no_grad()
def write_older(folder):
    """The same tensors and rows under a configuration of before, with what SAELens 6 makes of it."""
    for name, (base, config) in OLDER.items():
        path = folder / name
        path.mkdir(exist_ok=True)
        shutil.copy(folder / base / "sae_weights.safetensors", path)
        (path / "cfg.json").write_text(json.dumps(config, indent=2) + "\n")
        saved = sae_lens.SAE.load_from_disk(path)
        x = load_file(folder / base / "io.safetensors")["x"]
        features = saved.encode(x)
        values = {"x": x, "features": features, "reconstruction": saved.decode(features)}
        save_file(values, path / "io.safetensors", metadata={"of": base})


@torch.no_grad()
def write_others(folder):
    """The tensors of `topk` and `jumprelu` as other tools store them; they compute the same."""
    topk, jumprelu = (load_file(folder / base / "sae_weights.safetensors") for base in ("topk", "jumprelu"))
    path = folder / "sparsify" / "layers.3.mlp"
    path.mkdir(parents=True, exist_ok=True)
    config = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": D_SAE, "k": K}
    further = {"multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D_IN}
    (path / "cfg.json").write_text(json.dumps(config | further) + "\n")
    renamed = {"encoder.weight": topk["W_enc"].T.contiguous(), "encoder.bias": topk["b_enc"]}
    save_file(renamed | {key: topk[key] for key in ("W_dec", "b_dec")}, path / "sae.safetensors")
    (path.parent / "config.json").write_text(json.dumps({"model": "fixture/model", "ctx_len": 64}) + "\n")
    path = folder / "gemma-scope-2b-pt-res" / "layer_7" / "width_40" / "average_l0_5"
    path.mkdir(parents=True, exist_ok=True)
    np.savez(path / "params.npz", **{key: value.numpy() for key, value in jumprelu.items()})
    path = folder / "gemma-scope-2b-pt-res" / "layer_7" / "width_40" / "compressed"
    path.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path / "params.npz", **{key: value.numpy() for key, value in jumprelu.items()})
    path = folder / "gemma-scope-2-1b-pt" / "resid_post" / "layer_7_width_40"
    path.mkdir(parents=True, exist_ok=True)
    save_file({key.replace("W_", "w_"): value for key, value in jumprelu.items()}, path / "params.safetensors")
    config = {"architecture": "jump_relu", "model_name": "gemma-v3-1b-pt", "hf_hook_point_in": "model.layers.7.output"}
    (path / "config.json").write_text(json.dumps(config) + "\n")


def main():
    torch.set_num_threads(1)
    write(OUT)
    write_older(OUT)
    write_others(OUT)


if __name__ == "__main__":
    main()
