#!/usr/bin/env python3
"""Writes small seeded dictionaries as SAELens saves them, with what SAELens computes from them.

Each folder of tests/parity/fixtures/sae/ holds `cfg.json` and `sae_weights.safetensors`, written by SAELens' own save
function, and `io.safetensors`: rows `x` [n, d_in], `features` = encode(x) [n, d_sae] and `reconstruction` =
decode(encode(x)) [n, d_in], all f32. Its metadata key `provenance` names the versions and the seed.

A row is kept only where no feature lies close to switching (see `margin`), so that every correct implementation finds
the same features, whatever its order of summation.

    make_sae_fixtures.py            writes the fixtures
    make_sae_fixtures.py --check    regenerates them elsewhere and compares with the committed ones
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import sae_lens
import torch
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
from safetensors import safe_open
from safetensors.torch import save_file

SEED = 20
D_IN, D_SAE, K, ROWS = 12, 40, 5, 64
# Distance that every feature keeps from its switching point, a thousand times the rounding error of f32 here.
MARGIN = 1e-3
# Largest difference between two machines' f32 results, relative to the largest value of the tensor.
TOLERANCE = 1e-5
FOLDER = Path(__file__).resolve().parent / "fixtures" / "sae"
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
    return {
        "topk": (plain, plain.save_model),
        "topk-rescaled": (rescaled, rescaled.save_model),
        "topk-trained": (trained, trained.save_inference_model),
        "standard": (standard, standard.save_model),
        "jumprelu": (jumprelu, jumprelu.save_model),
    }


def fill(sae, random):
    """Random weights. The encoder bias is mostly negative, so that some rows have fewer than k active features."""

    def normal(*shape, scale=1.0):
        return torch.from_numpy((scale * random.standard_normal(shape)).astype(np.float32))

    decoder = torch.nn.functional.normalize(normal(D_SAE, D_IN), dim=1)
    lengths = torch.from_numpy(random.uniform(0.5, 2.0, (D_SAE, 1)).astype(np.float32))
    with torch.no_grad():
        sae.W_dec.copy_(decoder * lengths)
        sae.W_enc.copy_(decoder.T + normal(D_IN, D_SAE, scale=0.1))
        sae.b_enc.copy_(normal(D_SAE, scale=0.5) - 2.0)
        sae.b_dec.copy_(normal(D_IN, scale=0.5))
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
        values = {"x": x, "features": features, "reconstruction": saved.decode(features)}
        save_file(values, path / "io.safetensors", metadata={"provenance": provenance})
        active = (features > 0).sum(dim=1)
        print(f"{name:14} {ROWS} rows, {active.min()} to {active.max()} active features")


def tensors(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def differences(ours, theirs):
    """What differs between two files of tensors, in words."""
    (found, made_by), (expected, expected_by) = tensors(ours), tensors(theirs)
    if made_by != expected_by:
        yield f"made by {made_by}, committed by {expected_by}"
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected:
            yield f"tensor {name} is in one file only"
        elif found[name].shape != expected[name].shape:
            yield f"tensor {name} has shapes {tuple(found[name].shape)} and {tuple(expected[name].shape)}"
        else:
            error = (found[name] - expected[name]).abs().max() / expected[name].abs().max()
            if not error <= TOLERANCE:
                yield f"tensor {name} differs by {error:.1e} of its largest value"


def check(committed):
    """Regenerates and compares; returns whether all agree."""
    agree = True
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        write(made)
        files = {path.relative_to(root) for root in (made, committed) for path in root.rglob("*") if path.is_file()}
        for file in sorted(files):
            if not (made / file).exists() or not (committed / file).exists():
                problems = ["exists on one side only"]
            elif file.suffix == ".json":
                same = json.loads((made / file).read_text()) == json.loads((committed / file).read_text())
                problems = [] if same else ["differs"]
            else:
                problems = list(differences(made / file, committed / file))
            for problem in problems:
                print(f"{file}: {problem}")
            agree = agree and not problems
    print("fixtures: the committed ones are what SAELens gives" if agree else "fixtures: NOT the same")
    return agree


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed fixtures instead of writing")
    torch.set_num_threads(1)
    if parser.parse_args().check:
        sys.exit(0 if check(FOLDER) else 1)
    write(FOLDER)


if __name__ == "__main__":
    main()
