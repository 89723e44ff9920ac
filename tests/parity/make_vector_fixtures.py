#!/usr/bin/env python3
"""Writes a control vector as repeng's `ControlVector.export_gguf` does, for crates/interpret/src/vectors/gguf.rs."""

from pathlib import Path

import gguf
import numpy

OUT = Path(__file__).parent / "fixtures" / "vectors"
WIDTH = 5
LAYERS = (3, 2, 1)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    architecture = "controlvector"
    writer = gguf.GGUFWriter(OUT / "control.gguf", architecture)
    writer.add_string(f"{architecture}.model_hint", "gpt2")
    writer.add_uint32(f"{architecture}.layer_count", len(LAYERS))
    for layer in LAYERS:
        numbers = numpy.arange(WIDTH, dtype=numpy.float32) * 0.25 - layer
        # One direction in half precision, which other tools make of the file.
        writer.add_tensor(f"direction.{layer}", numbers.astype(numpy.float16 if layer == 2 else numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
