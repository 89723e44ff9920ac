"""A peer in a process of its own, so that memory and threads are its own: a request per line of stdin, an answer per line.

Requests: {"make": what, ...} once, then {"steps": n} for the seconds of n steps, or {"judge": rows} for how well what has
been trained reconstructs rows that it has not seen.
"""

import json
import os
import sys
import tempfile
import time
from typing import Any, Iterator

import numpy as np
import torch

from architectures import ARCHITECTURES

# Learning rates of the peers where they are not told: SAELens' and sparsify's own defaults.
SAELENS_LR = 3e-4


def batches(rows: torch.Tensor, batch: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches: a new permutation of all rows for every pass."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(rows), generator=generator)
        for first in range(0, len(rows) - batch + 1, batch):
            yield rows[order[first : first + batch]]


class SaeLens:
    """SAELens' trainer, stepped as its own `fit` does; normalisation as ours, by the rows' mean norm."""

    def __init__(self, request: dict[str, Any]) -> None:
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.multi_sae_trainer import MultiSAETrainer
        from sae_lens.training.sae_trainer import SAETrainer

        make, tokens = ARCHITECTURES[request["arch"]].saelens, request["tokens"]
        torch.manual_seed(request["seed"])
        steps = max(tokens // request["batch"], 1)
        config = SAETrainerConfig(
            total_training_samples=tokens,
            train_batch_size_samples=request["batch"],
            lr=SAELENS_LR * request.get("lr_factor", 1.0),
            lr_warm_up_steps=steps // 20,
            lr_decay_steps=steps // 5,
            lr_end=SAELENS_LR * request.get("lr_factor", 1.0) / 10,
        )
        sizes = (request["d_in"], request["d_sae"], request["k"], request.get("strength"))
        self.copies = request.get("copies", 1)
        if self.copies == 1:
            self.trainer: Any = SAETrainer(cfg=config, sae=make(*sizes), data_provider=iter(()))
        else:
            saes = {str(i): make(*sizes) for i in range(self.copies)}
            hooks = {name: "rows" for name in saes}
            self.trainer = MultiSAETrainer(cfg=config, saes=saes, hook_names=hooks, data_provider=iter(()))

    def step(self, rows: torch.Tensor) -> None:
        trainers = [self.trainer] if self.copies == 1 else list(self.trainer.trainers.values())
        for trainer in trainers:
            trainer.step(rows)
            trainer.n_training_steps += 1

    def for_inference(self) -> "Saved":
        """What SAELens saves for use: with its threshold, where training chose over the batch."""
        with tempfile.TemporaryDirectory() as folder:
            self.trainer.sae.save_inference_model(folder)
            return Saved({"path": folder})


class Sparsify:
    """sparsify's dictionary with its trainer's loop (`sparsify/trainer.py`, `fit`), which only takes whole models."""

    def __init__(self, request: dict[str, Any]) -> None:
        from schedulefree import ScheduleFreeWrapper
        from sparsify.config import SparseCoderConfig
        from sparsify.sign_sgd import SignSGD
        from sparsify.sparse_coder import SparseCoder

        torch.manual_seed(request["seed"])
        d_sae = request["d_sae"]
        config = SparseCoderConfig(num_latents=d_sae, k=request["k"])
        self.sae = SparseCoder(request["d_in"], config, dtype=torch.float32)
        lr = 5e-3 / (d_sae / 2**14) ** 0.5 * request.get("lr_factor", 1.0)
        self.optimizer = ScheduleFreeWrapper(SignSGD(self.sae.parameters(), lr=lr), momentum=0.95)
        self.optimizer.train()
        self.first = True

    def step(self, rows: torch.Tensor) -> None:
        if self.first:
            self.sae.b_dec.data = rows.mean(0)
            self.first = False
        self.sae.set_decoder_norm_to_unit_norm()
        self.sae(rows).fvu.backward()
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def for_inference(self) -> "Sparsify":
        self.optimizer.eval()
        self.sae.set_decoder_norm_to_unit_norm()
        return self

    def finish(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.sae(rows)
        return (out.latent_acts > 0).sum(-1), out.sae_out

    def decoder(self) -> np.ndarray:
        return self.sae.W_dec.detach().numpy()


class Saved:
    """A dictionary on disk in SAELens' form: how ours is judged, by SAELens' own loader."""

    def __init__(self, request: dict[str, Any]) -> None:
        from sae_lens import SAE

        self.sae = SAE.load_from_disk(request["path"])

    def for_inference(self) -> "Saved":
        return self

    def finish(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of active features and reconstructions."""
        acts = self.sae.encode(rows)
        return (acts > 0).sum(-1), self.sae.decode(acts)

    def decoder(self) -> np.ndarray:
        return self.sae.W_dec.detach().numpy()


class Product:
    """The encoder's matrix product alone, whole."""

    def __init__(self, request: dict[str, Any]) -> None:
        kind = {"f32": torch.float32, "bf16": torch.bfloat16}[request["dtype"]]
        copies = request.get("copies", 1)
        self.w = torch.randn(request["d_sae"] * copies, request["d_in"]).to(kind).T
        self.kind = kind

    def step(self, rows: torch.Tensor) -> None:
        with torch.no_grad():
            torch.matmul(rows.to(self.kind), self.w)


KINDS = {"saelens": SaeLens, "sparsify": Sparsify, "saved": Saved, "product": Product}


@torch.no_grad()
def judge(made: Any, test: torch.Tensor, chunk: int = 4096) -> dict[str, float]:
    """FVU = sum |x - x_hat|^2 / sum |x - mean(x)|^2 over all test rows, in f64, and the mean number of features."""
    error = active = 0.0
    for rows in test.split(chunk):
        counts, x_hat = made.finish(rows)
        error += (rows.double() - x_hat.double()).square().sum().item()
        active += counts.double().sum().item()
    deviation = (test.double() - test.double().mean(0)).square().sum().item()
    return {"fvu": error / deviation, "l0": active / len(test)}


def scaled(rows: np.ndarray) -> tuple[torch.Tensor, float]:
    """Rows with a mean norm of sqrt(d_in), as our trainer and SAELens' `expected_average_only_in` have them."""
    factor = float(np.sqrt(rows.shape[1]) / np.linalg.norm(rows, axis=1).mean())
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)) * factor, factor


def answer(state: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    if "make" in request:
        if "rows" in request:
            rows, state["factor"] = scaled(np.load(request["rows"], mmap_mode="r"))
            state["batches"] = batches(rows, request["batch"], request.get("seed", 0))
        state["made"] = KINDS[request["make"]](request)
        return {"made": request["make"]}
    made = state["made"]
    if "steps" in request:
        seconds = []
        for _ in range(request["steps"]):
            rows = next(state["batches"])
            start = time.perf_counter()
            made.step(rows)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}
    test = torch.from_numpy(np.load(request["judge"])) * state.get("factor", 1.0)
    made = made.for_inference()
    if "decoder" in request:
        np.save(request["decoder"], made.decoder())
    return judge(made, test)


def main() -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    # Whatever the libraries print must not stand between the answers.
    out, sys.stdout = sys.stdout, sys.stderr
    state: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(state, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
