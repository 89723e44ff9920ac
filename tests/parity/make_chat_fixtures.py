#!/usr/bin/env python3
"""Writes what transformers makes of conversations with the templates of tests/parity/chat_templates.

`fixtures/chat/cases.json` is a list of cases: `template`, `special` (texts of special tokens), `messages`,
`add_generation_prompt`, perhaps `tools` and `documents`, and either `text`, what `apply_chat_template` gives, or `error`, what the template says when it
refuses. The clock stands at 26 July 2024, as it does in Untangle.

`fixtures/chat/idioms.json` holds what it makes of the expressions and small templates of `chat_idioms.py`: `cases` are
pairs of a source and one text for each of the `conversations`, null where it is refused.
"""

import datetime
import json
from pathlib import Path

import chat_idioms
import jinja2
from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "chat_templates"
OUT = HERE / "fixtures" / "chat"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


class Day(datetime.datetime):
    """A clock that stands."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, tzinfo=tz)


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


ARGUMENTS = {"of": [1, 2.5], "why": "<é> & 'x'", "z": None, "a": True}
CALL = {"id": "a1b2c3d4e", "type": "function", "function": {"name": "sum", "arguments": ARGUMENTS}}
CONVERSATIONS = [
    turns(("user", "Hello")),
    turns(("user", "  Hello\n"), ("assistant", "\nHi \u00e9\U0001F980 <b>&</b> "), ("user", "More?")),
    turns(("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye"), ("assistant", "Bye.")),
    turns(("user", "Why?"), ("assistant", "<think>\nHm.\n</think>\n\nBecause."), ("user", "So?"))
    + turns(("assistant", "<think>\nSo.\n</think>\n\nSo.")),
    turns(("user", "Hello"), ("user", "Again")),
    turns(("system", "Be brief."), ("assistant", "Hi")),
    turns(("user", "Add."))
    + [{"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "3.5"}]
    + turns(("assistant", "3.5")),
    turns(("user", ""), ("assistant", "{{ bos_token }} {% raw %} \\n")),
]
# What stands beside conversations: tools that may be called, documents that may be quoted.
PARAMETERS = {"type": "object", "properties": {"of": {"type": "array", "items": {"type": "number"}}}, "required": ["of"]}
TOOL = {"type": "function", "function": {"name": "sum", "description": "Adds <é> & 'x'", "parameters": PARAMETERS, "strict": None}}
BESIDE = [
    {"tools": [TOOL]},
    {"tools": [TOOL, {"name": "bare", "parameters": {}}], "documents": [{"title": "T", "text": "Two and two."}]},
    {"tools": []},
]
# Only for templates that know of messages in parts: others write what Python shows of a list.
IN_PARTS = [{"role": "user", "content": [{"type": "text", "text": "a part"}, {"type": "image"}], "name": "Ann"}]
KNOW_PARTS = ("generation", "qwen-3")


def case(template, messages, add_generation_prompt, beside={}):
    source = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    case = {"template": template, "special": SPECIAL, "messages": messages}
    case["add_generation_prompt"] = add_generation_prompt
    case |= beside
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], chat_template=source, add_generation_prompt=add_generation_prompt, **beside, **SPECIAL
        )
        return case | {"text": rendered[0]}
    except jinja2.exceptions.TemplateError as error:
        return case | {"error": str(error)}


def rendered(source, messages):
    """The text, none where the template or Python refuses; addresses in memory count as refused."""
    try:
        messages = chat_template_utils._normalize_chat_messages(messages)
        texts, _ = chat_template_utils.render_jinja_template([messages], chat_template=source, **SPECIAL)
    except Exception:  # Templates raise whatever Python does.
        return None
    return None if " at 0x" in texts[0] else texts[0]


def write_idioms():
    conversations = list(chat_idioms.CONVERSATIONS.values())
    cases = [[source, [rendered(source, messages) for messages in conversations]] for source in chat_idioms.templates()]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    head = json.dumps(conversations, ensure_ascii=False)
    text = f'{{"conversations": {head},\n"cases": [\n{lines}\n]}}\n'
    (OUT / "idioms.json").write_text(text, encoding="utf-8")


def main():
    chat_template_utils.datetime = Day
    names = sorted(path.stem for path in TEMPLATES.glob("*.jinja"))
    conversations = [(name, CONVERSATIONS + [IN_PARTS] * (name in KNOW_PARTS)) for name in names]
    asked = [(name, messages) for name, some in conversations for messages in some]
    cases = [case(name, messages, prompt) for name, messages in asked for prompt in (False, True)]
    with_tools = [CONVERSATIONS[0], CONVERSATIONS[2], CONVERSATIONS[6]]
    cases += [case(name, messages, True, beside) for name in names for messages in with_tools for beside in BESIDE]
    OUT.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (OUT / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    write_idioms()


if __name__ == "__main__":
    main()
