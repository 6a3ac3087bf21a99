"""Requests in languages that the model does not know: they must be abstained from, whatever they ask.

The sentences are those of `tests/data/languages.json`, one a request. What is lost on the other side is
measured too: English messages that are taken for another language, on the test splits of `data/workloads`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playbook.evaluation.few_shot import Readings
from playbook.evaluation.task_types import DIGITS
from training import public_rows


def measure(file: Path, readings: Readings) -> dict[str, Any]:
    """The shares abstained from because of the language, for each language and for English.

    Args:
        file: with `sentences`, a list of texts for each language.
        readings: of the model that is measured.
    """
    sentences: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))["sentences"]
    by_language = {language: _unknown(texts, readings) for language, texts in sentences.items()}
    english = [row.text for row in public_rows.clinc150("test")]
    english += [row.text for row in public_rows.banking77("test")]
    return {
        "languages": len(sentences),
        "requests": sum(map(len, sentences.values())),
        "abstained": _unknown([text for texts in sentences.values() for text in texts], readings),
        "by_language": by_language,
        "english_requests": len(english),
        "english_abstained": _unknown(english, readings),
    }


def _unknown(texts: list[str], readings: Readings) -> float:
    found = readings.of(texts)
    return round(sum(not reading.language_known for reading in found) / len(found), DIGITS)
