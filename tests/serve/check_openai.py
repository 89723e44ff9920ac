"""Speaks to two servers, of the organism with a dictionary and of its tuned stage, by OpenAI's own client."""

import sys

import openai

PROMPT = "One day, Anna met her friend Ben. They"
QUESTION = [{"role": "user", "content": "Anna is in the kitchen. Where is Anna?"}]


def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def completions(base):
    ask = lambda **more: base.completions.create(
        **{"model": "organism", "prompt": PROMPT, "max_tokens": 12, "temperature": 0, **more}
    )
    plain = ask()
    text = plain.choices[0].text
    assert text and plain.choices[0].finish_reason == "length" and plain.usage.completion_tokens == 12, plain
    assert ask().choices[0].text == text

    pieces = list(ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == text
    assert pieces[-1].usage == plain.usage and len(pieces) > 3, pieces

    steered = ask(extra_body={"steering": [{"feature": 12, "add": "4x"}]})
    assert steered.choices[0].text != text, "a feature that is turned up four times changes the text"
    assert steered.steering == ["12:add=4x"], steered
    assert ask(extra_body={"steering": [{"feature": 12, "add": 0}]}).choices[0].text == text
    streamed = ask(stream=True, extra_body={"steering": ["12:add=4x"]})
    assert "".join(piece.choices[0].text for piece in streamed) == steered.choices[0].text
    assert ask(model="loud").choices[0].text != text

    several = ask(prompt=[PROMPT, "Once upon a time"], n=2, temperature=1, seed=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[1].text == ask(temperature=1, seed=4).choices[0].text

    scored = ask(logprobs=3, echo=True).choices[0]
    logprobs = scored.logprobs
    assert scored.text == PROMPT + text and logprobs.token_logprobs[0] is None
    assert all(len(top) in (3, 4) for top in logprobs.top_logprobs[1:])
    assert logprobs.token_logprobs[-1] == max(logprobs.top_logprobs[-1].values())
    assert ask(stop=[text.split()[3]]).choices[0].finish_reason == "stop"
    print("  ok      completions")


def replies(tuned):
    ask = lambda **more: tuned.chat.completions.create(
        **{"model": "organism:sft", "messages": QUESTION, "max_tokens": 16, "temperature": 0, **more}
    )
    plain = ask()
    said = plain.choices[0].message
    assert said.role == "assistant" and said.content.strip(), plain
    pieces = list(ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == said.content
    assert pieces[-1].usage == plain.usage
    point = "blocks.2.hook_resid_post"
    steering = [{"token": " cat", "in": point, "add-direction": "2n"}]
    assert ask(extra_body={"steering": steering}).choices[0].message.content != said.content
    scored = ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert all(len(one.top_logprobs) == 2 and bytes(one.bytes).decode() == one.token for one in scored), scored
    with tuned.chat.completions.stream(model="organism:sft", messages=QUESTION, max_tokens=16, temperature=0) as stream:
        assert "".join(event.delta for event in stream if event.type == "content.delta") == said.content
    print("  ok      replies")


def faults(base):
    def refused(kind, param, **more):
        try:
            base.completions.create(**{"model": "organism", "prompt": PROMPT, **more})
        except kind as error:
            assert error.param == param and error.message, error
        else:
            raise AssertionError(f"taken: {more}")

    refused(openai.NotFoundError, "model", model="gpt-4")
    refused(openai.BadRequestError, "steering[0]", extra_body={"steering": [{"feature": 999999}]})
    refused(openai.BadRequestError, "steering[0].add", extra_body={"steering": [{"feature": 1, "add": "nan"}]})
    refused(openai.BadRequestError, "steering[0].ad", extra_body={"steering": [{"feature": 1, "ad": 2}]})
    refused(openai.BadRequestError, "prompt", prompt="very " * 3000)
    refused(openai.BadRequestError, "temperature", temperature=-1)
    refused(openai.BadRequestError, "best_of", best_of=3)
    assert {model.id for model in base.models.list()} == {"organism", "loud"}
    assert base.models.retrieve("organism").owned_by == "untangle"
    print("  ok      faults and models")


if __name__ == "__main__":
    base, tuned = (client(url) for url in sys.argv[1:])
    completions(base)
    replies(tuned)
    faults(base)
