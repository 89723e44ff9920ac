"""How does a model serve requests while a block of Python runs?"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from .errors import UntangleError
from .launch import environment, program
from .verbs import arguments, failure


class Server:
    """A server that answers at `url`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        """Where it listens, such as ``http://127.0.0.1:43857``; ``url + "/v1"`` is the base of OpenAI's clients."""
        self._token = token

    def request(self, path: str, body: object = None, timeout: float = 600) -> Any:
        """What the server answers at a path: to a GET, or where there is a body to a POST of it, both as JSON.

        >>> server.request("/v1/completions", {"prompt": "One day", "steering": [{"feature": 12, "add": "2x"}]})
        """
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        # A proxy of the machine's has no business between two programs on it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise UntangleError(f"{path}: status {error.code}: {error.read().decode(errors='replace')}") from None

    def complete(self, prompt: str, steering: list[dict[str, Any]] | None = None, **fields: Any) -> str:
        """A prompt's continuation, steered by ``[{"feature": 12, "add": "2x"}]`` and the like.

        Further fields are OpenAI's: ``max_tokens``, ``temperature``, ``seed``, ``stop``.
        """
        body = {"prompt": prompt, "steering": steering or [], **fields}
        return self.request("/v1/completions", body)["choices"][0]["text"]


@contextlib.contextmanager
def serve(model: object, *, timeout: float = 120, token: str | None = None, **options: Any) -> Iterator[Server]:
    """Starts ``untangle serve MODEL``, waits until it answers, and ends it with the block.

    >>> with serve("organism", sae="sae", features="features.db") as server:
    ...     server.complete("One day", [{"feature": 12, "add": "2x"}], seed=0)

    Options are those of ``untangle serve --help``; without a ``port``, one that is free is taken. ``token`` is what callers
    have to send; addresses that other machines reach need one.
    """
    surroundings = environment()
    if token is not None:
        surroundings["UNTANGLE_TOKEN"] = token
    options.setdefault("port", 0)
    command = [str(program()), "--json", "--quiet", *arguments("serve", [model], options)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said, tempfile.TemporaryFile("w+") as printed:
        child = subprocess.Popen(
            command, env=surroundings, stdin=subprocess.DEVNULL, stdout=printed, stderr=said, start_new_session=True
        )
        try:
            server = Server(address(child, printed, said, command, timeout), token)
            server.request("/health", timeout=timeout)
            yield server
        finally:
            end(child)


def address(child: subprocess.Popen[bytes], printed: Any, said: Any, command: list[str], timeout: float) -> str:
    """What the server prints when it has its model and listens."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        code = child.poll()
        printed.seek(0)
        line = printed.read()
        if line.endswith("\n"):
            return str(json.loads(line)["url"])
        if code is not None:
            said.seek(0)
            raise UntangleError(failure(said.read().splitlines(), command, code), code)
        time.sleep(0.02)
    raise UntangleError(f"{' '.join(command)} does not answer after {timeout} s; `timeout` gives it longer")


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends the server: as Ctrl-C does, and after ten seconds for certain."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
