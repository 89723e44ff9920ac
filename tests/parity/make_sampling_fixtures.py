#!/usr/bin/env python3
"""Writes what transformers' logits processors make of seeded logits, for crates/model/src/sampling.rs."""

import itertools
import json
from pathlib import Path

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

OUT = Path(__file__).parent / "fixtures" / "sampling"
VOCABULARY = 23


def processors(temperature, top_k, top_p, min_p, repetition_penalty):
    """In the order of `GenerationMixin._get_logits_processor`."""
    found = LogitsProcessorList()
    if repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(repetition_penalty))
    found.append(TemperatureLogitsWarper(temperature))
    if top_k is not None:
        found.append(TopKLogitsWarper(top_k))
    if top_p is not None:
        found.append(TopPLogitsWarper(top_p))
    if min_p is not None:
        found.append(MinPLogitsWarper(min_p))
    return found


def case(number, settings):
    """One case; every third has logits of which several are the same."""
    generator = torch.Generator().manual_seed(number)
    logits = 2.5 * torch.randn(VOCABULARY, generator=generator)
    if number % 3 == 0:
        logits = (2 * logits).round() / 2
    text = torch.randint(0, VOCABULARY, (6,), generator=generator)
    scores = processors(*settings)(text[None], logits[None])[0]
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    return dict(
        zip(names, settings),
        logits=logits.tolist(),
        text=text.tolist(),
        probabilities=[round(p, 9) for p in scores.double().softmax(-1).tolist()],
    )


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    grid = itertools.product((0.6, 1.0, 1.7), (None, 1, 5, 40), (None, 0.5, 0.9), (None, 0.05, 0.3), (1.0, 1.3))
    cases = [case(number, settings) for number, settings in enumerate(grid)]
    # Nucleus sampling breaks ties of its border in an order that nobody promises, so the two are not combined.
    cases = [made for number, made in enumerate(cases) if made["top_p"] is None or number % 3 != 0]
    lines = ",\n".join(json.dumps(made) for made in cases)
    (OUT / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
