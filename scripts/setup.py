#!/usr/bin/env python3
"""Puts libtorch and cmake into .deps/, so that plain `cargo build` works without environment variables.

Run it through `just setup`. It can be interrupted at any moment and run again: a finished wheel is not fetched
twice, a finished folder appears by rename, and when all is there it does nothing. With LIBTORCH set, .deps/torch
becomes a link to that PyTorch or libtorch instead (its version is checked), which is how a CUDA build is made. Later
runs without LIBTORCH keep such a link as long as it leads to the right version; remove .deps/torch to go back. The
wheels are for Linux on x86-64; elsewhere LIBTORCH is needed, and cmake is the one found on PATH.
"""

import base64
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPS = ROOT / ".deps"
WHEELS = DEPS / "wheels"
STAMP = DEPS / "setup.json"
PINS = ROOT / "scripts" / "native-wheels.txt"
TORCH_VERSION = "2.11.0"
# The wheels are chosen for this platform whatever Python runs the script: only their C++ parts are used.
PLATFORM = ["--python-version", "3.11", "--only-binary", ":all:"]
# Named platforms are taken to the letter, so every manylinux generation that the wheels carry is named.
for generation in ("manylinux_2_28", "manylinux_2_25", "manylinux_2_17", "manylinux2014"):
    PLATFORM += ["--platform", f"{generation}_x86_64"]

# Wheel -> (patterns of the members to unpack, prefix to strip, folder under .deps to unpack into).
TORCH_LIBRARIES = ["libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libtorch_global_deps.so"]
PLAN = {
    "torch": (["torch/include/*", "torch/version.py"] + [f"torch/lib/{name}" for name in TORCH_LIBRARIES], "torch/", "torch"),
    "nvidia-cuda-runtime": (["nvidia/cu13/lib/libcudart.so.13"], "nvidia/cu13/", "torch"),
    "nvidia-cuda-cupti": (["nvidia/cu13/lib/libcupti.so.13"], "nvidia/cu13/", "torch"),
    "cmake": (["cmake/data/*"], "cmake/data/", "cmake"),
}


def has_wheels():
    """Whether the pinned wheels run here."""
    return sys.platform == "linux" and os.uname().machine == "x86_64"


def say(text):
    print(f"setup: {text}", flush=True)


def stop(text):
    sys.exit(f"setup: error: {text}")


