#!/usr/bin/env python3
"""Checks an event file of Untangle with TensorBoard's own reader.

    check_events.py SAE_DIR

Every scalar of every logged step must be what metrics.jsonl says of it, at its step and time, and no record may be
damaged: the reader compares checksums and drops what does not fit.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = ["fvu", "l0", "loss", "penalty", "aux_loss", "dead", "grad_norm", "lr"]


def main() -> None:
    folder = Path(sys.argv[1])
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = sorted(events.Tags()["scalars"])
    problems = [] if found == sorted(TAGS) else [f"scalars {found}, expected {sorted(TAGS)}"]
    for tag in set(found) & set(TAGS):
        scalars = events.Scalars(tag)
        if [scalar.step for scalar in scalars] != [record["step"] for record in records]:
            problems.append(f"{tag}: other steps than metrics.jsonl has")
            continue
        for scalar, record in zip(scalars, records):
            same = math.isclose(scalar.value, np.float32(record[tag]), rel_tol=1e-7) and scalar.wall_time == record["time"]
            if not same:
                problems.append(f"{tag} at step {record['step']}: {scalar.value}, metrics.jsonl has {record[tag]}")
    for problem in problems[:10]:
        print(problem)
    if problems:
        sys.exit(1)
    print(f"{len(records)} steps with {len(found)} scalars each, as in metrics.jsonl")


if __name__ == "__main__":
    main()
