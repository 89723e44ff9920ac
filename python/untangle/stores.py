"""What is in an activation store? Rows are read when they are asked for, and not before."""

from __future__ import annotations

import json
import os
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from .errors import UntangleError

VERSION = 1


class Column:
    """The activations of one hook point, ``[n, d]``: rows that are asked for come as float32, whatever the file holds."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        """The dataset itself, in the type of the file."""
        kind = dataset.attrs["dtype"]
        self.stored = kind.decode() if isinstance(kind, bytes) else str(kind)
        """Type of the file: ``f32``, ``f16`` or ``bf16``."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return self.dataset.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        found = self.dataset[rows]
        # HDF5 has no type for bfloat16, the upper half of a float32.
        return (found.astype("<u4") << 16).view("<f4") if self.stored == "bf16" else found.astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def __repr__(self) -> str:
        return f"Column({self.shape[0]} rows, {self.shape[1]} wide, {self.stored})"


class Store:
    """An activation store, as ``untangle capture`` writes it.

    >>> with Store("stories.h5") as store:
    ...     rows = store["blocks.2.hook_resid_post"][:1000]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self.file = h5py.File(self.path, "r")
        except FileNotFoundError:
            raise UntangleError(f"{self.path}: no such file") from None
        except OSError as error:
            raise UntangleError(f"{self.path}: {error}; `untangle inspect` says what it is") from None
        attributes = self.file.attrs
        if attributes.get("format") not in ("untangle-activations", b"untangle-activations"):
            self._refuse("is no activation store; h5py opens it as it is")
        if attributes["version"] != VERSION:
            self._refuse(f"has version {attributes['version']} of the format, and this reads {VERSION}; upgrade untangle")
        if self.file["complete"][()] != 1:
            self._refuse("is not finished; the same capture goes on with it")
        self.manifest: dict[str, Any] = json.loads(self.file["manifest"][()])
        """What was captured: model, corpus, hook points, settings."""

    def _refuse(self, what: str) -> None:
        self.file.close()
        raise UntangleError(f"{self.path} {what}")

    @property
    def hooks(self) -> list[str]:
        """The hook points, in the order of the file."""
        return [column["hook"] for column in self.manifest["hooks"]]

    def __len__(self) -> int:
        return int(self.manifest["n_rows"])

    def __getitem__(self, hook: str) -> Column:
        self._know(hook)
        return Column(self.file["activations"][hook])

    @property
    def tokens(self) -> npt.NDArray[np.uint32]:
        """Token id of every row."""
        return self.file["tokens"][:]

    @property
    def documents(self) -> npt.NDArray[np.uint32]:
        """Document of every row, from 0 in the order of the corpus."""
        return self.file["documents"][:]

    @property
    def positions(self) -> npt.NDArray[np.uint32]:
        """Position of every row in its context; 0 begins one."""
        return self.file["positions"][:]

    @property
    def offsets(self) -> npt.NDArray[np.uint64]:
        """Byte of its document's UTF-8 text at which every row's token begins."""
        return self.file["offsets"][:]

    @property
    def flags(self) -> npt.NDArray[np.uint8]:
        """1 where the token is the beginning-of-sequence token, 2 where it is a special one."""
        return self.file["flags"][:]

    def norms(self, hook: str) -> npt.NDArray[np.float32]:
        """Norm of every row at a hook point."""
        self._know(hook)
        return self.file["norms"][hook][:]

    def ordinary(self, hook: str) -> npt.NDArray[np.bool_]:
        """Which rows training reads: those that are neither special tokens nor outliers."""
        outlier = self.file["statistics"][hook]["outlier_norm"][()]
        return (self.flags == 0) & (self.norms(hook) < outlier)

    def mean(self, hook: str) -> npt.NDArray[np.float64]:
        """Mean of the rows at a hook point, special tokens left out."""
        self._know(hook)
        return self.file["statistics"][hook]["ordinary"]["mean"][:]

    def _know(self, hook: str) -> None:
        if hook not in self.hooks:
            raise UntangleError(f"{self.path} has no {hook}; it has {', '.join(self.hooks)}")

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.path!r}, {len(self)} rows, {', '.join(self.hooks)})"
