"""Trains the heads of the stand-in cloud and writes them with their card.

    uv run --no-sync --with-requirements training/stand_in/requirements.txt python -m training.stand_in

It takes five minutes on one core, most of it for the 36,000 vectors. There is no randomness but the seed's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Before numpy is there: on texts this short OpenBLAS's threads wait for each other more than they work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from sklearn.linear_model import LogisticRegression

from deploy.local.cloud import encoder, heads
from deploy.local.cloud.choose import HEAD_SCALE
from deploy.local.cloud.encoder import Array
from training.stand_in.card import Result, page
from training.stand_in.tasks import Rows, Task, read

SEED = 20_260_101
STRENGTHS = (3.0, 10.0, 30.0, 100.0)
"""Of the regularisation, as scikit-learn's C."""
MAX_STEPS = 1000


def main(target: Path = heads.FILE) -> None:
    """Trains, measures and writes."""
    arrays: dict[str, Any] = {}
    results = []
    for task in read():
        model, result = train(task)
        arrays[f"{task.name}.labels"] = np.array(model.classes_, dtype=str)
        arrays[f"{task.name}.weights"] = np.asarray(model.coef_, dtype=np.float32)
        arrays[f"{task.name}.bias"] = np.asarray(model.intercept_, dtype=np.float32)
        arrays[f"{task.name}.prompt"] = encoder.embed(task.prompt)
        results.append(result)
        print(f"{task.name}: {result.right} of {len(task.test)} right, C {result.strength:g}", flush=True)
    target.parent.mkdir(exist_ok=True)
    np.savez_compressed(target, **arrays)
    target.with_name("README.md").write_text(page(results, SEED))


def train(task: Task) -> tuple[LogisticRegression, Result]:
    """The head of a task, and its figures on the test split."""
    rows, held_out = _vectors(task.train), _vectors(task.held_out)
    labels, held_labels = _labels(task.train), _labels(task.held_out)
    strength = max(STRENGTHS, key=lambda c: _fit(c, rows, labels).score(held_out, held_labels))
    if task.joins_held_out:
        rows, labels = np.concatenate([rows, held_out]), np.concatenate([labels, held_labels])
    model = _fit(strength, rows, labels)
    return model, _measured(task, model, strength)


def _fit(strength: float, rows: Array, labels: Any) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=MAX_STEPS, random_state=SEED).fit(rows, labels)


def _measured(task: Task, model: LogisticRegression, strength: float) -> Result:
    scores = model.decision_function(_vectors(task.test))
    truth = np.searchsorted(model.classes_, _labels(task.test))
    raised = np.exp((scores - scores.max(1, keepdims=True)) / HEAD_SCALE)
    chances = raised / raised.sum(1, keepdims=True)
    return Result(
        task=task,
        strength=strength,
        right=int((scores.argmax(1) == truth).sum()),
        sampled=float(chances[np.arange(len(truth)), truth].mean()),
        differ=float(1 - (chances * chances).sum(1).mean()),
    )


def _vectors(rows: Rows) -> Array:
    return np.stack([encoder.load().embed(text) for text, _ in rows])


def _labels(rows: Rows) -> Any:
    return np.array([label for _, label in rows])


if __name__ == "__main__":
    main()
