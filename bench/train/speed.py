"""Tokens per second and peak memory, in interleaved rounds: each contender steps in turn, and medians are compared."""

import statistics
import time
from pathlib import Path
from typing import Any, Callable

import data
from architectures import ARCHITECTURES
from contenders import WARM_STEPS, Ours, Worker

# d_in, d_sae, k, batch.
SINGLE = (768, 16384, 32, 4096)
GRID = (288, 4608, 32, 4096)
COPIES = 8
# Steps of one of our runs, the first of which are not counted.
OUR_STEPS = WARM_STEPS + 5
# Steps of a run of what begins with half of all latents active, and the L0 from which on it counts as sparse. JumpReLU's
# thresholds take longer to part.
WHOLE_STEPS = {"relu": 150, "gated": 150, "jump-relu": 800}
SETTLED_L0 = 64
# Part of all latents above which a step counts as dense.
MANY = 20
# The default of a long run. That of a run of eight steps, a tenth of it, would call dead all that one batch leaves silent,
# and every step would revive thousands of latents, which the peers' steps do not do either.
NONE_DEAD = ["--dead-after", str(10_000_000)]


def products(sizes: tuple[int, int, int, int], rows: Path, copies: int = 1) -> dict[str, Worker]:
    """The encoder's product alone, in f32 and, where the CPU has instructions for it, in bf16."""
    d_in, d_sae, _, batch = sizes
    with open("/proc/cpuinfo") as info:
        bf16 = "avx512_bf16" in info.read()
    kinds = ["f32", "bf16"] if bf16 else ["f32"]
    shape = {"rows": str(rows), "d_in": d_in, "d_sae": d_sae, "batch": batch, "copies": copies}
    return {f"encoder product, {kind}": Worker(make="product", dtype=kind, **shape) for kind in kinds}


def peers(arch: str, sizes: tuple[int, int, int, int], rows: Path, copies: int = 1) -> dict[str, Worker]:
    d_in, d_sae, k, batch = sizes
    shape = {"rows": str(rows), "d_in": d_in, "d_sae": d_sae, "k": k, "batch": batch, "seed": 0}
    shape |= {"tokens": 1000 * batch, "copies": copies, "arch": arch}
    found = {"SAELens": Worker(make="saelens", **shape)}
    if ARCHITECTURES[arch].in_sparsify and copies == 1:
        found["sparsify"] = Worker(make="sparsify", **shape)
    return found


