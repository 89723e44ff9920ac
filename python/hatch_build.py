"""Puts the program into the wheel, and finds out on which machines it runs: called by hatchling, through `just wheel`.

The program is $UNTANGLE_BINARY, else target/dist/untangle, else target/release/untangle. Its copy in the wheel looks for
libtorch in the torch that lies beside the package, and for none on the machine that built it. The wheel's tag names the
oldest glibc that has every symbol of the program. libtorch is not in the wheel: like torchvision's, it comes with torch.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent
PATCHED = ROOT / "target" / "wheel" / "untangle"
# Libraries that a program of a manylinux wheel may expect of the machine (PEP 600), and those that torch brings along.
OF_THE_MACHINE = re.compile(r"(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|ld-linux-x86-64)\.so\.\d+")
OF_TORCH = {"libtorch_cpu.so", "libtorch.so", "libc10.so"}


class ProgramHook(BuildHookInterface):
    """Adds the program, and the tag that is true of it."""

    def initialize(self, version, build_data):
        if version == "editable":
            return
        program = find_program()
        check_torch(self.metadata.core.dependencies)
        PATCHED.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, PATCHED)
        subprocess.run(["patchelf", "--set-rpath", "$ORIGIN/../../torch/lib", str(PATCHED)], check=True)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_of(PATCHED)}"
        build_data["force_include"][str(PATCHED)] = "untangle/bin/untangle"


def find_program():
    asked = os.environ.get("UNTANGLE_BINARY")
    places = [Path(asked)] if asked else [ROOT / "target" / profile / "untangle" for profile in ("dist", "release")]
    for place in places:
        if place.is_file():
            return place
    raise SystemExit(f"wheel: error: {places[0]}: no such file; run `just wheel`, which builds it")


def check_torch(dependencies):
    """Fails where the package names another torch than the one that the program is linked against."""
    linked = json.loads((ROOT / ".deps" / "setup.json").read_text())["torch_version"].split("+")[0]
    module = (Path(__file__).parent / "untangle" / "launch.py").read_text()
    if f"torch=={linked}" not in dependencies or f'TORCH = "{linked}"' not in module:
        raise SystemExit(f"wheel: error: pyproject.toml and launch.py must name torch {linked}, which .deps/torch is")


def platform_of(program):
    """The platform tag of a program, such as manylinux_2_34_x86_64."""
    with open(program, "rb") as file:
        elf = ELFFile(file)
        needed = {tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")}
        sections = [section for section in elf.iter_sections() if isinstance(section, GNUVerNeedSection)]
        versions = {entry.name for section in sections for _, entries in section.iter_versions() for entry in entries}
        machine = elf.get_machine_arch()
    strangers = {name for name in needed - OF_TORCH if not OF_THE_MACHINE.fullmatch(name)}
    if strangers or machine != "x64":
        raise SystemExit(f"wheel: error: {program} is for {machine} and needs {sorted(strangers)}: no wheel can promise that")
    glibc = max(tuple(map(int, name[6:].split("."))) for name in versions if name.startswith("GLIBC_2"))
    return f"manylinux_{glibc[0]}_{glibc[1]}_x86_64"
