"""Do the notebooks run, and is what they show small and free of the machine that made it?

    execute.py [--write] [NOTEBOOK...]

Each runs from top to bottom in an empty folder. An error, output of more than 300 KB in a file, a path of this machine or a
warning in what a cell prints fails it. With --write, notebooks that pass are saved with their output; times and identities that differ
with every run are left out, so that a difference is one of content.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
LARGEST = 300_000
# A folder of somebody's, wherever it is: notebooks name files by themselves. Pictures, in base64, may look like anything.
PATHS = re.compile(rf"{re.escape(str(HERE.parent))}|{re.escape(tempfile.gettempdir())}/|/(?:home|root|Users|work)/")


def text_of(cell):
    """What a cell prints, pictures aside."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def faults(notebook):
    """What is wrong with the output of a notebook that ran."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                yield f"cell {number} complains: {output['text'].strip()}"
        for text in text_of(cell):
            if found := PATHS.search(text):
                yield f"cell {number} names a place of this machine: {found[0]}"
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        yield f"it has {size} bytes, at most {LARGEST} are kept; draw smaller pictures"


def plain(notebook):
    """The notebook without what differs in every run."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    return notebook


def execute(path):
    """Runs a notebook and returns it with what is wrong with it."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        # Pieces of one stream come as the kernel likes; they are one piece of text.
        client = NotebookClient(
            notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": folder}}, coalesce_streams=True,
            record_timing=False, startup_timeout=300, extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
        try:
            client.execute()
        except CellExecutionError as error:
            return notebook, [str(error)]
    plain(notebook)
    return notebook, list(faults(notebook))


def main():
    asked = [Path(word).resolve() for word in sys.argv[1:] if word != "--write"]
    # Its modules, for kernels that run elsewhere.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent / "python")])
    failed = False
    for path in asked or sorted(HERE.glob("*.ipynb")):
        began = time.monotonic()
        notebook, wrong = execute(path)
        print(f"notebooks: {path.name}: {'failed' if wrong else 'ran'} in {time.monotonic() - began:.0f} s", flush=True)
        for fault in wrong:
            print(f"  {fault}", flush=True)
        if "--write" in sys.argv and not wrong:
            nbformat.write(notebook, path)
        failed = failed or bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
