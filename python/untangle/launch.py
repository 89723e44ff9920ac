"""Where is the program, and which libtorch does it run with?

The wheel brings the program and no libtorch: that is in the user's own torch, which must be of the release that the
program is linked against. Torch is looked up and not imported, which would take seconds. $UNTANGLE_BINARY names a program
of one's own, such as one that `just build` made; it finds its libtorch by itself.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

from .errors import UntangleError

# The release of libtorch that the program is linked against; pyproject.toml and the build have the same.
TORCH = "2.11.0"
REMEDY = f"install it with `pip install torch=={TORCH}`"


def program() -> Path:
    """The program that every command runs."""
    asked = os.environ.get("UNTANGLE_BINARY")
    path = Path(asked) if asked else Path(__file__).parent / "bin" / "untangle"
    if not path.is_file():
        remedy = "UNTANGLE_BINARY names it" if asked else "install the wheel, or have UNTANGLE_BINARY name a program"
        raise UntangleError(f"{path}: no such program; {remedy}")
    return path.absolute()


def torch_folder() -> Path:
    """The folder of the user's torch, which is of the right release."""
    found = importlib.util.find_spec("torch")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise UntangleError(f"there is no torch in {sys.prefix}, and untangle needs the libtorch of torch {TORCH}; {REMEDY}")
    folder = Path(places[0])
    version = torch_version(folder)
    # What stands behind the plus says for which devices it was made (+cpu, +cu130); the interface is the same.
    if version.split("+")[0] != TORCH:
        raise UntangleError(f"{folder} is torch {version or 'of unknown version'}, and untangle needs {TORCH}; {REMEDY}")
    if not (folder / "lib" / "libtorch_cpu.so").is_file():
        raise UntangleError(f"{folder} has no lib/libtorch_cpu.so; {REMEDY} again")
    return folder


def torch_version(folder: Path) -> str:
    """What a torch says of itself, '' where it says nothing."""
    file = folder / "version.py"
    found = re.search(r"__version__ = '([^']*)'", file.read_text()) if file.is_file() else None
    return found[1] if found else ""


def environment() -> dict[str, str]:
    """The environment in which the program finds libtorch, and with it CUDA where that torch has it."""
    surroundings = dict(os.environ)
    if "UNTANGLE_BINARY" in surroundings:
        return surroundings
    folder = torch_folder()
    known = [surroundings["LD_LIBRARY_PATH"]] if surroundings.get("LD_LIBRARY_PATH") else []
    surroundings["LD_LIBRARY_PATH"] = os.pathsep.join([str(folder / "lib"), *known])
    surroundings.setdefault("UNTANGLE_CUDA_TORCH", str(folder))
    return surroundings


def main() -> None:
    """Becomes the program: what the command `untangle` does."""
    try:
        path, surroundings = program(), environment()
    except UntangleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(4)
    os.execve(path, [str(path), *sys.argv[1:]], surroundings)
