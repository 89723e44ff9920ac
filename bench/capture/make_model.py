#!/usr/bin/env python3
"""Writes a model of GPT-2 small's shape with seeded random weights as a Hugging Face directory, and a text for it.

    make_model.py MODEL_DIR TEXT N_TOKENS

Every word of the text is one token of the vocabulary, so that the tokens are known without a tokenizer: their ids stand
in TEXT.ids, one a line.
"""

import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel

SEED = 4


def main():
    directory, text, n_tokens = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(SEED)
    config = GPT2Config()  # the defaults are GPT-2 small
    GPT2LMHeadModel(config).save_pretrained(directory)
    vocabulary = {f"w{token}": token for token in range(config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(directory / "tokenizer.json"))
    draw = random.Random(SEED)
    ids = [draw.randrange(1, config.vocab_size - 1) for _ in range(n_tokens)]
    text.write_text(" ".join(f"w{token}" for token in ids) + "\n")
    text.with_name(text.name + ".ids").write_text("\n".join(map(str, ids)) + "\n")


if __name__ == "__main__":
    main()