def pins():
    """The pinned wheels: name -> (version, sha256)."""
    found = {}
    for line in PINS.read_text().splitlines():
        match = re.match(r"([\w-]+)==(\S+) --hash=sha256:(\w+)", line)
        if match:
            found[match[1]] = (match[2], match[3])
    return found


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(name, version, digest):
    """The wheel's path, downloaded unless an intact one lies there already."""
    for wheel in WHEELS.glob(f"{name.replace('-', '_')}-{version}-*.whl"):
        if sha256(wheel) == digest:
            return wheel
        wheel.unlink()
    say(f"fetching {name} {version}")
    requirement = WHEELS / f"{name}.txt"
    requirement.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--dest", str(WHEELS)]
    try:
        done = subprocess.run(command + PLATFORM + ["--requirement", str(requirement)])
    except OSError as error:
        stop(f"cannot run pip: {error}")
    if done.returncode != 0:
        stop(f"pip could not fetch {name} {version}; with a network to the Python package index, run `just setup` again")
    requirement.unlink()
    return next(WHEELS.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def record_of(archive):
    """RECORD of a wheel: member -> sha256 as the wheel states it."""
    (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/RECORD")]
    hashes = {}
    for line in archive.read(name).decode().splitlines():
        member, digest, _ = line.rsplit(",", 2)
        hashes[member.strip('"')] = digest.removeprefix("sha256=")
    return hashes


def unpack(wheel, patterns, prefix, into):
    """Unpacks the members that match, each checked against the wheel's RECORD while it is written."""
    say(f"unpacking {wheel.name}")
    count = 0
    with zipfile.ZipFile(wheel) as archive:
        hashes = record_of(archive)
        for info in archive.infolist():
            if info.is_dir() or not any(fnmatch.fnmatchcase(info.filename, p) for p in patterns):
                continue
            target = into / info.filename.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with archive.open(info) as source, open(target, "wb") as out:
                while block := source.read(1 << 20):
                    digest.update(block)
                    out.write(block)
            stated = hashes.get(info.filename)
            found = base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
            if stated and stated != found:
                stop(f"{info.filename} in {wheel.name} does not match its RECORD; remove .deps and run again")
            target.chmod(0o755 if info.external_attr >> 16 & 0o111 else 0o644)
            count += 1
    if count == 0:
        stop(f"{wheel.name} holds none of {patterns}")


def torch_build(folder):
    """Version and git revision of the PyTorch in a folder, '' where it does not say."""
    text = (folder / "version.py").read_text() if (folder / "version.py").exists() else ""
    version = re.search(r"__version__ = '([^']*)'", text)
    revision = re.search(r"git_version = '([^']*)'", text)
    plain = folder / "build-version"
    return (
        version[1] if version else plain.read_text().strip() if plain.exists() else "",
        revision[1] if revision else "",
    )


def link_torch(source):
    """.deps/torch -> $LIBTORCH, for those who bring their own."""
    source = Path(source).resolve()
    for needed in ("include/ATen/ATen.h", "lib/libtorch_cpu.so"):
        if not (source / needed).exists():
            stop(f"LIBTORCH={source} has no {needed}; point it at a libtorch or at a PyTorch's torch folder")
    version, _ = torch_build(source)
    if not version.startswith(TORCH_VERSION):
        stop(f"LIBTORCH={source} is version {version or 'unknown'}, {TORCH_VERSION} is needed")
    target = DEPS / "torch"
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    target.symlink_to(source)
    say(f".deps/torch -> {source} ({version})")


def link_cmake():
    """.deps/cmake/bin/cmake -> the cmake on PATH, where the wheel's does not run."""
    target = DEPS / "cmake" / "bin" / "cmake"
    found = shutil.which("cmake")
    if not found:
        stop("cmake is fetched for Linux on x86-64 only, and there is none on PATH; install cmake and run this again")
    source = Path(found).resolve()
    if source == target:
        return
    shutil.rmtree(DEPS / "cmake", ignore_errors=True)
    target.parent.mkdir(parents=True)
    target.symlink_to(source)
    say(f".deps/cmake/bin/cmake -> {source}")


def kept_link():
    """Where .deps/torch leads, if it is a link to a usable libtorch; else ''."""
    link = DEPS / "torch"
    kept = link.is_symlink() and torch_build(link)[0].startswith(TORCH_VERSION)
    return os.path.realpath(link) if kept else ""


def libtorch():
    """The libtorch that is brought along: by LIBTORCH now, or by LIBTORCH of an earlier run; '' for the wheel's."""
    asked = os.environ.get("LIBTORCH", "")
    if not asked or os.path.abspath(asked) == str(DEPS / "torch"):
        return kept_link()
    return os.path.realpath(asked)


def wanted():
    return {"pins": {name: digest for name, (_, digest) in pins().items()}, "libtorch": libtorch()}


def sizes():
    """Sizes of the libraries and programs that everything else needs: a cheap check that they are still whole."""
    names = ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/include/ATen/ATen.h", "cmake/bin/cmake"]
    return {name: (DEPS / name).stat().st_size if (DEPS / name).exists() else 0 for name in names}


def is_done():
    if not STAMP.exists():
        return False
    stamp = json.loads(STAMP.read_text())
    return stamp.get("wanted") == wanted() and stamp.get("sizes") == sizes()


def set_up():
    WHEELS.mkdir(parents=True, exist_ok=True)
    want = wanted()
    folders = {}
    for name, (version, digest) in pins().items():
        patterns, prefix, folder = PLAN[name]
        if folder == "torch" and want["libtorch"] or folder == "cmake" and not has_wheels():
            continue
        folders.setdefault(folder, []).append((fetch(name, version, digest), patterns, prefix))
    for folder, parts in folders.items():
        partial = DEPS / f"{folder}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for wheel, patterns, prefix in parts:
            unpack(wheel, patterns, prefix, partial)
        target = DEPS / folder
        if target.is_symlink():
            target.unlink()
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    if want["libtorch"]:
        link_torch(want["libtorch"])
    if not has_wheels():
        link_cmake()
    version, revision = torch_build(DEPS / "torch")
    ran = subprocess.run([str(DEPS / "cmake" / "bin" / "cmake"), "--version"], capture_output=True)
    if ran.returncode != 0:
        stop(f".deps/cmake/bin/cmake does not run: {ran.stderr.decode().strip()}")
    stamp = {"wanted": want, "sizes": sizes(), "torch_version": version, "torch_git_version": revision}
    fresh = STAMP.with_suffix(".tmp")
    fresh.write_text(json.dumps(stamp, indent=1) + "\n")
    fresh.rename(STAMP)
    shutil.rmtree(WHEELS, ignore_errors=True)
    say(f"libtorch {version} and cmake are in .deps/")


def main():
    if not has_wheels() and not libtorch():
        stop(f"libtorch is fetched for Linux on x86-64 only; elsewhere set LIBTORCH to a libtorch {TORCH_VERSION}")
    if is_done():
        say("libtorch and cmake are already in .deps/")
    else:
        set_up()


if __name__ == "__main__":
    main()
