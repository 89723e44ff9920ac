"""What is reached after equal tokens: FVU on rows that nobody trained on, and planted features that were found."""

import math
import statistics
import time
from argparse import Namespace
from pathlib import Path

import numpy as np

import data
from architectures import ARCHITECTURES, Architecture
from contenders import Ours, Worker

BATCH = 2048
ORGANISM_ROWS, ORGANISM_WIDTH, ORGANISM_K = 400_000, 2048, 16
PLANTED_ROWS, PLANTED_WIDTH = 200_000, 1024
# A peer's learning rates: its own default and others; the best of the first seed is used for all.
LR_FACTORS = {"saelens": (3.0, 10.0, 30.0), "sparsify": (0.1, 0.3, 1.0)}

Result = dict[str, float]


class Task:
    """Rows to train on and to judge by, the sizes, and the directions to find, where they are known."""

    def __init__(
        self, train: Path, test: Path, d_sae: int, k: int, tokens: int, features: np.ndarray | None = None
    ) -> None:
        self.train, self.test, self.features = train, test, features
        self.d_in = np.load(train, mmap_mode="r").shape[1]
        self.d_sae, self.k, self.tokens = d_sae, k, tokens
        self.decoder = train.with_name("decoder.npy")

    def judge(self, worker: Worker) -> Result:
        result: Result = worker.ask(judge=str(self.test), decoder=str(self.decoder))
        worker.close()
        if self.features is not None:
            result["correlation"] = data.mean_correlation(np.load(self.decoder), self.features)
        return result

    def ours(self, ours: Ours, arch: str, seed: int) -> Result:
        sizes = ["--d-sae", str(self.d_sae), *ARCHITECTURES[arch].options(self.k), "--seed", str(seed)]
        out, _, _ = ours.train(
            self.train, ["--arch", arch, *sizes, "--batch", str(BATCH), "--tokens", str(self.tokens)]
        )
        return self.judge(Worker(make="saved", path=str(out)))

    def peer(self, make: str, arch: str, seed: int, lr_factor: float, strength: float | None) -> Result:
        sizes = {"d_in": self.d_in, "d_sae": self.d_sae, "k": self.k, "batch": BATCH, "tokens": self.tokens}
        choices = {"arch": arch, "seed": seed, "lr_factor": lr_factor, "strength": strength}
        worker = Worker(make=make, rows=str(self.train), **sizes, **choices)
        worker.ask(steps=self.tokens // BATCH)
        return self.judge(worker)


def at_l0(results: list[Result], l0: float) -> Result | None:
    """What a peer reaches at our L0: itself, or between the two strengths that enclose it, along log L0."""
    if len(results) == 1:
        return results[0]
    results = sorted(results, key=lambda result: result["l0"])
    for low, high in zip(results, results[1:]):
        if low["l0"] <= l0 <= high["l0"] and low["l0"] > 0:
            t = math.log(l0 / low["l0"]) / max(math.log(high["l0"] / low["l0"]), 1e-9)
            return {key: (1 - t) * low[key] + t * high[key] for key in low}
    return None


def peers_of(arch: Architecture) -> list[str]:
    return ["saelens", "sparsify"] if arch.in_sparsify else ["saelens"]


def compare(ours: Ours, arch: str, tasks: list[Task], deadline: float) -> None:
    """One architecture on the tasks of all seeds: everyone's means."""
    form = ARCHITECTURES[arch]
    found: dict[str, list[Result]] = {"Untangle": [], **{name: [] for name in peers_of(form)}}
    rates: dict[str, float] = {}
    for seed, task in enumerate(tasks):
        if time.time() > deadline and seed:
            print(f"   (out of time: {seed} of {len(tasks)} seeds)")
            break
        own = task.ours(ours, arch, seed)
        found["Untangle"].append(own)
        for name in peers_of(form):
            tried: dict[float, Result | None] = {}
            for factor in [rates[name]] if name in rates else LR_FACTORS[name]:
                strengths = form.strengths or (None,)
                tried[factor] = at_l0([task.peer(name, arch, seed, factor, s) for s in strengths], own["l0"])
            reached = {factor: result for factor, result in tried.items() if result is not None}
            if reached:
                rates[name] = min(reached, key=lambda factor: reached[factor]["fvu"])
                found[name].append(reached[rates[name]])
    print(f"   {'':<28} {'FVU':>16} {'L0':>7} {'correlation with planted':>26}   our FVU")
    own_fvu = statistics.mean(result["fvu"] for result in found["Untangle"])
    for name, results in found.items():
        label = f"{name}, {rates[name]:g} x its rate" if name in rates else name
        line(label, results, own_fvu)


def line(label: str, results: list[Result], own_fvu: float) -> None:
    if not results:
        print(f"   {label:<28} did not reach this L0")
        return

    def spread(key: str) -> str:
        values = [result[key] for result in results if key in result]
        if not values:
            return "-"
        return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.4f}"

    fvu = statistics.mean(result["fvu"] for result in results)
    l0 = statistics.mean(result["l0"] for result in results)
    ratio = "" if label == "Untangle" else f"{own_fvu / fvu:6.3f} of it"
    print(f"   {label:<28} {spread('fvu'):>16} {l0:>7.2f} {spread('correlation'):>26}   {ratio}", flush=True)


def real(ours: Ours, folder: Path, names: list[str], asked: Namespace, deadline: float) -> None:
    """Activations of the bundled model."""
    train, test = data.organism(ours.binary, folder, ORGANISM_ROWS)
    for arch in names:
        sizes = f"d_sae {ORGANISM_WIDTH}, k {ORGANISM_K}, {asked.tokens} tokens, batch {BATCH}"
        print(f"{arch}: organism, {sizes}", flush=True)
        tasks = [Task(train, test, ORGANISM_WIDTH, ORGANISM_K, asked.tokens)] * asked.seeds
        compare(ours, arch, tasks, deadline)


def planted(ours: Ours, folder: Path, names: list[str], asked: Namespace, deadline: float) -> None:
    """Sums of known features: another world for every seed."""
    tasks = []
    for seed in range(asked.seeds):
        train, test, features, active = data.planted(folder, PLANTED_ROWS, seed)
        tasks.append(Task(train, test, PLANTED_WIDTH, max(round(active), 1), asked.tokens, features))
    for arch in names:
        k = [task.k for task in tasks]
        print(f"{arch}: 2048 planted features in 256 dimensions, d_sae {PLANTED_WIDTH}, k {k}", flush=True)
        compare(ours, arch, tasks, deadline)
