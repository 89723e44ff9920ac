"""What is in a dictionary's directory?"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from .errors import UntangleError

if TYPE_CHECKING:
    import torch

WEIGHTS = "sae_weights.safetensors"


class Dictionary:
    """A dictionary, as ``untangle train`` and SAELens write it: its settings, and its tensors as they are asked for.

    >>> sae = Dictionary("sae")
    >>> cosines = sae["W_dec"] @ sae["W_dec"].T

    `sae_lens.SAE.load_from_disk` makes a module of the same directory; ``untangle encode`` computes the codes of a store.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config: dict[str, Any] = self._json("cfg.json")
        """What ``cfg.json`` says: ``architecture``, ``d_in``, ``d_sae``, ``metadata`` and so on."""
        self._read(framework="numpy")

    def _json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UntangleError(f"{file}: no such file; `untangle inspect {self.path}` says what that is") from None
        except ValueError as error:
            raise UntangleError(f"{file}: {error}") from None

    def _read(self, framework: str, name: str | None = None) -> Any:
        file = self.path / WEIGHTS
        try:
            with safe_open(file, framework=framework) as weights:
                return weights.get_tensor(name) if name else list(weights.keys())
        except FileNotFoundError:
            raise UntangleError(f"{file}: no such file") from None
        except SafetensorError as error:
            raise UntangleError(f"{file}: {error}") from None

    @property
    def d_in(self) -> int:
        """Width of what it reads."""
        return int(self.config["d_in"])

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return int(self.config["d_sae"])

    @property
    def hook(self) -> str:
        """Hook point that it reads."""
        return str(self.config["metadata"]["hook_name"])

    @cached_property
    def names(self) -> list[str]:
        """Names of the tensors, such as ``W_dec``."""
        return sorted(self._read(framework="numpy"))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise UntangleError(f"{self.path} has no tensor {name}; it has {', '.join(self.names)}")
        return self._read(framework="numpy", name=name)

    def torch(self) -> dict[str, torch.Tensor]:
        """All tensors as torch's."""
        return {name: self._read(framework="pt", name=name) for name in self.names}

    @cached_property
    def training(self) -> dict[str, Any]:
        """What ``training.json`` says of how it was made."""
        return self._json("training.json")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The logged steps of its training."""
        file = self.path / "metrics.jsonl"
        if not file.is_file():
            raise UntangleError(f"{file}: no such file; other tools write none")
        return pd.read_json(file, lines=True)

    def __repr__(self) -> str:
        return f"Dictionary({str(self.path)!r}, {self.config['architecture']}, {self.d_sae} features of {self.d_in})"
