"""Whether the defaults of `untangle train` are good: one setting changed at a time, three seeds each, judged on held-out rows.

Prints the table that stands in crates/train/src/defaults.md. Needs nothing but Python and the built program."""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

HOOK = "blocks.2.hook_resid_post"
SETTINGS = [
    ("defaults", []),
    ("learning rate / 4", ["--lr", 0.25]),
    ("learning rate / 2", ["--lr", 0.5]),
    ("learning rate x 2", ["--lr", 2.0]),
    ("learning rate x 4", ["--lr", 4.0]),
    ("no warm-up", ["--warm-up", "0"]),
    ("warm-up of 5 %", ["--warm-up", "0.05"]),
    ("warm-up of 25 %", ["--warm-up", "0.25"]),
    ("no decay", ["--decay", "0"]),
    ("decay of 50 %", ["--decay", "0.5"]),
    ("b_dec from the geometric median", ["--b-dec", "geometric-median"]),
    ("no AuxK", ["--aux-k", "0"]),
    ("dead after 2 % of the run", ["--dead-after", 0.02]),
    ("dead after 30 % of the run", ["--dead-after", 0.3]),
    ("no clipping", ["--clip-norm", "0"]),
    ("Adam-mini", ["--optimiser", "adam-mini"]),
    ("average of the weights, 0.99", ["--ema", "0.99"]),
    ("average of the weights, 0.9", ["--ema", "0.9"]),
]


def call(options, *words) -> dict:
    command = [options.binary, "--quiet", "--json", "--threads", str(options.threads), *map(str, words)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def changes(setting, options, rate: float) -> list:
    """The options of a setting; learning rates and windows are given relative to the run."""
    relative = {"--lr": rate, "--dead-after": options.tokens}
    words = list(setting)
    if words and words[0] in relative:
        value = words[1] * relative[words[0]]
        words[1] = round(value) if words[0] == "--dead-after" else value
    return words


def measure(options, folder: Path, store: Path, arch: str, words: list, seed: int) -> dict:
    out = folder / "sae"
    shape = ["--arch", arch, "--d-sae", options.d_sae, "--k", options.k, "--batch", options.batch]
    run = ["--tokens", options.tokens, "--seed", seed, "--no-report", "--force", "--out", out]
    trained = call(options, "train", store, *shape, *run, *words)
    judged = call(options, "evaluate", out, "--store", store)["dictionaries"][0]
    return {
        "fvu": judged["fvu_without_special"],
        "l0": judged["l0_without_special"],
        "dead": judged["dead"],
        "rate": trained["plan"]["schedule"]["lr"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/untangle")
    parser.add_argument("--archs", nargs="+", default=["topk", "batch-topk"])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--d-sae", type=int, default=1024)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "organism.h5"
        call(options, "capture", "organism", "--text", "organism", "--hook", HOOK, "--tokens", options.rows, "--out", store)
        for arch in options.archs:
            print(f"\n{arch}, d_sae {options.d_sae}, k {options.k}, {options.tokens // options.batch} steps of {options.batch}\n")
            print("| setting | held-out FVU | against the defaults | dead |\n|---|---|---|---|", flush=True)
            base, rate = None, 0.0
            for title, setting in SETTINGS:
                words = changes(setting, options, rate)
                results = [measure(options, folder, store, arch, words, seed) for seed in range(options.seeds)]
                fvus = [result["fvu"] for result in results]
                mean, spread = statistics.mean(fvus), statistics.stdev(fvus) if len(fvus) > 1 else 0.0
                if base is None:
                    base, rate = mean, results[0]["rate"]
                dead = statistics.mean(result["dead"] for result in results)
                print(f"| {title} | {mean:.5f} ± {spread:.5f} | {100 * (mean / base - 1):+.1f} % | {dead:.0f} |", flush=True)


if __name__ == "__main__":
    main()
