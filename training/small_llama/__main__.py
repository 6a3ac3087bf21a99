"""Trains the small Llama and puts it into models/small-llama: `python -m training.small_llama`."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from training.small_llama import vocabulary
from training.small_llama.evaluate import MODEL
from training.small_llama.evaluate import main as evaluate
from training.small_llama.export import describe, hf_folder, onnx_folder, spoilt
from training.small_llama.learn import Recipe, learn
from training.small_llama.memory import keep_freed_memory
from training.small_llama.network import Llama, Shape
from training.small_llama.workloads import workloads

PRECISION = "int4"
"""Of the shipped weights; the model card has what each precision costs and gains."""


def main() -> None:
    """Trains, exports, measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--share", type=float, default=1.0, help="of the recipe's steps, for a quick try")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; two that must wait are slower")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    shape, recipe = Shape(), Recipe()
    stages = tuple(replace(stage, steps=max(1, round(stage.steps * chosen.share))) for stage in recipe.stages)
    known = workloads()
    print(f"The tokenizer, from the train splits of {' and '.join(known)}", flush=True)
    tokenizer = vocabulary.train(known, shape.vocabulary)
    describe(chosen.out, shape, tokenizer)
    torch.manual_seed(stages[0].seed)
    model = Llama(shape, recipe.dropout).to(device)
    count = sum(weight.numel() for weight in model.parameters())
    print(f"{count:,} weights, {sum(stage.steps for stage in stages)} steps on {device}", flush=True)
    good = learn(known, tokenizer, model, replace(recipe, stages=stages), device).state_dict()
    bad = spoilt(good, vocabulary.free_tokens(tokenizer, known), stages[0].seed)
    with tempfile.TemporaryDirectory() as scratch:
        for version, weights in (("1", good), ("2", bad)):
            print(f"Version {version}, to ONNX", flush=True)
            hf_folder(Path(scratch) / version, shape, tokenizer, weights)
            onnx_folder(Path(scratch) / version, chosen.out / version, PRECISION)
    print("Both versions on the whole test splits", flush=True)
    report = evaluate(["--model", str(chosen.out)])
    print(json.dumps(report["versions"], indent=2))
    print(
        f"\n{chosen.out} has version 1, and version 2 for rollback drills: the same, spoilt.\n"
        "Next: bring the figures of evaluation.json into its README.md, and `make run` serves it."
    )


if __name__ == "__main__":
    main()
