#!/usr/bin/env python3
"""Tokens per second of generation, ours and transformers' `generate`.

Both sides go on with the same prompts of 32 tokens through the same random model of GPT-2 small's shape, greedily and with a KV
cache, with the same number of threads. Every round times each of them once, in turn; the table shows medians, and the median of the
rounds' ratios. Before anything is timed, both write the same tokens.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

PROMPT = 32


class Server:
    """Our side: a process that answers every request with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.dtypes = self.read().split()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench-generation: our side ended; its error stands above")
        return line.strip()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.read()


def prompts(batch):
    return torch.tensor([[(7919 * row + 104_729 * at + 1) % 50_000 for at in range(PROMPT)] for row in range(batch)])


def written(model, batch, tokens):
    """The tokens that transformers writes behind the prompts."""
    ids = prompts(batch)
    options = {"min_new_tokens": tokens, "max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    found = model.generate(ids, attention_mask=torch.ones_like(ids), eos_token_id=None, **options)
    return found[:, PROMPT:]


def timed(model, batch, tokens):
    start = time.perf_counter()
    written(model, batch, tokens)
    return time.perf_counter() - start


def machine():
    with open("/proc/cpuinfo") as info:
        name = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    return f"{name}, {os.cpu_count()} processors"


def check(server, model, tokens):
    ours = list(map(int, server.ask("tokens", 2, tokens).split()))
    theirs = written(model, 2, tokens).flatten().tolist()
    if ours != theirs:
        at = next(at for at, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1])
        sys.exit(f"bench-generation: token {at % tokens} of text {at // tokens} is {ours[at]}, transformers' is {theirs[at]}")
    print(f"both sides write the same {len(ours)} tokens in f32")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="our side: the program `generation` of the bench crate")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are counted, after one that is not")
    parser.add_argument("--tokens", type=int, default=32, help="tokens behind every prompt")
    parser.add_argument("--batches", default="1,8", help="texts at once, divided by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of either side")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gpt2-small-shaped"
        maker = Path(__file__).parent.with_name("capture") / "make_model.py"
        command = [sys.executable, maker, path, Path(folder) / "text.txt", "1"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        peers = {
            dtype: GPT2LMHeadModel.from_pretrained(path, dtype=getattr(torch, name)).eval()
            for dtype, name in (("f32", "float32"), ("bf16", "bfloat16"))
        }
        server = Server(args.server, str(path), str(args.threads))
        check(server, peers["f32"], args.tokens)
        compare(server, peers, args)


def compare(server, peers, args):
    print(f"\n{machine()}, {args.threads} threads; {args.rounds} rounds of {args.tokens} tokens behind {PROMPT}")
    print(f"{'':34}{'tokens/s':>10}{'x transformers f32':>20}{'x the same in bf16':>20}")
    for batch in map(int, args.batches.split(",")):
        requests = {}
        for dtype in server.dtypes:
            requests[f"transformers, {dtype}"] = lambda dtype=dtype: timed(peers[dtype], batch, args.tokens)
            requests[f"Untangle, {dtype}"] = lambda dtype=dtype: float(server.ask(dtype, batch, args.tokens))
        times = {name: [] for name in requests}
        for number in range(args.rounds + 1):
            for name, measure in requests.items():
                seconds = measure()
                if number > 0:  # the first round warms up
                    times[name].append(seconds)
        for name, own in times.items():
            ratios = [
                statistics.median(other / mine for other, mine in zip(times[of], own)) if of in times else None
                for of in ("transformers, f32", "transformers, bf16")
            ]
            speed = batch * args.tokens / statistics.median(own)
            told = "".join(f"{ratio:20.2f}" if ratio else f"{'':20}" for ratio in ratios)
            print(f"batch {batch:<4}{name:24}{speed:10.1f}{told}")


if __name__ == "__main__":
    main()
