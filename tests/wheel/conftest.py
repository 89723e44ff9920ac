"""What every test of the wheel starts from: a store, a dictionary, a database and codes that the program made."""

from types import SimpleNamespace

import pytest

import untangle

HOOKS = ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    paths = {name: folder / name for name in ("stories.h5", "half.h5", "sae", "features.db", "codes.safetensors")}
    here = SimpleNamespace(
        folder=folder, store=paths["stories.h5"], half=paths["half.h5"], sae=paths["sae"],
        features=paths["features.db"], codes=paths["codes.safetensors"], hook=HOOKS[1],
    )  # fmt: skip
    capture = {"text": "organism", "hook": HOOKS, "tokens": 20_000}
    untangle.run("capture", "organism", out=here.store, store="f32", **capture)
    untangle.run("capture", "organism", out=here.half, store="bf16", **capture)
    untangle.run("train", here.store, hook=here.hook, out=here.sae, d_sae=64, k=4, tokens=40_000, batch=512)
    untangle.run("features", here.sae, store=here.store, model="organism", out=here.features)
    untangle.run("encode", here.sae, here.store, out=here.codes)
    return here
