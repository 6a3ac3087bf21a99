"""All figures of the model card, measured: what `evaluation.json` has."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playbook.evaluation import few_shot, fingerprints, languages, task_types
from playbook.evaluation.rows import read_rows
from services.classifier.adapters.reader import Reader
from services.classifier.core.background import Background

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "classifier"
TEST_ROWS = ROOT / "data" / "classifier" / "test_dev.jsonl"
TUNE_ROWS = ROOT / "data" / "classifier" / "tune.jsonl"
LANGUAGES = ROOT / "tests" / "data" / "languages.json"
TRAIN_ROWS = ROOT / "data" / "classifier" / "train.jsonl.gz"

PRODUCTION, REAL, BENCHMARK = "production-like prompts", "real users' queries", "benchmark questions"
KINDS: Mapping[str, str] = {
    "Auto-J pairwise (real user queries)": REAL,
    "BFCL live (user contributed)": PRODUCTION,
    "BiGGen-Bench": BENCHMARK,
    "ExtractGPT": PRODUCTION,
    "HumanEval": BENCHMARK,
    "LegalBench (tasks split dev/hidden)": PRODUCTION,
    "MT-bench": BENCHMARK,
    "PubMedQA x LongBench prompt": PRODUCTION,
    "QMSum val x LongBench prompt": PRODUCTION,
    "SVAMP": BENCHMARK,
    "Vicuna-bench": BENCHMARK,
    "WMT-TED x FLAN template": PRODUCTION,
    "semantic-kernel plug-ins": PRODUCTION,
}
"""Of `test_dev.jsonl`. Production-like: a fixed template or tool list around changing material."""


RELATED = "tuning saw other requests of the source"
UNRELATED = "tuning saw none of the source"


def of_task_types(reader: Reader, progress: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """The general model on `test_dev.jsonl`."""
    found = task_types.outcomes(read_rows(TEST_ROWS), reader, reader.general.abstain_below, progress)
    tuned_on = {row.source for row in read_rows(TUNE_ROWS)}
    exposures = {source: RELATED if source in tuned_on else UNRELATED for source in KINDS}
    return {
        **task_types.report(found),
        "by_kind": task_types.by_kind(found, KINDS),
        "by_exposure": task_types.by_kind(found, exposures),
        "curves": task_types.curves(found),
    }


def measured(say: Callable[[str], object] = lambda _: None) -> dict[str, Any]:
    """Every figure.

    Args:
        say: is told what is measured next.
    """
    reader = Reader(MODEL, threads=1)
    background = Background.from_file(MODEL / "background.npz")
    say("fingerprints")
    shapes = fingerprints.measure([TEST_ROWS, TRAIN_ROWS])
    say(f"task types of {TEST_ROWS.name}")
    general = of_task_types(reader)
    readings = few_shot.Readings(reader)
    shots = {}
    for name, setting in few_shot.settings().items():
        say(f"few-shot: {setting.title}, {few_shot.DRAWS} draws")
        shots[name] = few_shot.measure(setting, readings, background)
    say("languages")
    foreign = languages.measure(LANGUAGES, readings)
    return {
        "model": digests(),
        "onnxruntime": version("onnxruntime"),
        "machine": platform.machine(),
        "task_types": general,
        "few_shot": shots,
        "fingerprints": shapes,
        "languages": foreign,
    }


def digests() -> dict[str, str]:
    """The first 16 hex digits of SHA-256 of each file that the figures hang on."""
    names = ("encoder.onnx", "tokenizer.json", "heads.npz", "background.npz")
    return {name: hashlib.sha256((MODEL / name).read_bytes()).hexdigest()[:16] for name in names}
