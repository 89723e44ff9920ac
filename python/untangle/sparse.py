"""Which features fire on which rows?"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix

from .errors import UntangleError


class Codes(NamedTuple):
    """Codes of rows, as ``untangle encode`` writes them."""

    rows: npt.NDArray[np.int64]
    """Number of every row in the store."""
    activations: csr_matrix
    """Activations, ``[rows, d_sae]``."""


def read_codes(path: str | os.PathLike[str], d_sae: int | None = None) -> Codes:
    """Reads codes. ``d_sae`` is the dictionary's number of features; without it, the last one that fires is the last."""
    try:
        found = load_file(path)
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
    shape = (len(found["rows"]), width if d_sae is None else d_sae)
    return Codes(found["rows"], csr_matrix((found["activations"], features, found["starts"]), shape=shape))
