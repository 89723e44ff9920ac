"""Do verbs run from Python as on the command line?"""

import os
import signal
import threading
import urllib.error
import urllib.request

import pytest

import untangle
from untangle.verbs import arguments


def test_arguments_are_those_of_a_command_line(tmp_path):
    options = {"d_sae": 512, "hook": ["a", "b"], "force": True, "compress": False, "seed": None, "with_": tmp_path, "lr": -1}
    words = arguments("organism train", [tmp_path, 3], options)
    assert words == [
        "organism", "train", "--d-sae=512", "--hook=a", "--hook=b", "--force", f"--with={tmp_path}", "--lr=-1",
        "--", str(tmp_path), "3",
    ]  # fmt: skip


def test_what_a_verb_prints_is_returned(made):
    assert "20000" in untangle.run("inspect", made.store)
    found = untangle.run("evaluate", made.sae, store=made.store, json=True)
    assert 0 < found["dictionaries"][0]["fvu"] < 1


def test_a_failure_has_the_programs_words_and_its_exit_code(tmp_path):
    with pytest.raises(untangle.UntangleError, match="absent.h5") as failed:
        untangle.run("inspect", tmp_path / "absent.h5")
    assert failed.value.code == 3
    with pytest.raises(untangle.UntangleError, match="--nonsense") as failed:
        untangle.run("inspect", "organism", nonsense=1)
    assert failed.value.code == 2


def test_verbs_that_print_a_text_give_it_as_json_too():
    text = untangle.run("completions", "bash")
    assert "complete" in text
    told = untangle.run("completions", "bash", json=True)
    assert told["shell"] == "bash" and told["script"].strip() == text.strip()


def test_warnings_of_the_program_are_warnings_of_python(made):
    with pytest.warns(untangle.UntangleWarning, match="thread"):
        untangle.run("inspect", made.store, threads=9999)


def test_progress_is_shown_while_it_is_made(tmp_path, capsys):
    untangle.run("organism corpus", out=tmp_path / "a.txt", documents=10, progress=True)
    assert "done in" in capsys.readouterr().err
    untangle.run("organism corpus", out=tmp_path / "b.txt", documents=10)
    assert capsys.readouterr().err == ""


def test_an_interrupted_training_goes_on_with_the_same_call(made, tmp_path):
    def train(out):
        return untangle.run("train", made.store, hook=made.hook, out=out, d_sae=512, tokens=800_000, batch=256)

    def interrupt_once_begun():
        partial = tmp_path / "cut.partial"
        while not partial.exists() and not done.wait(0.02):
            pass
        if not done.wait(1):
            os.kill(os.getpid(), signal.SIGINT)

    done = threading.Event()
    killer = threading.Thread(target=interrupt_once_begun)
    killer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut")
    finally:
        done.set()
        killer.join()
    assert (tmp_path / "cut.partial").exists() and not (tmp_path / "cut").exists()
    train(tmp_path / "cut")
    train(tmp_path / "whole")
    weights = [(tmp_path / name / "sae_weights.safetensors").read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_a_server_answers_within_the_block_and_is_gone_behind_it(made):
    with untangle.serve("organism", sae=made.sae, features=made.features) as server:
        assert server.request("/v1/models")["data"][0]["id"] == "organism"
        plain, again = (server.complete("One day, Anna", max_tokens=20, seed=3) for _ in range(2))
        feature = int(untangle.Features(made.features).table()["density"].idxmax())
        steered = server.complete("One day, Anna", [{"feature": feature, "add": "2x"}], max_tokens=20, seed=3)
        assert plain == again != steered
        with pytest.raises(untangle.UntangleError, match="status 404"):
            server.request("/nowhere")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url + "/health", timeout=5)


def test_a_server_with_a_token_refuses_those_who_have_none():
    with untangle.serve("organism", token="sixteen-letters!") as server:
        assert server.complete("One day", max_tokens=2)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(server.url + "/v1/models", timeout=5)


def test_a_server_that_cannot_begin_says_why(tmp_path):
    with pytest.raises(untangle.UntangleError, match="absent") as failed, untangle.serve("organism", sae=tmp_path / "absent"):
        pass
    assert failed.value.code in (3, 4)
