"""Does the command run with the user's torch, and say clearly where that is not possible?"""

import os
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

import untangle
from untangle import launch

COMMAND = Path(sys.executable).parent / "untangle"
# The runner's own settings must not reach what is tested.
PLAIN = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "UNTANGLE_BINARY", "PYTHONPATH")}


def call(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, env={**PLAIN, **more})


def test_the_package_is_the_installed_one_and_the_program_its_own():
    assert "site-packages" in untangle.__file__
    assert untangle.program() == Path(untangle.__file__).parent / "bin" / "untangle"


def test_the_command_is_the_program():
    ran = call(COMMAND, "--version")
    assert (ran.returncode, ran.stdout) == (0, f"untangle {metadata.version('untangle')}\n"), ran.stderr
    assert call(sys.executable, "-m", "untangle", "--version").stdout == ran.stdout
    # It becomes the program, so that exit codes are the program's.
    assert call(COMMAND, "inspect", "absent.h5").returncode == 3
    assert call(COMMAND, "nonsense").returncode == 2


def test_the_program_finds_the_torch_beside_it_even_alone():
    ran = call(untangle.program(), "--version")
    assert ran.returncode == 0, ran.stderr


def test_no_folder_of_the_machine_that_built_it_is_searched_for_libraries():
    shown = call("readelf", "--dynamic", untangle.program()).stdout
    assert re.findall(r"(?:runpath|rpath): \[(.*)\]", shown) == ["$ORIGIN/../../torch/lib"]


def test_the_tag_is_true_of_the_program():
    wheel = metadata.distribution("untangle").read_text("WHEEL")
    tag = re.search(r"Tag: py3-none-manylinux_2_(\d+)_x86_64\n", wheel)
    assert tag and "Root-Is-Purelib: false" in wheel, wheel
    symbols = call("readelf", "--version-info", "--wide", untangle.program()).stdout
    assert int(tag[1]) == max(int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", symbols))


def test_licences_are_in_the_wheel():
    names = {Path(file).name for file in metadata.files("untangle")}
    assert {"LICENSE-MIT", "LICENSE-APACHE", "py.typed"} <= names


def torch_of(folder, version, library=True):
    """A torch that says it is of a version, with the real one's libraries."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("raise ImportError('torch is looked up, not imported')\n")
    (folder / "torch" / "version.py").write_text(f"__version__ = '{version}'\n")
    if library:
        (folder / "torch" / "lib").symlink_to(launch.torch_folder() / "lib")
    return str(folder)


def test_a_torch_for_other_devices_is_taken(tmp_path):
    ran = call(COMMAND, "--version", PYTHONPATH=torch_of(tmp_path, "2.11.0+cpu"))
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("version", ["2.12.0", "2.11.1+cu130", "2.1", ""])
def test_another_torch_is_refused_in_one_line_with_the_remedy(tmp_path, version):
    ran = call(COMMAND, "--version", PYTHONPATH=torch_of(tmp_path, version))
    assert ran.returncode == 4 and ran.stdout == ""
    assert ran.stderr.count("\n") == 1 and "pip install torch==2.11.0" in ran.stderr
    assert str(tmp_path) in ran.stderr and (version or "unknown") in ran.stderr


def test_a_torch_without_its_library_is_refused(tmp_path):
    ran = call(COMMAND, "--version", PYTHONPATH=torch_of(tmp_path, "2.11.0", library=False))
    assert ran.returncode == 4 and "no lib/libtorch_cpu.so" in ran.stderr


def test_no_torch_is_said_in_one_line_with_the_remedy(tmp_path):
    venv.create(tmp_path, symlinks=True)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    (site / "untangle").symlink_to(Path(untangle.__file__).parent)
    ran = call(tmp_path / "bin" / "python", "-m", "untangle", "--version")
    assert ran.returncode == 4 and ran.stderr.count("\n") == 1, ran.stderr
    assert "no torch" in ran.stderr and "pip install torch==2.11.0" in ran.stderr


def test_a_program_of_ones_own_is_run_in_its_place(tmp_path):
    own = tmp_path / "own"
    own.write_text("#!/bin/sh\necho own \"$@\"\n")
    own.chmod(0o755)
    assert call(COMMAND, "a", "b", UNTANGLE_BINARY=str(own)).stdout == "own a b\n"
    ran = call(COMMAND, UNTANGLE_BINARY=str(tmp_path / "absent"))
    assert ran.returncode == 4 and "UNTANGLE_BINARY" in ran.stderr


def test_importing_the_module_imports_no_library():
    loaded = "import sys, untangle; print({'numpy', 'pandas', 'scipy', 'h5py', 'torch'} & set(sys.modules))"
    assert call(sys.executable, "-c", loaded).stdout == "set()\n"
