"""Where each call ran, and which rule allowed it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from playbook.report.book import Book, Found
from playbook.report.document import (
    Block,
    Column,
    Name,
    Note,
    Paragraph,
    Section,
    Table,
    Text,
    text,
)
from playbook.report.registration import allowed, data_class_of
from playbook.report.standing import forbids_nothing, outside

ON_HIT = {
    "sovereign": "the request runs at home or not at all",
    "mask": "what goes to the cloud has placeholders",
}
PURPOSE_WORDS = {
    "production": "applications",
    "shadow": "comparison",
    "noise": "comparison, noise",
    "judge": "judge of answers",
    "probe": "probe of capabilities",
}
NAMELESS = "requests without a name"


def residency_section(book: Book) -> Section:
    """The rule of each workload, the proof that nothing broke it, and every place in the period."""
    rows = []
    for name in book.workloads:
        rows.append(
            (
                text(Name(name)),
                text(data_class_of(book, name)),
                text(allowed(book, name, "targets")),
                text(allowed(book, name, "regions")),
                text(book.fact(f"outside/{name}", "legs", "count")),
                text(book.fact(f"outside/{name}", "outside_legs", "count")),
            )
        )
    proof = Table(
        (
            Column("workload", share=1.8),
            Column("data class", share=1.2),
            Column("allowed targets", share=1.4),
            Column("allowed regions", share=1.4),
            Column("calls", "right"),
            Column("outside of it", "right"),
        ),
        tuple(rows),
        text("What the data class allows, and the calls that ran elsewhere; one query for each workload"),
        small=True,
    )
    said = Paragraph(
        text(
            "Of all calls of these workloads, ",
            outside(book),
            " ran outside of what their data class allows. The query counts every call of a workload in the"
            " period, of experiments too, whose target or region is not in its list; it stands in full in"
            " the appendix. It was checked against the data classes as they are set today. A request that"
            " finds no allowed target is refused, and is no call.",
        )
    )
    blocks: list[Block] = [said, proof if rows else _none("There is no workload.")]
    blocks += _doubts(book)
    blocks.append(_detectors(book))
    where = Table(
        (
            Column("workload", share=1.45),
            Column("for", share=1.75),
            Column("target", share=0.95),
            Column("provider", share=1.55),
            Column("region", share=0.7),
            Column("calls", "right", share=0.6),
            Column("first (UTC)", share=1.75),
            Column("last (UTC)", share=1.75),
        ),
        tuple(_where(row) for row in calls_of(book)),
        text(f"Where each call{whose(book)} ran in the period: all of them, experiments included"),
        small=True,
    )
    blocks.append(where if where.rows else _none(f"No call{whose(book)} is in the period."))
    return Section("residency", text("Where the data went"), tuple(blocks))


def _doubts(book: Book) -> Iterator[Block]:
    """What takes from the proof: rules that are not known or forbid nothing, regions and requests without a
    name."""
    unknown = [name for name in book.workloads if not data_class_of(book, name).known]
    if unknown:
        yield Note(
            "A data class is not known",
            text(
                "The settings have no section for ",
                Name(", ".join(unknown)),
                ", and the classifier, which knows what else was registered, "
                + ("did not answer" if book.gathered.registered is None else "has no such workload")
                + ". What was allowed is not known, and no call was held to it; where they ran is in the"
                " table below.",
            ),
        )
    lost = [name for name in book.workloads if allowed(book, name, "targets").value == "none"]
    if lost:
        yield Note(
            "A data class is not in the settings",
            text(
                "The data class with which ",
                Name(", ".join(lost)),
                " was registered is not in the settings. It allows nothing: the router refuses such requests,"
                " and each call of the period counts as outside.",
            ),
        )
    open_ones = [name for name in book.workloads if forbids_nothing(book, name)]
    if open_ones:
        yield Note(
            "Nothing could be outside",
            text(
                "The data class of ",
                Name(", ".join(open_ones)),
                " allows both targets and any region, so that the count proves nothing for "
                + ("it" if len(open_ones) == 1 else "them")
                + ". Where the calls ran is in the table below. Name regions in ",
                Name("[data_classes]", "code"),
                " if they matter.",
            ),
        )
    unnamed = sorted({row["upstream"] for row in calls_of(book) if row["region"] == ""})
    if unnamed:
        yield Note(
            "A region is missing",
            text(
                "These upstreams have no ",
                Name("region", "code"),
                " in the settings, so that the book cannot say where they are: ",
                Name(", ".join(unnamed)),
                ".",
            ),
        )
    nameless = [row for row in book.rows("residency") if row["workload"] == ""]
    if nameless:
        yield Paragraph(
            text(
                "Beside the calls of these workloads, ",
                book.total("residency", "legs", "count", nameless, workload="without a name"),
                " calls are of requests that nobody has named. They have no data class, and ran in: ",
                Name("; ".join(sorted({_place(row) for row in nameless}))),
                ". ",
                Name("homeward inventory discover", "code"),
                " groups them.",
            )
        )


def calls_of(book: Book, query: str = "residency") -> list[Found]:
    """The rows of all calls that the document is about: requests without a name are no named workload's."""
    rows = book.rows(query)
    if not book.gathered.asked_workloads:
        return rows
    return [row for row in rows if row["workload"] in book.workloads]


def workload_of(row: Found) -> str:
    """Whose calls a row counts, in words."""
    return row["workload"] or NAMELESS


def whose(book: Book, word: str = "of") -> str:
    """Which calls a table has all of; nothing if it has every one."""
    return f" {word} these workloads" if book.gathered.asked_workloads else ""


def _place(row: Found) -> str:
    return f"{row['target']}, {row['provider']}, region {row['region'] or 'not said'}"


def _detectors(book: Book) -> Block:
    """What requests are read for before they may go to the cloud."""
    told = book.gathered.settings.get("workloads", {})
    names = [name for name in book.workloads if told.get(name, {}).get("personal_data")]
    if not names:
        return Paragraph(
            text(
                "No workload names detectors of personal data: what its data class allows is not read"
                " further. See ",
                Name("docs/residency.md", "code"),
                ".",
            )
        )
    return Table(
        (Column("workload", share=1.2), Column("looks for", share=2), Column("a hit", share=2)),
        tuple(
            (
                text(Name(name)),
                text(book.setting(f"workloads/{name}/personal_data/detectors")),
                text(
                    book.setting(f"workloads/{name}/personal_data/on_hit"),
                    ": ",
                    Name(ON_HIT.get(told[name]["personal_data"].get("on_hit", ""), "")),
                ),
            )
            for name in names
        ),
        text("Detectors of personal data; what they find and miss was measured, and is in the documentation"),
        small=True,
    )


def _where(row: Found) -> tuple[Text, ...]:
    return (
        text(Name(workload_of(row))),
        text(Name(PURPOSE_WORDS.get(row["purpose"], row["purpose"]))),
        text(Name(row["target"])),
        text(Name(row["provider"])),
        text(Name(row["region"] or "not said")),
        text(row.fact("legs", "count")),
        text(row.fact("first_time", "time")),
        text(row.fact("last_time", "time")),
    )


def _none(why: str) -> Paragraph:
    return Paragraph(text(why))
