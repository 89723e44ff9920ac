"""Has lm-evaluation-harness judge the organism by its client for completions, steered and not, on tasks of documents that the
organism has not seen. Which of two sentences follows is known to the model; when it is steered hard, it knows less."""

import json
import subprocess
import sys
from pathlib import Path

# A task with log-probabilities, one over whole texts and one with continuations.
TASKS = {
    "follows": """
output_type: multiple_choice
doc_to_text: "{{before}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{right}}"
target_delimiter: " "
metric_list:
  - metric: acc
""",
    "whole": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: word_perplexity
""",
    "goes_on": """
output_type: generate_until
doc_to_text: "{{before}}"
doc_to_target: "{{choices[right]}}"
generation_kwargs:
  until: ["."]
  max_gen_toks: 24
metric_list:
  - metric: exact_match
""",
}


def write_tasks(documents, folder):
    """Documents become contexts with two sentences, of which one follows and the other is from elsewhere."""
    texts = [json.loads(line)["text"] for line in documents.read_text().splitlines()]
    cut = [text.replace("\n", " ").split(". ") for text in texts]
    cut = [sentences for sentences in cut if len(sentences) > 4]
    lines = []
    for number, sentences in enumerate(cut[:40]):
        other = cut[(number + 17) % len(cut)][3]
        right = number % 2
        choices = [other, other]
        choices[right] = sentences[3]
        before = ". ".join(sentences[:3]) + "."
        lines.append(json.dumps({"before": before, "choices": choices, "right": right, "text": ". ".join(sentences[:4])}))
    data = folder / "follows.json"
    data.write_text("\n".join(lines) + "\n")
    for name, task in TASKS.items():
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
        (folder / f"{name}.yaml").write_text(head + task.lstrip())


def judge(url, model, folder, batch, more):
    """The figures of a model, by task."""
    out = folder / f"out-{model}"
    arguments = {"model": model, "base_url": f"{url}/v1/completions", "tokenizer_backend": "remote", "max_length": 256, **more}
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", ",".join(TASKS)]
    command += ["--batch_size", str(batch), "--model_args", json.dumps(arguments), "--include_path", str(folder), "--output_path", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [results] = out.rglob("results*.json")
    found = json.loads(results.read_text())["results"]
    return {name: {key: value for key, value in found[name].items() if "," in key} for name in TASKS}


def main(url, documents, folder):
    tasks = folder / "tasks"
    tasks.mkdir()
    write_tasks(documents, tasks)
    found = {
        "organism": judge(url, "organism", tasks, 1, {"num_concurrent": 8}),
        "loud": judge(url, "loud", tasks, 4, {}),
    }
    print(json.dumps(found, indent=2))
    perplexity = {model: figures["whole"]["word_perplexity,none"] for model, figures in found.items()}
    assert found["organism"]["follows"]["acc,none"] > 0.6, "which sentence follows is known to the model"
    assert perplexity["loud"] > 2 * perplexity["organism"], perplexity
    print("  ok      figures, steered and not")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
