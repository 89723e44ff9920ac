#!/usr/bin/env python3
"""Makes the output that README.md shows, by running its commands: `just readme`.

Every fenced block with lines `$ untangle …` is a part of one session, which runs from top to bottom in an empty folder. What a
command prints replaces what stood below it. Two kinds of comments in the README steer it:

    <!-- readme: demo from "6. Steer" -->      the block below is the end of what `untangle demo` prints, from this line on
    <!-- readme: feature 38 is first of search "Gate" -->  the feature that this search lists first; another dictionary has
                                               another number, so it is looked up and replaced wherever it stands

With --check nothing is written: the commands run, and what differs from the README is shown. Dictionaries differ a little
between processors, because sums of floating-point numbers do, and times differ everywhere; so a difference is no fault.
"""

import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BINARY = ROOT / "target" / "release" / "untangle"
# A fence with a language is matched too, or its end would be taken for the beginning of a block; it is left as it is.
BLOCK = re.compile(
    r"(?P<comment><!-- readme: demo from \"(?P<start>[^\"]+)\" -->\n)?^```(?P<language>[a-z]*)\n(?P<body>.*?)^```\n",
    re.DOTALL | re.MULTILINE,
)
FEATURE = re.compile(r"<!-- readme: feature (?P<id>\d+) is first of search \"(?P<words>[^\"]+)\" -->")
# What a command says on stderr belongs to its output if it is the result of the work and not its progress.
SAID = re.compile(r"(^|: )done in ")


def run(command, folder):
    """The output of a command as a user sees it, and what it did wrong if it did."""
    words = shlex.split(command.replace("\\\n", " "))
    words[0] = str(BINARY)
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if ran.returncode != 0:
        sys.exit(f"readme: error: `{command}` ended with {ran.returncode}: {ran.stderr.strip().splitlines()[-1:]}")
    said = [line + "\n" for line in ran.stderr.splitlines() if SAID.search(line)]
    # The demo names the binary where it lies, which is another place on each machine.
    return "".join(said) + ran.stdout.replace(str(BINARY), str(BINARY.relative_to(ROOT)))


def session(body, folder, numbers):
    """A block with its commands run again."""
    before, *parts = re.split(r"(?m)^(\$ untangle (?:.*\\\n)*.*\n)", body)
    made = before
    for command in parts[::2]:
        command = renumbered(command, folder, numbers)
        print(f"readme: {command.strip()}", flush=True)
        made += command + run(command[2:], folder)
    return made


def renumbered(text, folder, numbers):
    """`text` with the numbers of the features that this dictionary has."""
    for words, (old, new) in numbers.items():
        if new is None and (folder / "features.db").exists() and mentions(old).search(text):
            numbers[words] = (old, first_of_search(words, folder))
    for old, new in numbers.values():
        text = mentions(old).sub(str(new), text) if new is not None else text
    return text


def mentions(number):
    """Where a text names a feature by its number; a bare number can be a count or a strength."""
    return re.compile(rf"(?<=feature ){number}\b|(?<=features\.db ){number}\b")


def first_of_search(words, folder):
    found = json.loads(run(f'untangle search features.db "{words}" --json', folder))
    return found["features"][0]["feature"]


def main():
    if not BINARY.exists():
        sys.exit(f"readme: error: {BINARY.relative_to(ROOT)} is absent; run `just build`")
    text = README.read_text()
    numbers = {found["words"]: (found["id"], None) for found in FEATURE.finditer(text)}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)

        def again(found):
            body = found["body"]
            if found["start"]:
                print("readme: untangle demo", flush=True)
                output = run("untangle demo", folder)
                body = output[output.index(found["start"]):].rstrip() + "\n"
            elif not found["language"] and "$ untangle" in body:
                body = session(body, folder, numbers)
            return found[0].replace(found["body"], body)

        made = BLOCK.sub(again, text)
    # Comments and sentences name features by number, too.
    for old, new in numbers.values():
        made = mentions(old).sub(str(new), made) if new is not None else made
    if "--check" in sys.argv[1:]:
        sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), made.splitlines(True), "README.md", "made now"))
    else:
        README.write_text(made)
        print("readme: README.md is written; read it before you commit it")


if __name__ == "__main__":
    main()
