#!/usr/bin/env python3
"""Tokens per second of capturing, ours and others', and how far each is from what the machine's products allow.

All sides read the same tokens through the same random model of GPT-2 small's shape, 16 x 256 of them at a time (ours in
passes of its own choosing), with the same number of threads. Every round times each of them once, in turn; the table shows medians, and ratios of medians.
Ours includes everything from the text to the synced file on disk; the others keep what they recorded in memory.
Before anything is timed, ours is compared with transformers' activations.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import torch
from transformer_lens import TransformerBridge
from transformers import GPT2Model

CONTEXT, BATCH = 256, 16
LAYER = 6
HOOK = f"blocks.{LAYER}.hook_resid_pre"
# What enters a block is what the one before gives; TransformerLens then has no block to begin in vain.
PEERS_HOOK = f"blocks.{LAYER - 1}.hook_resid_post"
ALL = [f"blocks.{layer}.hook_resid_post" for layer in range(12)]
# Largest difference in units of the reference's RMS, as in the parity tests.
TOLERANCE = 1e-4
# Ours is stored in f16, which rounds a value by at most this share of it.
F16 = 2**-11


class Server:
    """Our side: a process that answers every request with the seconds it took."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.dtypes = self.read().split()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench-capture: our side ended; its error stands above")
        return line.strip()

    def seconds(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return float(self.read())


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peers(model, batches):
    """Name -> work of TransformerLens and of transformers, and the reference activations of the first batch."""
    lens = TransformerBridge.boot_transformers(str(model), dtype=torch.float32, device="cpu")
    cut = GPT2Model.from_pretrained(model, dtype=torch.float32).eval()
    cut.h, cut.ln_f = cut.h[:LAYER], torch.nn.Identity()

    def run_with_cache():
        for ids in batches:
            lens.run_with_cache(ids, names_filter=PEERS_HOOK, stop_at_layer=LAYER, return_type=None)

    def forward():
        for ids in batches:
            cut(ids, use_cache=False)

    reference = cut(batches[0], use_cache=False).last_hidden_state
    _, cache = lens.run_with_cache(batches[0], names_filter=PEERS_HOOK, stop_at_layer=LAYER, return_type=None)
    check("TransformerLens", cache[PEERS_HOOK], reference)
    return {"TransformerLens run_with_cache": run_with_cache, "transformers, cut after six layers": forward}, reference


def check(name, found, reference, rounding=0.0):
    beyond = ((found - reference).abs() - rounding * reference.abs()).max()
    error = max((beyond / reference.square().mean().sqrt()).item(), 0.0)
    if error > TOLERANCE:
        sys.exit(f"bench-capture: {name} differs from transformers by {error:.1e} of its RMS at {HOOK}")
    stored = ", beyond the rounding to f16," if rounding else ""
    print(f"{name}: largest difference from transformers{stored} {error:.1e} of the RMS at {HOOK}")


def machine():
    with open("/proc/cpuinfo") as info:
        name = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    return f"{name}, {os.cpu_count()} processors"


def report(times, tokens, lens, threads, rounds):
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n{machine()}, {threads} threads; {rounds} rounds of {tokens} tokens in passes of {BATCH} x {CONTEXT}")
    print(f"{'':52}{'tokens/s':>10}{'  x TransformerLens':>19}")
    for name, median in medians.items():
        ratio = medians[lens] / median if "12" not in name else None
        print(f"{name:52}{tokens / median:10.0f}" + (f"{ratio:19.2f}" if ratio else ""))
    return medians


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="our side: the program `capture` of the bench crate")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are counted, after one that is not")
    parser.add_argument("--passes", type=int, default=2, help="passes of 16 x 256 tokens in every measurement")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of every side")
    args = parser.parse_args()
    tokens = args.passes * BATCH * CONTEXT
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as folder:
        model, text = Path(folder) / "gpt2-small-shaped", Path(folder) / "text.txt"
        maker = Path(__file__).with_name("make_model.py")
        subprocess.run([sys.executable, maker, model, text, str(tokens)], check=True, stderr=subprocess.DEVNULL)
        ids = [int(line) for line in text.with_name("text.txt.ids").read_text().split()]
        batches = torch.tensor(ids).view(-1, BATCH, CONTEXT)
        works, reference = peers(model, batches)
        numbers = [str(number) for number in (CONTEXT, BATCH, args.threads)]
        server = Server([args.server, str(model), str(text), folder, *numbers])
        compare(server, works, reference, tokens, folder, args)


def compare(server, works, reference, tokens, folder, args):
    lens = next(iter(works))
    requests = {name: (lambda work=work: timed(work)) for name, work in works.items()}
    for dtype in server.dtypes:
        requests[f"Untangle, {dtype}, text to disk"] = lambda dtype=dtype: server.seconds(dtype, HOOK)
        products = f"the matrix products alone, {dtype}"
        requests[products] = lambda dtype=dtype: args.passes * server.seconds("products", dtype, LAYER)
    requests["Untangle, f32, blocks.11.hook_resid_post of 12"] = lambda: server.seconds("f32", ALL[-1])
    requests["Untangle, f32, all 12 hook_resid_post at once"] = lambda: server.seconds("f32", *ALL)

    server.seconds("f32", HOOK)
    with h5py.File(f"{folder}/capture.h5") as file:
        ours = torch.from_numpy(file[f"activations/{HOOK}"][: BATCH * CONTEXT].astype("float32"))
    check("Untangle", ours, reference.flatten(0, 1), rounding=F16)

    times = {name: [] for name in requests}
    for number in range(args.rounds + 1):
        for name, measure in requests.items():
            seconds = measure()
            if number > 0:  # the first round warms up
                times[name].append(seconds)
    medians = report(times, tokens, lens, args.threads, args.rounds)
    *_, one, every = medians.values()
    print(f"\nall twelve hooks at once take {100 * (every / one - 1):+.1f} % of the time of the last one alone")
    for dtype in server.dtypes:
        share = medians[f"the matrix products alone, {dtype}"] / medians[f"Untangle, {dtype}, text to disk"]
        print(f"{dtype}: the products alone take {100 * share:.0f} % of a capture's time")
    if "bf16" not in server.dtypes:
        print("bf16 is left out: this processor has no instructions for it, and emulated it is many times slower")


if __name__ == "__main__":
    main()
