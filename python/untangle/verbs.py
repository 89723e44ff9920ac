"""How is a verb run from Python?"""

from __future__ import annotations

import json as json_form
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from typing import IO, Any

from .errors import UntangleError, UntangleWarning
from .launch import environment, program


def arguments(verb: str, positional: Iterable[object], options: dict[str, Any]) -> list[str]:
    """The words of a command line. ("train", ["a.h5"], {"d_sae": 512, "force": True}) gives train a.h5 --d-sae=512 --force.

    None and False leave an option out, a list gives it several times. A blank behind a name keeps it from being a
    word of Python's: `with_` is --with.
    """
    words = verb.split()
    for name, value in options.items():
        option = "--" + name.rstrip("_").replace("_", "-")
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is True:
                words.append(option)
            elif one is not None and one is not False:
                words.append(f"{option}={os.fspath(one) if isinstance(one, os.PathLike) else one}")
    rest = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in positional]
    # Behind `--` a file may begin with a dash.
    return words + (["--", *rest] if rest else [])


def run(verb: str, *positional: object, json: bool = False, progress: bool = False, **options: Any) -> Any:
    """Runs a verb and returns what it prints: text, or with ``json`` the parsed object.

    >>> run("train", "stories.h5", out="sae", d_sae=512, k=8, json=True)["plan"]["schedule"]["steps"]

    Arguments and options are those of ``untangle VERB --help``; a list gives an option several times, ``True`` is an option
    without a value, and underscores stand for dashes. Verbs of two words are named by both: ``run("organism measure")``.
    Warnings of the program become warnings of Python; with ``progress`` all that it says while it works goes to
    ``sys.stderr`` at once. A failure is an `UntangleError` with the program's words and its exit code. An interrupted cell
    has the program save what it has: the same call goes on from there.
    """
    command = [str(program()), *(["--json"] if json else []), *arguments(verb, positional, options)]
    # In a session of its own, so that Ctrl-C reaches the program once, from here: a second time would end it at once.
    child = subprocess.Popen(
        command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", errors="replace", start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stderr is not None
    said: list[str] = []
    listener = threading.Thread(target=listen, args=(child.stderr, said, progress), daemon=True)
    listener.start()
    try:
        printed, interrupted = child.stdout.read(), False
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        printed, interrupted = "", True
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.kill()
        raise
    listener.join()
    if interrupted:
        raise KeyboardInterrupt
    if code != 0:
        raise UntangleError(failure(said, command, code), code)
    for line in said:
        if line.startswith("warning: "):
            warnings.warn(line.removeprefix("warning: "), UntangleWarning, stacklevel=2)
    if not json:
        return printed
    try:
        return json_form.loads(printed)
    except ValueError:
        raise UntangleError(f"untangle {verb} prints no JSON; leave `json` out") from None


def listen(stream: IO[str], said: list[str], progress: bool) -> None:
    """Keeps what a program says, and passes it on where somebody wants to see it."""
    for line in stream:
        said.append(line.rstrip("\n"))
        if progress:
            print(line, end="", file=sys.stderr, flush=True)


def failure(said: list[str], command: list[str], code: int) -> str:
    """What a program said of its failure."""
    first = next((at for at, line in enumerate(said) if line.startswith("error: ")), None)
    if first is not None:
        return "\n".join(said[first:]).removeprefix("error: ").strip()
    last = "; ".join(said[-3:])
    return f"{' '.join(command)} ended with {code}" + (f": {last}" if last else "")
