#!/usr/bin/env python3
"""Seconds that it takes to describe every feature of a dictionary, ours and SAEDashboard's.

A random model of GPT-2 small's shape reads a text of random words, and a JumpReLU dictionary of its block 6 is trained (their
runner takes no TopK dictionary whose decoder rows it would have to fold). Then both sides begin with the model, the dictionary and
the text: SAEDashboard's `SaeVisRunner` with its cache of activations, as its users run it, without the writing of any file; ours
captures to disk, describes and labels the features, and writes the page of all of them. Both are told twice: from the text, of
which the model's pass is a large part, and from activations that are stored, theirs by a second run that finds its cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import SAE, HookedSAETransformer
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

CONTEXT = 128
HOOK = "blocks.6.hook_resid_pre"


def lens(path):
    """The model in TransformerLens, its weights as they are."""
    hf = GPT2LMHeadModel.from_pretrained(path)
    own = hf.config
    config = HookedTransformerConfig(
        n_layers=own.n_layer, d_model=own.n_embd, n_ctx=own.n_positions, d_head=own.n_embd // own.n_head,
        n_heads=own.n_head, d_vocab=own.vocab_size, act_fn="gelu_new", eps=own.layer_norm_epsilon,
        normalization_type="LN", default_prepend_bos=False, model_name="gpt2-small-shaped", device="cpu",
    )
    # TransformerLens loads a tokenizer once more from where it lies, so it has to lie there as a whole.
    special = {"pad_token": "w0", "bos_token": "w0", "eos_token": "w0", "unk_token": "w0"}
    place = str(path.parent / "tokenizer")
    PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"), **special).save_pretrained(place)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(place)
    model = HookedSAETransformer(config, tokenizer=tokenizer)
    model.load_state_dict(convert_gpt2_weights(hf, config), strict=False)
    return model.eval()


def peer(model, sae, tokens, cache):
    """The seconds of SAEDashboard's runner, over all features; with a cache that is filled, it has the activations already."""
    config = SaeVisConfig(hook_point=HOOK, features=list(range(sae.cfg.d_sae)), device="cpu", cache_dir=cache)
    start = time.perf_counter()
    found = SaeVisRunner(config).run(encoder=sae, model=model, tokens=tokens)
    seconds = time.perf_counter() - start
    if len(found.feature_data_dict) != sae.cfg.d_sae:
        sys.exit(f"bench-features: SAEDashboard described {len(found.feature_data_dict)} of {sae.cfg.d_sae} features")
    return seconds


def ours(binary, model, sae, text, tokens, folder):
    """The seconds of our commands from the text to the page, and from the store to the page."""
    store, database = folder / "again.h5", folder / "features.db"
    start = time.perf_counter()
    run(binary, capture(model, text, tokens, store))
    captured = time.perf_counter()
    run(binary, ["features", sae, "--store", store, "--model", model, "--out", database, "--no-outputs", "--force"])
    run(binary, ["dashboard", database, "--out", folder / "page", "--force"])
    end = time.perf_counter()
    return end - start, end - captured


def capture(model, text, tokens, store):
    words = ["--hook", HOOK, "--tokens", tokens, "--context", CONTEXT, "--bos", "never"]
    return ["capture", model, "--text", text, *words, "--out", store, "--force"]


def run(binary, words):
    done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench-features: {' '.join(map(str, words))} failed:\n{done.stderr}")


def machine():
    with open("/proc/cpuinfo") as info:
        name = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    return f"{name}, {os.cpu_count()} processors"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the program untangle")
    parser.add_argument("--features", type=int, default=4096, help="features of the dictionary")
    parser.add_argument("--tokens", type=int, default=32_768, help="tokens of the text")
    parser.add_argument("--rounds", type=int, default=1, help="times that both sides take their turn")
    args = parser.parse_args()
    binary = Path(args.binary).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, text, store, sae = folder / "gpt2-small-shaped", folder / "text.txt", folder / "store.h5", folder / "sae"
        maker = Path(__file__).parent.with_name("capture") / "make_model.py"
        subprocess.run([sys.executable, maker, model, text, str(args.tokens)], check=True, stderr=subprocess.DEVNULL)
        run(binary, capture(model, text, args.tokens, store))
        run(binary, ["train", store, "--out", sae, "--d-sae", args.features, "--arch", "jump-relu", "--l0", 32, "--tokens", 4 * args.tokens, "--batch", 1024])
        ids = torch.tensor([int(line) for line in text.with_name("text.txt.ids").read_text().split()])
        tokens = ids[: len(ids) // CONTEXT * CONTEXT].view(-1, CONTEXT)
        print(f"{machine()}; {args.features} features, {tokens.numel()} tokens")
        reader = lens(model)
        for number in range(args.rounds):
            from_text, from_store = ours(binary, model, sae, text, args.tokens, folder)
            for what, own in [("from the text", from_text), ("from stored activations", from_store)]:
                theirs = peer(reader, SAE.load_from_disk(str(sae)), tokens, folder / f"cache-{number}")
                ratio = f"{theirs / own:.1f} times as fast"
                print(f"round {number}, {what}: SAEDashboard {theirs:.1f} s, Untangle {own:.1f} s: {ratio}", flush=True)


if __name__ == "__main__":
    main()
