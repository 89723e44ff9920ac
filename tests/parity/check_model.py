#!/usr/bin/env python3
"""Compares every hook point of an activation file with transformers (eager attention, f32).

    check_model.py MODEL_DIR              lists the hook points to capture, one a line
    check_model.py MODEL_DIR STORE.h5     compares

The store is captured in f32 with these hook points. At each, the largest difference may be 1e-4 of the reference's
RMS.
"""

import argparse
import sys

import torch
from reference_hooks import places, values
from store import Store
from transformers import AutoConfig, AutoModelForCausalLM

TOLERANCE = 1e-4


def reference(model, store):
    """Hook name -> rows [n_rows, d] in the order of the store: one forward pass per context."""
    tokens = torch.from_numpy(store.tokens.astype("int64"))
    passes = [values(model, tokens[context][None]) for context in store.contexts()]
    return {hook: torch.cat([found[hook][0] for found in passes]) for hook in store.hooks}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("store", nargs="?")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.store is None:
        print(*places(AutoConfig.from_pretrained(args.model)), sep="\n")
        return

    store = Store(args.store)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager").eval()
    problems = list(store.problems())
    missing = [hook for hook in places(model.config) if hook not in store.hooks]
    problems += [f"the store lacks {hook}" for hook in missing]
    problems += [f"{hook} has no reference" for hook in store.hooks if hook not in places(model.config)]
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if problems:
        sys.exit(1)

    name = f"{model.config.model_type} {store.manifest['model']['name']}"
    print(f"{name}: {store.n_rows} rows; differences relative to the reference's RMS")
    print(f"  {'hook point':34}{'max':>10}{'mean':>10}")
    expected, agree = reference(model, store), True
    for hook in store.hooks:
        error = (torch.from_numpy(store.rows(hook)) - expected[hook]).abs() / expected[hook].square().mean().sqrt()
        good = bool(error.max() <= TOLERANCE)
        agree = agree and good
        print(f"  {hook:34}{error.max():10.1e}{error.mean():10.1e}{'' if good else '  TOO FAR'}")
    print("agree" if agree else "DISAGREE")
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
