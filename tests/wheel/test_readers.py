"""Do the readers hand out what the files hold?"""

import json
import shutil
import sqlite3

import h5py
import numpy as np
import pytest
import scipy.sparse

import untangle


def test_a_store_is_what_h5py_sees(made):
    with untangle.Store(made.store) as store, h5py.File(made.store) as file:
        assert len(store) == 20_000 and store.hooks == ["blocks.1.hook_resid_post", made.hook]
        column = store[made.hook]
        assert column.shape == (20_000, 128) and column.stored == "f32" and len(column) == 20_000
        assert np.array_equal(column[10:13, :4], file["activations"][made.hook][10:13, :4])
        assert np.array_equal(np.asarray(column), file["activations"][made.hook][:])
        for name in ("tokens", "documents", "positions", "offsets", "flags"):
            assert np.array_equal(getattr(store, name), file[name][:])
        assert np.allclose(store.norms(made.hook), np.linalg.norm(column[:], axis=1), rtol=1e-6)
        ordinary = store.ordinary(made.hook)
        assert 0 < (~ordinary).sum() < 2_000
        assert np.allclose(store.mean(made.hook), column[:][store.flags == 0].mean(axis=0, dtype="f8"))


def test_bf16_is_read_as_the_numbers_that_it_means(made):
    with untangle.Store(made.store) as exact, untangle.Store(made.half) as half:
        wanted, found = exact[made.hook][:100], half[made.hook][:100]
        assert half[made.hook].stored == "bf16" and found.dtype == np.float32
        assert np.allclose(found, wanted, rtol=2**-8) and not np.array_equal(found, wanted)


def test_what_is_no_store_is_refused_by_name(made, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = 1
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, words in {"absent.h5": "no such file", "other.h5": "no activation store", "text.h5": "inspect"}.items():
        with pytest.raises(untangle.UntangleError, match=words) as failed:
            untangle.Store(tmp_path / name)
        assert name in str(failed.value)
    shutil.copy(made.store, tmp_path / "unfinished.h5")
    with h5py.File(tmp_path / "unfinished.h5", "r+") as file:
        file["complete"][()] = 0
    with pytest.raises(untangle.UntangleError, match="not finished"):
        untangle.Store(tmp_path / "unfinished.h5")
    with untangle.Store(made.store) as store, pytest.raises(untangle.UntangleError, match="has no blocks.9"):
        store["blocks.9.hook_resid_post"]


def test_a_dictionary_has_its_settings_and_tensors(made):
    sae = untangle.Dictionary(made.sae)
    assert (sae.d_in, sae.d_sae, sae.hook, sae.config["k"]) == (128, 64, made.hook, 4)
    assert sae.names == ["W_dec", "W_enc", "b_dec", "b_enc"]
    assert sae["W_dec"].shape == (64, 128) and np.allclose(np.linalg.norm(sae["W_dec"], axis=1), 1, atol=1e-5)
    assert len(sae.metrics) > 0 and sae.training
    with pytest.raises(untangle.UntangleError, match="no tensor W; it has W_dec"):
        sae["W"]
    with pytest.raises(untangle.UntangleError, match="cfg.json: no such file"):
        untangle.Dictionary(made.folder)


def test_codes_decode_to_the_fvu_that_the_program_states(made):
    sae = untangle.Dictionary(made.sae)
    codes = untangle.read_codes(made.codes, sae.d_sae)
    assert scipy.sparse.issparse(codes.activations) and codes.activations.shape == (20_000, 64)
    assert np.array_equal(codes.rows, np.arange(20_000))
    assert (codes.about["sae"], codes.about["hook"], codes.about["d_sae"]) == ("sae", made.hook, "64")
    assert untangle.read_codes(made.codes).activations.shape == (20_000, 64), "the file says how many features there are"
    with untangle.Store(made.store) as store:
        rows, ordinary = store[made.hook][:].astype("f8"), store.ordinary(made.hook)
    missing = (rows - (codes.activations @ sae["W_dec"] + sae["b_dec"]))[ordinary]
    fvu = (missing**2).sum() / ((rows[ordinary] - rows[ordinary].mean(axis=0)) ** 2).sum()
    stated = untangle.run("evaluate", made.sae, store=made.store, rows="all", json=True)["dictionaries"][0]
    assert fvu == pytest.approx(stated["fvu"], rel=1e-3)
    assert codes.activations[ordinary].getnnz() / ordinary.sum() == pytest.approx(stated["l0"], rel=1e-6)


def test_codes_of_another_dictionary_are_refused(made, tmp_path):
    with pytest.raises(untangle.UntangleError, match="another dictionary"):
        untangle.read_codes(made.codes, 3)
    with pytest.raises(untangle.UntangleError, match="has no activations"):
        untangle.read_codes(made.sae / "sae_weights.safetensors")
    with pytest.raises(untangle.UntangleError, match="no such file"):
        untangle.read_codes(tmp_path / "absent.safetensors")


def test_features_are_what_the_program_shows(made):
    with untangle.Features(made.features) as features:
        table = features.table()
        assert len(features) == len(table) == 64 and features.run["rows"] > 0
        shown = untangle.run("show", made.features, *range(64), examples=2, json=True)["features"]
        for card in shown:
            row = table.loc[card["feature"]]
            assert row.density == pytest.approx(card["density"])
            assert (row.label if isinstance(row.label, str) else None) == (card["labels"][0]["text"] if card["labels"] else None)
        feature = int(table["density"].idxmax())
        examples = features.examples(feature)
        first = examples.iloc[0]
        assert first.activations[first.peak] == pytest.approx(first.activation)
        assert len(first.tokens) == len(first.activations) and examples.activation.is_monotonic_decreasing
        assert len(features.examples(feature, "sampled")) > 0
        edges, counts = features.histogram(feature)
        assert len(edges) == len(counts) + 1 and counts.sum() > 0
        assert set(features.logits(feature).side) == {"top", "bottom"}
        assert feature not in set(features.neighbours(feature).other)
        assert set(features.labels().source) >= {"tokens", "logit-lens"}
        with pytest.raises(untangle.UntangleError, match="no feature 64"):
            features.examples(64)


def test_what_is_no_database_is_refused_and_none_is_changed(made, tmp_path):
    (tmp_path / "text.db").write_text(json.dumps({}) * 500)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE a (b)")
    for name, words in {"absent.db": "no such file", "other.db": "no database of features", "text.db": "features"}.items():
        with pytest.raises(untangle.UntangleError, match=words):
            untangle.Features(tmp_path / name)
    with untangle.Features(made.features) as features, pytest.raises(sqlite3.OperationalError, match="readonly"):
        features.connection.execute("DELETE FROM labels")
