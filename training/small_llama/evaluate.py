"""Measures the shipped versions on the whole public test splits, through onnxruntime-genai.

`python -m training.small_llama.evaluate` writes `models/small-llama/evaluation.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime_genai
from tokenizers import Tokenizer

from training.small_llama.dialogue import Form, answer, closing, render, request
from training.small_llama.engine import Engine
from training.small_llama.scoring import Judge, wilson
from training.small_llama.vocabulary import CONTEXT_TOKENS
from training.small_llama.workloads import Row, Split, Workload, workloads

MODEL = Path(__file__).parents[2] / "models" / "small-llama"
MOST_TOKENS = 48
FORMS: tuple[Form, ...] = ("json", "tool")


class Reader:
    """A version with its tokenizer."""

    def __init__(self, model: Path, version: str) -> None:
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        generation = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))
        self.engine = Engine(model / version, frozenset(generation["eos_token_id"]), CONTEXT_TOKENS)

    def encode(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
        """The prompt of a request."""
        return self._tokenizer.encode(render(messages, tools), add_special_tokens=False).ids

    def ask(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        """The greedy answer to a request."""
        return self._tokenizer.decode(self.engine.answer(self.encode(messages, tools), MOST_TOKENS))


def measure(reader: Reader, workload: Workload, form: Form, rows: list[Row]) -> dict[str, Any]:
    """Accuracy and validity of one workload in one form."""
    judge = Judge(workload, form)
    right = valid = 0
    began, before = time.monotonic(), reader.engine.decoded
    for row in rows:
        label = judge.label(reader.ask(*request(workload, form, [{"role": "user", "content": row.text}])))
        valid += label is not None
        right += label == row.label
    low, high = wilson(right, len(rows))
    seconds = time.monotonic() - began
    return {
        "rows": len(rows),
        "right": right,
        "accuracy": round(right / len(rows), 4),
        "accuracy_wilson_95": [round(low, 4), round(high, 4)],
        "valid": valid,
        "validity": round(valid / len(rows), 5),
        "seconds": round(seconds, 1),
        "tokens_per_s_with_prompts": round((reader.engine.decoded - before) / seconds),
    }


def measure_closing(reader: Reader, workload: Workload, rows: list[Row]) -> dict[str, Any]:
    """How often the sentence after the tool's result names the team that was called, to the letter."""
    right = 0
    for row in rows:
        name = workload.prompts["tool"]["tools"][0]["function"]["name"]
        arguments = json.loads(answer(workload, "json", row.label))
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": row.text},
            {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]},
            {"role": "tool", "content": workload.prompts["after_tool"]["result"]},
        ]
        right += reader.ask(*request(workload, "tool", turns)) == closing(workload, row.label)
    return {"rows": len(rows), "exact": right, "share": round(right / len(rows), 4)}


def pace(reader: Reader, workload: Workload) -> int:
    """Tokens a second of decoding behind the workload's JSON prompt: the median of five runs."""
    prompt = reader.encode(*request(workload, "json", [{"role": "user", "content": "hello"}]))
    return round(statistics.median(reader.engine.pace(prompt, 200) for _ in range(5)))


def evaluate(model: Path, version: str, split: Split, most_rows: int | None = None) -> dict[str, Any]:
    """Everything about one version.

    Args:
        model: the model's folder.
        version: `1` or `2`.
        split: whose rows.
        most_rows: the first so many only; None for all.
    """
    reader = Reader(model, version)
    found: dict[str, Any] = {}
    for name, workload in workloads().items():
        rows = workload.rows(split)[:most_rows]
        found[name] = {form: measure(reader, workload, form, rows) for form in FORMS}
        found[name]["decode_tokens_per_s"] = pace(reader, workload)
        found[name]["after_tool"] = measure_closing(reader, workload, rows[:500])
        for form in FORMS:
            shown = found[name][form]
            print(
                f"version {version}  {name:13} {form:5} accuracy {shown['accuracy']:.4f} "
                f"validity {shown['validity']:.4f}",
                flush=True,
            )
    return found


def main(arguments: list[str] | None = None) -> Mapping[str, Any]:
    """The command.

    Args:
        arguments: of the command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--rows", type=int, help="only the first so many rows; nothing is written then")
    chosen = parser.parse_args(arguments)
    versions = sorted(path.name for path in chosen.model.iterdir() if (path / "genai_config.json").exists())
    report = {
        "split": chosen.split,
        "decoding": "greedy",
        "onnxruntime_genai": onnxruntime_genai.__version__,
        "machine": platform.machine(),
        "versions": {
            version: evaluate(chosen.model, version, chosen.split, chosen.rows) for version in versions
        },
    }
    if chosen.split == "test" and chosen.rows is None:
        text = json.dumps(report, indent=2) + "\n"
        (chosen.model / "evaluation.json").write_text(text, encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
