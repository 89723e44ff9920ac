"""Who competes: our binary, run as users run it, and the peers in processes of their own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from memory import Peak

HERE = Path(__file__).parent
# Steps of one of our runs whose times are not counted: memory is touched for the first time, and the reader starts.
WARM_STEPS = 3


class Worker:
    """A process of worker.py that answers requests."""

    def __init__(self, **request: Any) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, str(HERE / "worker.py")]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.peak = Peak(self.process.pid)
        # What is printed on the way is only read when something fails; a full pipe would stop the worker.
        self.errors: list[str] = []
        self._drain()
        self.ask(**request)

    def _drain(self) -> None:
        import threading

        assert self.process.stderr is not None
        threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True).start()

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait()
            raise RuntimeError(f"a peer failed at {request}:\n{''.join(self.errors[-20:])}")
        return json.loads(answer)

    def close(self) -> float:
        """Ends the process; returns its peak memory in MiB."""
        peak = self.peak.stop()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        return peak


class Ours:
    """`untangle train` on a matrix of rows."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.binary, self.folder = binary, folder
        self.help = subprocess.run([binary, "train", "--help"], check=True, capture_output=True, text=True).stdout

    def architectures(self) -> set[str]:
        """The words of the help on --arch, among them the names of all architectures that this binary trains."""
        entry = re.search(r"--arch <.*?(?=\n +(?:-\w, )?--)", self.help, re.DOTALL)
        return set(re.findall(r"[a-z]+(?:-[a-z]+)*", entry.group(0))) if entry else set()

    def has(self, option: str) -> bool:
        return f"--{option}" in self.help

    def train(self, rows: Path, options: list[str]) -> tuple[Path, list[dict[str, Any]], float]:
        """The dictionary, the log of the run (of the first member of a grid) and the peak memory in MiB."""
        out = self.folder / "ours"
        shutil.rmtree(out, ignore_errors=True)
        command = [self.binary, "--quiet", "train", str(rows), "--out", str(out), "--held-out", "none", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peak = Peak(process.pid)
        _, errors = process.communicate()
        mib = peak.stop()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {errors.strip()}")
        logs = sorted(out.rglob("metrics.jsonl"))
        return out, [json.loads(line) for line in logs[0].read_text().splitlines()], mib

    @staticmethod
    def steps(log: list[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
        """Seconds and record of every step but the first."""
        return [
            ((after["seconds"] - before["seconds"]) / (after["step"] - before["step"]), after)
            for before, after in zip(log, log[1:])
        ]

    @staticmethod
    def step_seconds(log: list[dict[str, Any]]) -> list[float]:
        """Seconds of the steps of a run, without the first ones."""
        return [seconds for seconds, _ in Ours.steps(log)[WARM_STEPS - 1 :]]
