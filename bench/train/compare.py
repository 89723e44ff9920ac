"""Speed and quality of training beside the peers', from one run on the same rows. See bench/README.md."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import quality
import speed
from architectures import ARCHITECTURES
from contenders import Ours

PARTS = ("speed", "grid", "real", "planted")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just bench-train", description=__doc__)
    parser.add_argument("--binary", default="target/release/untangle", help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run [all]")
    parser.add_argument("--only", nargs="+", choices=list(ARCHITECTURES), help="architectures [all that both have]")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of the speed parts [3]")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the quality parts, which report means [3]")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="tokens of a run of the quality parts [1000000]")
    parser.add_argument("--limit", type=float, default=1200, help="seconds until a part begins no new work [1200]")
    return parser.parse_args()


def machine() -> str:
    """What the numbers are of."""
    with open("/proc/cpuinfo") as info:
        lines = info.read().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return f"{model}, {os.cpu_count()} CPUs, {' '.join(flag for flag in wanted if flag in flags)}"


def main() -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")  # The generator of planted features draws bars.
    asked, began = arguments(), time.time()
    print(f"machine: {machine()}; load before {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="untangle-bench-train-") as name:
        folder = Path(name)
        ours = Ours(asked.binary, folder)
        names = [name for name in asked.only or ARCHITECTURES if name in ours.architectures()]
        for part in asked.part:
            start = time.time()
            deadline = start + asked.limit
            print(f"\n== {part}", flush=True)
            if part == "speed":
                speed.single(ours, folder, names, asked.rounds, deadline)
            elif part == "grid":
                speed.grid(ours, folder, asked.rounds, deadline)
            elif part == "real":
                quality.real(ours, folder, names, asked, deadline)
            else:
                quality.planted(ours, folder, names, asked, deadline)
            print(f"-- {part}: {time.time() - start:.0f} s", flush=True)
    print(f"\ntotal {time.time() - began:.0f} s; load after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
