#!/usr/bin/env python3
"""Regenerates the fixtures elsewhere and compares them with the committed ones, file by file."""

import json
import sys
import tempfile
from pathlib import Path

import make_chat_fixtures
import make_model_fixtures
import make_sae_fixtures
import make_sampling_fixtures
import make_vector_fixtures
import numpy
import torch
from safetensors.torch import load_file

# Largest difference between two machines' f32 results, relative to the largest value of the tensor.
TOLERANCE = 1e-5


def tensors(path):
    """The tensors of a file by name, of an archive of numpy's, too."""
    if path.suffix == ".npz":
        with numpy.load(path) as arrays:
            return {name: torch.as_tensor(arrays[name]) for name in arrays}
    return load_file(path)


def tensor_problems(made, committed):
    """What differs between two files of tensors, in words."""
    made, committed = tensors(made), tensors(committed)
    for name in sorted(made.keys() | committed.keys()):
        if name not in made or name not in committed:
            yield f"tensor {name} is {'not committed' if name in made else 'no longer made'}"
        elif made[name].shape != committed[name].shape or made[name].dtype != committed[name].dtype:
            yield f"tensor {name} has another shape or type"
        else:
            # Attention scores are minus infinity where a key cannot be seen.
            unseen = committed[name] == -torch.inf
            if not torch.equal(made[name] == -torch.inf, unseen):
                yield f"tensor {name} is infinite elsewhere"
            ours, theirs = (tensor.double().masked_fill(unseen, 0) for tensor in (made[name], committed[name]))
            error = (ours - theirs).abs().max()
            if not error <= TOLERANCE * theirs.abs().max():
                yield f"tensor {name} differs by {error:.1e}, its largest value is {theirs.abs().max():.1e}"


def settings(path):
    """What a JSON file says, but for the release of transformers that wrote it."""
    said = json.loads(path.read_text())
    if isinstance(said, dict):
        said.pop("transformers_version", None)
    return said


def file_problems(made, committed):
    """What differs between two files, in words."""
    if not made.exists() or not committed.exists():
        return [f"is {'not committed' if made.exists() else 'no longer made'}"]
    if made.suffix == ".gguf":
        return [] if made.read_bytes() == committed.read_bytes() else ["differs"]
    if made.suffix in (".safetensors", ".npz"):
        return list(tensor_problems(made, committed))
    return [] if settings(made) == settings(committed) else ["differs"]


def main():
    agree = True
    generators = (make_chat_fixtures, make_sae_fixtures, make_sampling_fixtures, make_vector_fixtures, make_model_fixtures)
    for generator in generators:
        committed = generator.OUT
        with tempfile.TemporaryDirectory() as scratch:
            made = generator.OUT = Path(scratch) / committed.name
            generator.main()
            files = {path.relative_to(root) for root in (made, committed) for path in root.rglob("*") if path.is_file()}
            for file in sorted(files):
                for problem in file_problems(made / file, committed / file):
                    print(f"{committed.name}/{file}: {problem}")
                    agree = False
    print("agree: the committed fixtures are what the references give" if agree else "DISAGREE")
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
