#!/usr/bin/env python3
"""Checks a dictionary directory, an activation file and codes of Untangle with sae_lens and h5py.

    check_sae.py SAE_DIR STORE.h5 CODES.safetensors EVALUATION.json

CODES is what `untangle encode SAE_DIR STORE.h5 --rows N --out CODES.safetensors` wrote: `rows` i64 [n] (row
numbers in the store), `starts` i64 [n+1], `features` i64 [nnz] and `activations` f32 [nnz] in compressed rows. EVALUATION is
what `untangle evaluate SAE_DIR --store STORE.h5 --rows all --json` wrote.

SAELens encodes the same rows. Activations must agree to 1e-5 of the row's largest; a feature may be active on one side
only where its pre-activation lies within that distance of its switching point. FVU over all rows, of transcoders that of
what they predict, must agree to 1e-4 of itself.
"""

import argparse
import json
import sys
from pathlib import Path

import sae_lens
import torch
from safetensors.torch import load_file
from store import Store

TOLERANCE = 1e-5
FVU_TOLERANCE = 1e-4
# Rows that SAELens reconstructs at once.
BLOCK_ROWS = 8192


def dense(codes, n_features):
    """Codes in compressed rows as [n, d_sae]."""
    counts = codes["starts"].diff()
    row = torch.arange(len(counts)).repeat_interleave(counts)
    values = torch.zeros(len(counts), n_features)
    values[row, codes["features"]] = codes["activations"]
    return values


def switching_distance(sae, x):
    """How far each pre-activation lies from the point where its feature switches, [n, d_sae], in f64."""
    bias = "b_gate" if hasattr(sae, "b_gate") else "b_enc"
    w_enc, w_dec, b_enc = (getattr(sae, name).double() for name in ("W_enc", "W_dec", bias))
    x = x.double()
    pre = (x - sae.b_dec.double() if sae.cfg.apply_b_dec_to_input else x) @ w_enc + b_enc
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        pre = pre * w_dec.norm(dim=-1)
    distance = pre.abs()
    if hasattr(sae, "r_mag"):
        magnitude = (pre - b_enc) * sae.r_mag.double().exp() + sae.b_mag.double()
        distance = torch.minimum(distance, magnitude.abs())
    if hasattr(sae, "threshold"):
        distance = torch.minimum(distance, (pre - sae.threshold.double()).abs())
    if hasattr(sae.cfg, "k"):
        top = pre.topk(min(sae.cfg.k + 1, pre.shape[1]), dim=1).values
        # A chosen feature switches where the next one overtakes it, another one where it overtakes the k-th.
        rival = torch.where(pre >= top[:, [sae.cfg.k - 1]], top[:, [-1]], top[:, [sae.cfg.k - 1]])
        distance = torch.minimum(distance, (pre - rival).abs())
    return distance


@torch.no_grad()
def compare(sae, x, ours):
    """Compares features [n, d_sae] with SAELens' on rows [n, d_in]; returns a table, value by name, and a verdict."""
    theirs = sae.encode(x)
    scale = theirs.amax(dim=1, keepdim=True).clamp(min=1e-30)
    both = (ours > 0) & (theirs > 0)
    error = ((ours - theirs).abs() / scale)[both]
    disputed = (ours > 0) != (theirs > 0)
    distance = (switching_distance(sae, x) / scale)[disputed]
    table = {
        "rows": len(x),
        "active features, ours": int((ours > 0).sum()),
        "active features, SAELens": int((theirs > 0).sum()),
        "largest error of an activation": f"{error.max().item() if len(error) else 0.0:.2e}",
        "mean error of an activation": f"{error.mean().item() if len(error) else 0.0:.2e}",
        "features active on one side": len(distance),
        "furthest of them from switching": f"{distance.max().item() if len(distance) else 0.0:.2e}",
    }
    agree = len(x) > 0 and bool(both.any()) and bool((error <= TOLERANCE).all()) and bool((distance <= TOLERANCE).all())
    return table, agree


@torch.no_grad()
def fvu(sae, x, y):
    """Fraction of the variance of y [n, d_out] that SAELens' reconstruction from x [n, d_in] leaves unexplained."""
    blocks = zip(x.split(BLOCK_ROWS), y.split(BLOCK_ROWS))
    error = sum(((y - sae(x)).double() ** 2).sum() for x, y in blocks)
    y = y.double()
    return (error / ((y - y.mean(dim=0)) ** 2).sum()).item()


def lost_configuration(directory, sae):
    """What `cfg.json` says and SAELens, having loaded it, does not; it discards what it takes for an old form."""
    written = json.loads((Path(directory) / "cfg.json").read_text())
    loaded = sae.cfg.to_dict()
    for key, value in {**written, **written["metadata"]}.items():
        found = loaded["metadata"].get(key) if key in written["metadata"] else loaded.get(key)
        if key != "metadata" and found != value:
            yield f"cfg.json has {key} {value!r}, SAELens reads {found!r}"


def hooks_of(sae, store):
    """The store's datasets that the dictionary reads and reconstructs."""
    read = sae.cfg.metadata.hook_name
    hooks = (read, sae.cfg.metadata.hook_name_out if hasattr(sae.cfg, "d_out") else read)
    for hook in hooks:
        if hook not in store.hooks:
            sys.exit(f"the dictionary belongs to {hook}, the store has {', '.join(store.hooks)}")
    return hooks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sae")
    parser.add_argument("store")
    parser.add_argument("codes")
    parser.add_argument("evaluation")
    args = parser.parse_args()
    torch.set_num_threads(1)

    store = Store(args.store)
    print(*store.summary(), sep="\n")
    sae = sae_lens.SAE.load_from_disk(args.sae)
    problems = [*store.problems(), *lost_configuration(args.sae, sae)]
    for problem in problems:
        print(f"  PROBLEM: {problem}")

    codes = load_file(args.codes)
    x, y = (torch.from_numpy(store.rows(hook)) for hook in hooks_of(sae, store))
    norms = sae.W_dec.norm(dim=1)
    print(f"{sae.cfg.architecture()} {sae.cfg.d_in} x {sae.cfg.d_sae} loaded by sae_lens {sae_lens.__version__}, "
          f"decoder norms {norms.min():.6f} to {norms.max():.6f}")
    table, agree = compare(sae, x[codes["rows"]], dense(codes, sae.cfg.d_sae))
    found, ours = fvu(sae, x, y), json.loads(Path(args.evaluation).read_text())["dictionaries"][0]["fvu_all_rows"]
    table |= {"FVU of all rows, ours": f"{ours:.6f}", "FVU of all rows, SAELens": f"{found:.6f}"}
    agree = agree and abs(found - ours) <= FVU_TOLERANCE * found
    for name, value in table.items():
        print(f"  {name:32} {value}")
    print("agree" if agree and not problems else "DISAGREE")
    sys.exit(0 if agree and not problems else 1)


if __name__ == "__main__":
    main()
