"""Which features fire on which rows?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from scipy.sparse import csr_matrix

from .errors import UntangleError


class _Pair(NamedTuple):
    rows: npt.NDArray[np.int64]
    """Number of every row in the store."""
    activations: csr_matrix
    """Activations, ``[rows, d_sae]``."""


class Codes(_Pair):
    """Codes of rows, as ``untangle encode`` writes them: ``rows, activations = read_codes(path)``, or by name."""

    about: Mapping[str, str]
    """What they are of: ``sae`` and ``sae_sha256``, ``d_sae``, ``store``, ``hook``, ``model``, ``part`` and more; empty in older files."""


def read_codes(path: str | os.PathLike[str], d_sae: int | None = None) -> Codes:
    """Reads codes. ``d_sae`` is the dictionary's number of features, where the file does not say it: without it, the last one that
    fires is the last."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise UntangleError(f"{os.fspath(path)}: no such file; `untangle encode` makes it") from None
    except SafetensorError as error:
        raise UntangleError(f"{os.fspath(path)}: {error}") from None
    absent = {"rows", "starts", "features", "activations"} - found.keys()
    if absent:
        raise UntangleError(f"{os.fspath(path)} has no {', '.join(sorted(absent))}; `untangle encode` makes files of codes")
    features = found["features"]
    width = int(features.max(initial=-1)) + 1
    if d_sae is not None and d_sae < width:
        raise UntangleError(f"{os.fspath(path)} has feature {width - 1}, and d_sae is {d_sae}; it is another dictionary's")
    said = about.get("d_sae", "")
    shape = (len(found["rows"]), d_sae or (int(said) if said.isdecimal() and int(said) >= width else width))
    codes = Codes(found["rows"], csr_matrix((found["activations"], features, found["starts"]), shape=shape))
    codes.about = about
    return codes
