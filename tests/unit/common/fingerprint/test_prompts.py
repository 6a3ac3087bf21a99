"""How often real system prompts are named rightly when they change, and how often others are taken for them.

The prompts are all those of the repository's data: instructions of many public data sets, many of them
variants of one another, which is harder than the prompts of one organisation's applications.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, TextIO

import pytest

from services.common.fingerprint import Shape, ShapeTable, shape_of_system_prompt
from services.common.seen import Seen, cut

DATA = Path("data")
MIN_PROMPTS = 40

VERSIONS = ("v2.3.1", "2.0", "v10", "3.1.4-rc2", "2024.11.3", "build 8841", "release 7", "rev. 12", "a94f2c1")
DATES = (
    *("2026-11-25", "25 November 2026", "November 25, 2026", "25/11/2026", "11-25-26", "Wed, 25 Nov 2026"),
    *("3rd of March 2027", "Monday, 4 May 2026", "2026-11-25T06:52:00Z", "2026-05-03 14:05 UTC"),
    *("5 May 2026, 3:05 pm", "20261125", "Q4 2026", "5 mai 2026"),
)
NAMES = (
    *(
        "Ada",
        "Alice Müller",
        "Dr. Okafor",
        "Northwind",
        "Contoso Ltd",
        "Globex Corporation",
        "ACME",
        "O'Brien",
    ),
    *("Jean-Luc Picard", "Bank of Utrecht", "McDonald", "TechCorp-AI", "Zoë"),
)
FORMS = (
    "{prompt} (version {version})",
    "Version: {version}\n{prompt}",
    "{prompt}\n\n[prompt {version}]",
    "{version}\n{prompt}",
    "{prompt} {version}",
    "{prompt} Today is {date}.",
    "Current date: {date}\n\n{prompt}",
    "{prompt}\nLast updated: {date}",
    "{prompt} The current date is {date}.",
    "{prompt}\n{date}",
    "You are {name}, the assistant of {other}. {prompt}",
    "{prompt}\nThe user's name is {name}.",
    "{prompt} You work for {name}.",
    "{prompt}\nCustomer: {name}",
    "# {name} {version}\n{prompt}",
    "{prompt}\nUser: {name}\nDate: {date}",
)
BLANKS = (" ", "\n", "  ", "\t", "\r\n", " \n\n")


def rows() -> Iterator[dict[str, Any]]:
    for file in sorted(DATA.glob("**/*.jsonl*")):
        opened: Callable[..., TextIO] = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    """The system prompts, of those that differ in blanks, punctuation or names only one."""
    texts = {
        message["content"]
        for row in rows()
        for message in row.get("messages", ())
        if message["role"] in ("system", "developer")
    }
    kinds = json.loads((DATA / "workloads/prompts.json").read_text(encoding="utf-8"))
    texts |= {form["system"] for kind in kinds.values() for form in kind.values() if "system" in form}
    different: dict[bytes, str] = {}
    for text in sorted(texts):
        shape = shape_of_system_prompt(text)
        if shape.masked_digest:
            different.setdefault(shape.masked_digest, text)
    assert len(different) >= MIN_PROMPTS
    return list(different.values())


def filled(form: str, prompt: str, rng: random.Random) -> str:
    return form.format(
        prompt=prompt,
        version=rng.choice(VERSIONS),
        date=rng.choice(DATES),
        name=rng.choice(NAMES),
        other=rng.choice(NAMES),
    )


def respaced(text: str, rng: random.Random) -> str:
    return "".join(rng.choice(BLANKS) if char.isspace() else char for char in text)


def names(prompts: list[str], shape: Callable[[str], Shape]) -> ShapeTable:
    """A table with a workload for each prompt, named by it."""
    return ShapeTable((prompt, shape(prompt)) for prompt in prompts)


def found(table: ShapeTable, seen: Seen) -> str:
    hit = table.find(seen)
    return hit.workload if hit else ""


@pytest.mark.parametrize("registered_with", ["a version, date or name", "none"])
def test_of_changed_prompts_999_in_1000_are_named_rightly_and_none_wrongly(
    prompts: list[str], registered_with: str
) -> None:
    rng = random.Random(4)
    asked = right = 0
    for form in FORMS:
        # With a value at registration, another value now; or with none, and one now.
        base = form if registered_with != "none" else "{prompt}"
        some = rng.sample(prompts, min(150, len(prompts)))
        table = ShapeTable((prompt, shape_of_system_prompt(filled(base, prompt, rng))) for prompt in some)
        for prompt in some:
            name = found(table, Seen(system_prompt=respaced(filled(form, prompt, rng), rng)))
            assert name in ("", prompt)
            asked += 1
            right += name == prompt
    assert asked > 600
    assert right / asked >= 0.999


def test_other_prompts_are_taken_for_a_registered_one_less_than_once_in_1000(prompts: list[str]) -> None:
    shapes = {prompt: shape_of_system_prompt(prompt) for prompt in prompts}
    asked = wrong = 0
    for registered in prompts:
        table = ShapeTable([(registered, shapes[registered])])
        for prompt in prompts:
            if prompt != registered:
                asked += 1
                wrong += table.similar(shapes[prompt], Seen()) is not None
    assert wrong / asked <= 0.001


def test_a_long_prompt_that_was_registered_cut_is_found_whole(prompts: list[str]) -> None:
    rng = random.Random(4)
    long = ["\n".join(rng.sample(prompts, 12)) for _ in range(40)]
    table = names(long, lambda prompt: shape_of_system_prompt(cut(prompt, ()).system_prompt))
    right = 0
    for prompt, form in product(long, FORMS):
        name = found(table, Seen(system_prompt=filled(form, prompt, rng)))
        assert name in ("", prompt)
        right += name == prompt
    # The cut falls elsewhere when something was put in front.
    assert right / (len(long) * len(FORMS)) >= 0.98
    assert all(found(table, Seen(system_prompt=prompt)) == prompt for prompt in long)


def test_a_long_prompt_that_was_edited_a_little_is_found(prompts: list[str]) -> None:
    rng = random.Random(4)
    long = ["\n".join(rng.sample(prompts, 3)) for _ in range(40)]
    table = names(long, shape_of_system_prompt)
    for prompt in long:
        words = prompt.split()
        words[rng.randrange(len(words))] = "carefully"
        words.insert(rng.randrange(len(words)), "always")
        hit = table.find(Seen(system_prompt=" ".join(words)))
        assert hit is not None
        assert hit.workload == prompt
        assert not hit.exact
        assert hit.confidence < 1


def test_a_prompt_in_what_the_user_wrote_names_nothing(prompts: list[str]) -> None:
    table = names(prompts, shape_of_system_prompt)
    for prompt in prompts:
        assert found(table, Seen(turns=(prompt,))) == ""
        assert found(table, Seen(system_prompt="Be brief, be kind.", turns=(prompt,))) == ""
