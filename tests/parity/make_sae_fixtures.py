#!/usr/bin/env python3
"""Writes small seeded dictionaries as SAELens saves them, with what SAELens computes from them.

Each folder of tests/parity/fixtures/sae/ holds `cfg.json` and `sae_weights.safetensors`, written by SAELens' own save
function, and `io.safetensors`: rows `x` [n, d_in], `features` = encode(x) [n, d_sae] and `reconstruction` = what
the dictionary gives for x [n, d_in], of transcoders [n, d_out], all f32. Its metadata key `provenance` names the versions and the seed.

A row is kept only where no feature lies close to switching (see `margin`), so that every correct implementation finds
the same features, whatever its order of summation.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sae_lens
import torch
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
from safetensors.torch import save_file

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
        sae.b_enc.copy_(normal(D_SAE, scale=0.5) - 2.0)
        sae.b_dec.copy_(normal(d_out, scale=0.5))
        if hasattr(sae, "W_skip"):
            sae.W_skip.copy_(normal(d_out, D_IN, scale=0.3))
        if hasattr(sae, "threshold"):
            sae.threshold.copy_(normal(D_SAE, scale=0.3).abs())


def margin(sae, x):
    """Per row, how far the pre-activation nearest to its switching point lies from it."""
    pre = (x - sae.b_dec if sae.cfg.apply_b_dec_to_input else x) @ sae.W_enc + sae.b_enc
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


def main():
    torch.set_num_threads(1)
    write(OUT)


if __name__ == "__main__":
    main()
