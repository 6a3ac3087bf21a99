"""The fingerprint benchmark: registered system prompts with other versions, dates, names and white space.

The prompts are those of `data/classifier`. Every second one is registered, each as a workload, with a line
that a release or a tenant changes; requests come with another value in that line. The other half is not
registered, and nobody's: a name for one of them is wrong, in whatever it resembles the registered.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from playbook.evaluation.task_types import DIGITS
from services.common.fingerprint import ShapeTable, shape_of_system_prompt
from services.common.seen import Seen

SEED = 0
REPEATS = 5
"""Requests of each prompt and kind of change."""
SHORTEST_WORDS = 8
"""Of a prompt: less says nothing of a workload."""

Change = Callable[[str, random.Random], str]
"""Puts values of a source into a prompt."""

_VERSIONS = ("v{0}.{1}.{2}", "Prompt version: {0}.{1}", "[release 20{1:02}.{2}]", "rev. {0}{1}")
_DATES = (
    "Today is {2:02} March 20{1:02}.",
    "Current date: 20{1:02}-0{0}-{2:02}",
    "Last updated 0{0}/{2:02}/20{1:02}",
)
_NAMES = ("You work for {}.", "The user's name is {}.", "Customer: {}")
_PEOPLE = (
    "Contoso Ltd",
    "Maria Silva",
    "Northwind Traders",
    "Dr. Okafor",
    "Jean-Luc Moreau",
    "Acme Corporation",
    "Li Wei",
    "Fabrikam GmbH",
)


def measure(files: Sequence[Path]) -> dict[str, Any]:
    """The shares of requests that are named rightly, by what was changed, and of strangers that are named.

    Args:
        files: whose rows' system prompts are taken.
    """
    prompts = _prompts(files)
    registered, strangers = prompts[::2], prompts[1::2]
    kinds: Mapping[str, Change] = {
        "white space": _blanks,
        "version": _version,
        "date": _date,
        "name": _name,
        "all of these": lambda text, source: _blanks(
            _name(_date(_version(text, source), source), source), source
        ),
    }
    return {
        "registered": len(registered),
        "strangers": len(strangers),
        "changed": {kind: _of_registered(registered, change) for kind, change in kinds.items()},
        "strangers_named": _of_strangers(registered, strangers, kinds["all of these"]),
    }


def _of_registered(prompts: Sequence[str], change: Change) -> dict[str, Any]:
    table, names = _table(prompts, change)
    hits = [
        (table.find(_request(change(prompt, _source(prompt, repeat)))), name)
        for prompt, name in zip(prompts, names, strict=True)
        for repeat in range(1, REPEATS + 1)
    ]
    right = sum(hit is not None and hit.workload == name for hit, name in hits)
    return {"requests": len(hits), "right": right, "share": round(right / len(hits), DIGITS)}


def _of_strangers(registered: Sequence[str], strangers: Sequence[str], change: Change) -> dict[str, Any]:
    table, _ = _table(registered, change)
    named = sum(table.find(_request(change(prompt, _source(prompt, 1)))) is not None for prompt in strangers)
    return {"requests": len(strangers), "named": named, "share": round(named / len(strangers), DIGITS)}


def _table(prompts: Sequence[str], change: Change) -> tuple[ShapeTable, Sequence[str]]:
    """The table of the prompts as they were registered, and the workload of each.

    Two prompts that differ in nothing but what changes are one workload: no table could hold both.
    """
    shapes = [shape_of_system_prompt(change(prompt, _source(prompt, 0))) for prompt in prompts]
    first: dict[bytes, str] = {}
    names = [first.setdefault(shape.masked_digest, f"workload-{index}") for index, shape in enumerate(shapes)]
    return ShapeTable([(name, shape) for name, shape in zip(names, shapes, strict=True)]), names


def _prompts(files: Sequence[Path]) -> list[str]:
    """The system prompts of the files' rows, each once, in a mixed order that stays."""
    found = {
        " ".join(message["content"].split())
        for file in files
        for line in _text(file).splitlines()
        for message in json.loads(line)["messages"]
        if message["role"] == "system"
    }
    kept = sorted(text for text in found if len(text.split()) >= SHORTEST_WORDS)
    random.Random(SEED).shuffle(kept)
    return kept


def _text(file: Path) -> str:
    return (gzip.open if file.suffix == ".gz" else open)(file, "rb").read().decode()


def _request(system_prompt: str) -> Seen:
    """As the router has it, uncut."""
    return Seen(system_prompt=system_prompt, turns=("hello",))


def _source(prompt: str, repeat: int) -> random.Random:
    """Of the values of a request: number 0 is what was registered."""
    return random.Random(f"{repeat} {prompt}")


def _blanks(text: str, source: random.Random) -> str:
    return "".join(source.choice((" ", "  ", "\n", "\n\n", "\t")) if sign == " " else sign for sign in text)


def _version(text: str, source: random.Random) -> str:
    return f"{_form(_VERSIONS, text).format(*_numbers(source))}\n{text}"


def _date(text: str, source: random.Random) -> str:
    return f"{text}\n{_form(_DATES, text).format(*_numbers(source))}"


def _name(text: str, source: random.Random) -> str:
    return f"{_form(_NAMES, text).format(source.choice(_PEOPLE))} {text}"


def _form(forms: Sequence[str], text: str) -> str:
    """How a prompt writes it; that stays when the value changes."""
    return forms[len(text) % len(forms)]


def _numbers(source: random.Random) -> tuple[int, int, int]:
    return source.randint(1, 9), source.randint(10, 29), source.randint(1, 28)