def rounds(
    workers: dict[str, Worker], ours: Callable[[], tuple[Any, list[dict[str, Any]], float]], n: int, deadline: float
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds per step of everyone, `n` rounds in turn, and everyone's peak memory."""
    seconds: dict[str, list[float]] = {"Untangle": [], **{name: [] for name in workers}}
    peak = {"Untangle": 0.0}
    for name, worker in workers.items():
        worker.ask(steps=1)  # Memory is touched for the first time.
    for _ in range(n):
        if time.time() > deadline and seconds["Untangle"]:
            print("   (out of time: fewer rounds)")
            break
        _, log, mib = ours()
        seconds["Untangle"] += Ours.step_seconds(log)
        peak["Untangle"] = max(peak["Untangle"], mib)
        theirs(workers, seconds)
    for name, worker in workers.items():
        peak[name] = worker.close()
    return seconds, peak


def theirs(workers: dict[str, Worker], seconds: dict[str, list[float]]) -> None:
    """One round of all others."""
    for name, worker in workers.items():
        seconds[name] += worker.ask(steps=1 if name == "SAELens" else 3)["seconds"]


def whole_run(
    ours: Ours, workers: dict[str, Worker], rows: Path, options: list[str], steps: int, n: int
) -> None:
    """What begins with half of all latents active: a run from the start, and its parts. A step of a peer costs the same
    throughout, because it computes everything densely; `n` rounds of theirs before our run and as many after."""
    d_in, d_sae, _, batch = SINGLE
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for worker in workers.values():
        worker.ask(steps=1)
    for _ in range(n):
        theirs(workers, seconds)
    _, log, mib = ours.train(rows, [*options, "--tokens", str(steps * batch)])
    for _ in range(n):
        theirs(workers, seconds)
    took = Ours.steps(log)[WARM_STEPS:]
    dense = [time for time, record in took if record["entries"] > d_sae / MANY]
    settled = [(time, record) for time, record in took if record["l0"] <= SETTLED_L0]
    whole = log[-1]["seconds"] / len(log)
    peer = statistics.median(seconds["SAELens"])
    print(f"   SAELens: {peer:.3f} s a step, {batch / peer:.0f} tokens/s, peak {workers['SAELens'].close():.0f} MiB")
    print(f"   Untangle: peak {mib:.0f} MiB; a run of {len(log)} steps to L0 {log[-1]['l0']:.1f}")
    rest = settled or [(float("nan"), {"entries": float("nan")})]
    entries = statistics.median(record["entries"] for _, record in rest)
    for name, count, time in [
        (f"dense steps, more than {d_sae // MANY} entries a row", len(dense), statistics.median(dense or [float("nan")])),
        (f"L0 at most {SETTLED_L0}, {entries:.0f} entries a row", len(settled), statistics.median(t for t, _ in rest)),
        ("the whole run, from the first step", len(log), whole),
    ]:
        print(f"   {name:<44} {count:>4} steps {time:>7.3f} s/step {batch / time:>7.0f} tokens/s {peer / time:>6.2f} x SAELens")
    for name, worker in workers.items():
        if name != "SAELens":
            median = statistics.median(seconds[name])
            worker.close()
            print(f"   {name:<44} {'':>10} {median:>7.3f} s/step", flush=True)


def table(seconds: dict[str, list[float]], peak: dict[str, float], batch: int) -> None:
    """Medians, and how many times faster we are: above 1 for a peer, below for the product alone."""
    own = statistics.median(seconds["Untangle"])
    print(f"   {'':<24} {'s/step':>8} {'tokens/s':>9} {'peak MiB':>9}   we are")
    for name, times in seconds.items():
        median = statistics.median(times)
        ratio = "" if name == "Untangle" else f"{median / own:6.2f} x as fast"
        print(f"   {name:<24} {median:>8.3f} {batch / median:>9.0f} {peak[name]:>9.0f}   {ratio}", flush=True)


def single(ours: Ours, folder: Path, names: list[str], n: int, deadline: float) -> None:
    """One dictionary, in every architecture that both sides have."""
    d_in, d_sae, k, batch = SINGLE
    rows = data.spectrum(folder / "rows.npy", 4 * batch, d_in)
    for arch in names:
        if time.time() > deadline:
            print(f"{arch}: out of time")
            continue
        print(f"{arch}: d_in {d_in}, d_sae {d_sae}, k {k}, batch {batch}", flush=True)
        options = ["--arch", arch, *ARCHITECTURES[arch].options(k), "--d-sae", str(d_sae), "--batch", str(batch)]
        options += NONE_DEAD
        workers = peers(arch, SINGLE, rows) | products(SINGLE, rows)
        if ARCHITECTURES[arch].strengths:
            whole_run(ours, workers, rows, options, WHOLE_STEPS[arch], n)
            continue
        options += ["--tokens", str(OUR_STEPS * batch)]
        table(*rounds(workers, lambda: ours.train(rows, options), n, deadline), batch)


def grid(ours: Ours, folder: Path, n: int, deadline: float) -> None:
    """Eight dictionaries of different seeds in one pass, beside SAELens' MultiSAETrainer."""
    if not ours.has("grid"):
        print("this build trains one dictionary at a time: no --grid")
        return
    d_in, d_sae, k, batch = GRID
    rows = data.spectrum(folder / "grid-rows.npy", 8 * batch, d_in)
    plan = folder / "grid.toml"
    plan.write_text(f'[[sae]]\narch = "topk"\nk = {k}\nd-sae = {d_sae}\nseed = {list(range(COPIES))}\n')
    print(f"{COPIES} x topk: d_in {d_in}, d_sae {d_sae}, k {k}, batch {batch}; tokens pass all {COPIES}", flush=True)
    options = ["--grid", str(plan), "--batch", str(batch), "--tokens", str(OUR_STEPS * batch), *NONE_DEAD]
    workers = peers("topk", GRID, rows, COPIES) | products(GRID, rows, COPIES)
    table(*rounds(workers, lambda: ours.train(rows, options), n, deadline), batch)
