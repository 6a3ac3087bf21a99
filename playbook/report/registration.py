"""What is registered of a workload, as facts: by the settings, else by the classifier. Pure.

A workload that is in neither may have legs all the same: it was registered once, or the classifier is away.
Then nothing is known of it, and nothing is written that would be a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbook.report.book import Book
from playbook.report.facts import Fact, Kind, Reference, Value

ASKED = "ClassifierService.ListWorkloads, as `homeward workload list --json` prints it"


def in_settings(book: Book, workload: str) -> bool:
    """Whether it has a section of its own."""
    return _told(book, workload) is not None and workload not in (book.gathered.registered or ())


def registered(book: Book, workload: str, key: str, default: Value = None) -> Fact:
    """What is registered of it under a key; `default` stands for what was left out."""
    if in_settings(book, workload):
        return book.setting(f"workloads/{workload}/{key}", default=default)
    told = _told(book, workload)
    value = None if told is None else told[key] or default
    return Fact(f"registered/{workload}/{key}", value, "text", _answer(book, workload))


def data_class_of(book: Book, workload: str) -> Fact:
    """Its data class; not measured if nobody says which."""
    return registered(book, workload, "data_class")


def allowed(book: Book, workload: str, what: str) -> Fact:
    """The `targets` or `regions` that its data class allows."""
    told = _told(book, workload)
    if told is None:
        return Fact(f"registered/{workload}/allowed/{what}", None, "text", _answer(book, workload))
    # A class that the settings do not have allows no target, and so no region.
    nothing = "any" if what == "regions" and told["allowed"]["targets"] else "none"
    value = ", ".join(told["allowed"][what]) or nothing
    reference = Reference(Kind.SETTING, f"[data_classes.{told['data_class']}]")
    return Fact(f"setting/workloads/{workload}/allowed/{what}", value, "text", reference)


def days_kept(book: Book, workload: str) -> Fact:
    """For how many days texts of its disagreements are kept: none of one that has no section."""
    if in_settings(book, workload):
        data_class = data_class_of(book, workload).value
        return book.setting(f"data_classes/{data_class}/keep_examples_days", "days", default=0)
    reference = Reference(Kind.SETTING, "[workloads]")
    return Fact(f"setting/workloads/{workload}/keep_examples_days", 0, "days", reference)


def _told(book: Book, workload: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = book.gathered.settings.get("workloads", {}).get(workload)
    return found


def _answer(book: Book, workload: str) -> Reference:
    names = book.gathered.registered
    if names is None:
        return Reference(
            Kind.REGISTRY, workload, "ClassifierService.ListWorkloads could not be asked", rows=0
        )
    return Reference(Kind.REGISTRY, workload, ASKED, rows=int(workload in names))
