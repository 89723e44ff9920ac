"""Untangle from Python: the program's verbs, and what they write, as numpy, pandas and scipy know it.

    import untangle
    untangle.run("capture", "organism", text="organism", hook="blocks.2.hook_resid_post", out="stories.h5")
    untangle.run("train", "stories.h5", out="sae", d_sae=512, k=8)
    rows = untangle.Store("stories.h5")["blocks.2.hook_resid_post"][:1000]
    directions = untangle.Dictionary("sae")["W_dec"]
    with untangle.serve("organism", sae="sae") as server:
        print(server.complete("One day", [{"feature": 12, "add": 8}]))

The formats are specified, and every one opens without this module; it saves the lines that would be the same each time.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from .errors import UntangleError, UntangleWarning
from .launch import program
from .serving import Server, serve
from .verbs import run

if TYPE_CHECKING:
    from .databases import Features
    from .dictionaries import Dictionary
    from .sparse import Codes, read_codes
    from .stores import Column, Store

__all__ = [
    "Codes", "Column", "Dictionary", "Features", "Server", "Store", "UntangleError", "UntangleWarning", "__version__",
    "program", "read_codes", "run", "serve",
]  # fmt: skip

# Readers import numpy, pandas, scipy and h5py, which takes a second that running a verb need not wait for.
_READERS = {
    "Codes": "sparse", "read_codes": "sparse", "Column": "stores", "Store": "stores", "Dictionary": "dictionaries",
    "Features": "databases",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _READERS:
        return getattr(import_module(f".{_READERS[name]}", __name__), name)
    if name == "__version__":
        return metadata.version("untangle")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
