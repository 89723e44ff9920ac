"""Reads an activation file with h5py, as its specification (activations/README.md) describes it."""

import json
import zlib
from pathlib import Path

import h5py
import numpy as np

FORMAT, VERSION = "untangle-activations", 1
BOS, SPECIAL = 1, 2
ROW_DATASETS = {
    "tokens": np.uint32,
    "documents": np.uint32,
    "positions": np.uint32,
    "offsets": np.uint64,
    "flags": np.uint8,
}
CHECKED_ROWS = 1024
BINS = 2048
OUTLIER_MEDIANS = 10
ELEMENTS = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
# Statistics are sums over rows in f64; only the order of summation differs.
STATISTICS_TOLERANCE = 1e-9


class Store:
    """An activation file: `manifest`, `tokens`, `documents`, `positions`, `offsets`, `flags`, and rows by hook point."""

    def __init__(self, path):
        self.path = Path(path)
        self.file = h5py.File(path, "r")
        self.manifest = json.loads(self.file["manifest"].asstr()[()])
        self.hooks = {column["hook"]: column["d_in"] for column in self.manifest["hooks"]}
        self.n_rows = self.manifest["n_rows"]
        for name in ROW_DATASETS:
            setattr(self, name, self.file[name][:])

    def rows(self, hook, n=None):
        """The first `n` rows of a hook point as f32 [n, d_in]."""
        dataset = self.file["activations"][hook]
        values = dataset[: self.n_rows if n is None else n]
        if dataset.attrs["dtype"] == "bf16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)

    def problems(self):
        """What the file lacks of its specification, in words."""
        attributes = dict(self.file.attrs)
        if attributes.get("format") != FORMAT or attributes.get("version") != VERSION:
            yield f"root attributes are {attributes}, not format {FORMAT}, version {VERSION}"
        if self.file["complete"][()] != 1:
            yield "the completion mark is not set"
        for name, dtype in ROW_DATASETS.items():
            yield from self._dataset(name, dtype, (self.n_rows,))
        for hook, d_in in self.hooks.items():
            stored = self.file[f"activations/{hook}"].attrs["dtype"]
            yield from self._dataset(f"activations/{hook}", ELEMENTS[stored], (self.n_rows, d_in))
            rows = self.rows(hook)
            if not np.isfinite(rows).all():
                yield f"{hook}: not all values are finite"
            yield from self._statistics(hook, rows)
            yield from self._norms(hook, rows)
        yield from self._flags()
        yield from self._checksums()

    def _dataset(self, name, dtype, shape):
        dataset = self.file[name]
        if dataset.dtype != dtype or dataset.shape != shape:
            yield f"{name} is {dataset.dtype} {dataset.shape}, not {np.dtype(dtype)} {shape}"
        if dataset.chunks is not None and not name.startswith("activations/"):
            yield f"{name} is chunked, not contiguous"

    def _statistics(self, hook, rows):
        ordinary = (self.flags & (BOS | SPECIAL)) == 0
        for subset, chosen in {"all": rows, "ordinary": rows[ordinary]}.items():
            values = chosen.astype(np.float64)
            square = (values**2).sum(axis=1)
            expected = {
                "count": len(values),
                "mean": values.mean(axis=0),
                "second_moment": (values**2).mean(axis=0),
                "norm": [np.sqrt(square).mean(), square.mean(), np.sqrt(square.max())],
            }
            for measure, value in expected.items():
                stored = self.file[f"statistics/{hook}/{subset}/{measure}"][()]
                if np.abs(stored - value).max() > STATISTICS_TOLERANCE * np.abs(value).max():
                    yield f"statistics of {hook} over {subset} rows: {measure} is not that of the rows"

    def _norms(self, hook, rows):
        norms = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
        stored = self.file[f"norms/{hook}"][:]
        # The order of summation may change the last bit of a rounded norm.
        if stored.dtype != np.float32 or not np.allclose(stored, norms, rtol=3e-7, atol=0):
            yield f"norms/{hook} are not those of the rows"
        ordinary = (self.flags & (BOS | SPECIAL)) == 0
        for subset, chosen in {"all": stored, "ordinary": stored[ordinary]}.items():
            histogram = np.bincount(bins(chosen), minlength=BINS)
            if not np.array_equal(self.file[f"statistics/{hook}/{subset}/norm_histogram"][:], histogram):
                yield f"the histogram of {hook} over {subset} rows is not that of the norms"
        expected = outlier_norm(histogram)
        if self.file[f"statistics/{hook}/outlier_norm"][()] != expected:
            yield f"the outliers' norm of {hook} is not {expected}"

    def _checksums(self):
        def differs(name, content):
            return self.file[f"checksums/{name}"][()] != zlib.crc32(content)

        rows = [*ROW_DATASETS, *(f"{group}/{hook}" for group in ("norms", "activations") for hook in self.hooks)]
        for name in rows:
            values = self.file[name][:]
            blocks = range(0, self.n_rows, CHECKED_ROWS)
            sums = [zlib.crc32(values[first : first + CHECKED_ROWS].tobytes()) for first in blocks]
            if not np.array_equal(self.file[f"checksums/{name}"][:], sums):
                yield f"{name} does not have its checksums"
        if differs("manifest", self.file["manifest"][()]):
            yield "the manifest does not have its checksum"
        for hook in self.hooks:
            measures = ("count", "mean", "second_moment", "norm", "norm_histogram")
            parts = [f"{subset}/{measure}" for subset in ("all", "ordinary") for measure in measures]
            content = b"".join(self.file[f"statistics/{hook}/{part}"][()].tobytes() for part in [*parts, "outlier_norm"])
            if differs(f"statistics/{hook}", content):
                yield f"the statistics of {hook} do not have their checksum"

    def _flags(self):
        bos = self.manifest["bos_token"]
        expected = np.zeros(self.n_rows, bool) if bos is None else self.tokens == bos
        if not np.array_equal((self.flags & BOS) != 0, expected):
            yield "the BOS flags are not where the BOS tokens are"

    def contexts(self, n=None):
        """Slices of the rows that were one forward pass each: `context` rows, the last one perhaps fewer."""
        length = self.manifest["context"]
        starts = range(0, self.n_rows, length)
        return [slice(start, min(start + length, self.n_rows)) for start in starts][:n]

    def summary(self):
        """One line per dataset that a reader sees."""
        model = self.manifest["model"]
        yield f"{self.path.name}: {self.n_rows} rows of {model['name']}, opened by h5py {h5py.__version__}"
        for name in ROW_DATASETS:
            yield f"  {name:32} {self.file[name].dtype!s:8} {self.file[name].shape}"
        for hook in self.hooks:
            dataset = self.file[f"activations/{hook}"]
            yield f"  {'activations/' + hook:32} {dataset.attrs['dtype']:8} {dataset.shape}"


def bins(norms):
    """The bin of every norm in the histograms."""
    bits = norms.astype(np.float32).view(np.uint32).astype(np.int64) >> 18
    return np.clip(bits - 3040, 0, BINS - 1)


def edge(index):
    """The lower edge of a bin."""
    return 2.0 ** (index // 32 - 32) * (1 + index % 32 / 32)


def outlier_norm(histogram):
    """The norm from which on rows are outliers, by the histogram of the ordinary ones."""
    total = int(histogram.sum())
    middle = int(np.searchsorted(histogram.cumsum(), (total + 1) // 2)) if total else 0
    if middle == 0:
        return np.inf
    median = edge(middle) if middle == BINS - 1 else (edge(middle) + edge(middle + 1)) / 2
    return next((edge(index) for index in range(BINS) if edge(index) >= OUTLIER_MEDIANS * median), np.inf)
