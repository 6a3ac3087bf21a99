"""Compares the facts that a document carries with those that the book gives now. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbook.report.facts import KINDS, Fact, Kind, written

RELATIVE = 1e-9
"""By which two floats may differ: sums come in another order."""


@dataclass(frozen=True, slots=True)
class Change:
    """A fact that is not as the document says."""

    key: str
    said: str
    """As the document has it."""
    now: str
    """As the book has it; empty if it has no such fact."""
    why: str

    def __str__(self) -> str:
        return f"{self.key}: the document says {self.said}, {self.why}"


def changes(
    carried: Mapping[str, Any], shown: Sequence[tuple[str, str]], now: Sequence[Fact], *, whole: bool
) -> list[Change]:
    """What is not as the document says.

    Args:
        carried: what the document carries.
        shown: key and text of each fact as an HTML file shows it.
        now: the facts of the same request, made anew.
        whole: whether the document should have all of them: one of another version has others.
    """
    known = {fact.key: fact for fact in now}
    found: list[Change] = []
    texts: dict[str, str] = {}
    for item in carried["facts"]:
        key, value, said = item["key"], item["value"], item["text"]
        texts[key] = said
        try:
            follows = written(value, item["unit"]) == said
        except (ValueError, TypeError, ArithmeticError):
            follows = False
        if not follows:
            found.append(Change(key, said, "", "which is not its own value: the file was edited"))
            continue
        fact = known.get(key)
        if fact is None:
            found.append(Change(key, said, "", "and the book has no such fact any more"))
        elif fact.unit != item["unit"] or not same(value, fact.value):
            exact = "" if fact.text != said else f" (exactly {fact.value} instead of {value})"
            found.append(Change(key, said, fact.text, f"now it is {fact.text}{exact}"))
    for key, text in dict.fromkeys(shown):
        if key not in texts:
            found.append(Change(key, text, "", "which it does not carry: the file was edited"))
        elif " ".join(text.split()) != " ".join(_clean(texts[key]).split()):
            found.append(Change(key, text, texts[key], f"but carries {texts[key]}: the file was edited"))
    if whole:
        found += [
            Change(fact.key, "nothing", fact.text, f"the book says {fact.text}: it was left out")
            for fact in now
            if fact.key not in texts
        ]
    return found


def hidden(shown: Sequence[tuple[str, str]], should: Sequence[tuple[str, str]]) -> list[Change]:
    """Facts that a page no longer shows as facts: whoever takes the mark off a number may change the number.

    Args:
        shown: key and text of each fact as the page shows it.
        should: as one that is made anew does.
    """
    missing = Counter(key for key, _ in should) - Counter(key for key, _ in shown)
    texts = dict(should)
    return [
        Change(
            key,
            texts[key],
            texts[key],
            f"but {count} time{'s' * (count > 1)} fewer than it should: the file was edited",
        )
        for key, count in sorted(missing.items())
    ]


def beside(carried: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """What is not as the document says though all facts are: its words, and what references say beside their
    query. The document must be of the same version."""
    ours, theirs = ({item["number"]: item for item in found["references"]} for found in (now, carried))
    found = []
    for number in dict.fromkeys([*theirs, *ours]):
        said, told = (_beside_query(items.get(number)) for items in (theirs, ours))
        if said != told:
            parts = ", ".join(key for key in {**said, **told} if said.get(key) != told.get(key))
            found.append(
                Change(f"reference/{number}", _plain(said), _plain(told), f"now it has another {parts}")
            )
    before, after = carried.get("words", {}), now["words"]
    found += [
        Change(
            f"words/{name}",
            _plain(before.get(name)),
            _plain(after.get(name)),
            "the hash of this section's words, which is another now: a text that is no fact has changed",
        )
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
        # Of what is told already.
        and not (found and name.startswith("references-"))
    ]
    return found


def rewritten() -> Change:
    """That a file is not what the same installation makes of the same facts and words."""
    return Change(
        "file",
        "the same",
        "",
        "but the file is not what this installation writes of it: it was changed after it was written",
    )


def _beside_query(item: Mapping[str, Any] | None) -> dict[str, Any]:
    """A reference without the text of its query, which is told by its name."""
    found = dict(json.loads(json.dumps(item or {}, default=str)))
    if found.get("kind") == KINDS[Kind.QUERY]:
        del found["detail"]
    return found


def _plain(found: Any) -> str:
    return found if isinstance(found, str) else json.dumps(found or "nothing", ensure_ascii=False)


def queries_changed(carried: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of queries whose text in the document is not Homeward's: what it says may mean something else."""

    def queries(found: Mapping[str, Any]) -> dict[str, str]:
        return {
            item["name"]: item["detail"]
            for item in found.get("references", ())
            if item["kind"] == KINDS[Kind.QUERY]
        }

    ours = queries(now)
    return sorted(
        name for name, text in queries(carried).items() if name in ours and text.strip() != ours[name].strip()
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same; an unknown one is only like another."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12)
    return bool(one == other)


def _clean(text: str) -> str:
    return "".join(sign if sign.isprintable() or sign in "\n\t\u00a0" else "\ufffd" for sign in text)
