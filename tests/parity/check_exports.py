#!/usr/bin/env python3
"""Reads what `untangle export` writes with the tools that it is written for.

    check_exports.py UNTANGLE SAE STORE MODEL

The tables of `--form parquet` are read with pyarrow, and have to say what `untangle show` says. The cache of `--form delphi` is read as
delphi's LatentDataset reads it (delphi/latents/loader.py, delphi/utils.py), and every activation has to be SAELens' own of that row.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.numpy import load_file
from sae_lens import SAE

# Activations are of rows in f16 and of sums in another order, and are themselves f16.
TOLERANCE = 2e-3


def to_int64_tensor(array: np.ndarray) -> torch.Tensor:
    """As delphi/utils.py has it."""
    signed, wide = (np.int16, 4) if array.dtype in (np.uint16, np.int16) else (np.int32, 2)
    values = torch.tensor(array.ravel().view(signed))
    result = torch.zeros(values.shape[0] * wide, dtype=values.dtype)
    result[::wide] = values
    return result.view(torch.int64).view(array.shape)


def load(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As TensorBuffer.load has it."""
    data = load_file(path)
    first = int(path.name.split("_")[0])
    locations = to_int64_tensor(data["locations"])
    locations[:, 2] += first
    return locations, torch.tensor(data["activations"]), torch.tensor(data["tokens"].astype(np.int64))


def check_cache(folder: Path, sae: SAE, store: Path) -> list[str]:
    [hook] = list((folder / "latents").iterdir())
    problems = []
    config = json.loads((hook / "config.json").read_text())
    edges = sorted(tuple(map(int, file.stem.split("_"))) for file in hook.glob("*.safetensors"))
    if [end + 1 for _, end in edges[:-1]] != [start for start, _ in edges[1:]] or edges[-1][1] + 1 != sae.cfg.d_sae:
        problems.append(f"parts {edges}")
    with h5py.File(store) as file:
        rows = torch.tensor(file[f"activations/{hook.name}"][:].astype(np.float32))
        tokens = file["tokens"][:]
        positions = file["positions"][:]
        flags = file["flags"][:]
    contexts = np.cumsum(positions == 0) - 1
    with torch.no_grad():
        expected = sae.encode(rows)
    expected[torch.tensor(flags & 3 != 0)] = 0
    found = torch.zeros_like(expected)
    row_of = {(int(c), int(p)): row for row, (c, p) in enumerate(zip(contexts, positions))}
    for start, end in edges:
        locations, activations, written = load(hook / f"{start}_{end}.safetensors")
        if not torch.equal(locations, locations[np.lexsort((locations[:, 1], locations[:, 0]))]):
            problems.append(f"{start}_{end}: not by context and position")
        same = written[contexts, positions.astype(np.int64)].numpy() == tokens
        if not same.all() or written.shape[1] != config["cache_ctx_len"]:
            problems.append(f"{start}_{end}: other tokens")
        at = [row_of[int(c), int(p)] for c, p, _ in locations]
        found[at, locations[:, 2]] = activations.float()
    # Where two features are nearly as strong as the last that is chosen, either may be.
    off = (found - expected).abs() > TOLERANCE * expected.max()
    if off.float().mean() > 1e-5:
        problems.append(f"{int(off.sum())} of {int((expected > 0).sum())} activations differ")
    print(f"delphi: {int((found > 0).sum())} activations in {len(edges)} parts")
    return problems


def check_tables(folder: Path, cards: list[dict]) -> list[str]:
    problems = []
    features, labels = (pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("features", "labels"))
    about = json.loads(pq.read_schema(folder / "labels.parquet").metadata[b"untangle"])
    if len(features) != len(cards) or not about["sae"]:
        problems.append(f"{len(features)} features, {len(cards)} cards, {about}")
    of = {(label["feature"], label["kind"], label["source"]): label for label in labels}
    for row, card in zip(features, cards):
        if row["raises"] != [effect["token"] for effect in card["top_logits"]] or row["density"] != card["density"]:
            problems.append(f"feature {row['feature']}: {row}")
        for label in card["labels"]:
            found = of.pop((card["feature"], label["kind"], label["source"]))
            scores = {score["scorer"]: score for score in label["scores"]}
            for name, score in scores.items():
                low, high = score["interval"] or (None, None)
                values = (score["value"], low, high, score["floor"], score["control"], score["n"])
                if values != tuple(found[f"{name}{end}"] for end in ("", "_low", "_high", "_floor", "_control", "_n")):
                    problems.append(f"{found} is not {label}")
            if found["text"] != label["text"]:
                problems.append(f"{found['text']!r} is not {label['text']!r}")
    if of:
        problems.append(f"labels that nobody has: {list(of)[:3]}")
    print(f"parquet: {len(features)} features, {len(labels)} labels")
    return problems


def main() -> None:
    untangle, sae, store, model = sys.argv[1:]
    run = lambda *words: subprocess.run([untangle, "-q", *map(str, words)], check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        database = here / "f.db"
        run("features", sae, "--store", store, "--model", model, "--out", database)
        run("export", database, "--form", "delphi", "--sae", sae, "--store", store, "--out", here / "delphi")
        run("export", database, "--form", "parquet", "--out", here / "tables")
        d_sae = json.loads((Path(sae) / "cfg.json").read_text())["d_sae"]
        cards = json.loads(run("show", database, *range(d_sae), "--json"))["features"]
        problems = check_cache(here / "delphi", SAE.load_from_disk(sae), Path(store)) + check_tables(here / "tables", cards)
    for problem in problems[:10]:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
