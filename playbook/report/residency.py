"""Where each call ran, which rule allowed it, who processed it there, and on what ground. Pure."""

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
from playbook.report.facts import NOT_DECLARED, Fact
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
Place = tuple[str, str, str, str]
"""Target, provider, upstream, region."""


def residency_section(book: Book) -> Section:
    """The rule of each workload, the proof that nothing broke it, and every place in the period."""
    rows = []
    for name in book.workloads:
        allowed = f"workloads/{name}/allowed"
        rows.append(
            (
                text(Name(name)),
                text(book.setting(f"workloads/{name}/data_class", default="unrestricted")),
                text(book.setting(f"{allowed}/targets", default="cloud, sovereign")),
                text(book.setting(f"{allowed}/regions", default="any")),
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
        tuple(_where(row) for row in _ours(book)),
        text("Where each call of the period ran: all of them, experiments included"),
        small=True,
    )
    blocks.append(where if where.rows else _none("No call of these workloads is in the period."))
    return Section("residency", text("Where the data went"), tuple(blocks))


def _doubts(book: Book) -> Iterator[Block]:
    """What takes from the proof: rules that forbid nothing, regions without a name, requests without one."""
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
    unnamed = sorted({row["upstream"] for row in _ours(book) if row["region"] == ""})
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
                "Beside these, ",
                book.total("residency", "legs", "count", nameless, workload="without a name"),
                " calls are of requests that nobody has named. They have no data class, and ran in: ",
                Name("; ".join(sorted({_place(row) for row in nameless}))),
                ". ",
                Name("homeward inventory discover", "code"),
                " groups them.",
            )
        )


def _ours(book: Book) -> list[Found]:
    return [row for row in book.rows("residency") if row["workload"] in book.workloads]


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
        text(Name(row["workload"])),
        text(Name(PURPOSE_WORDS.get(row["purpose"], row["purpose"]))),
        text(Name(row["target"])),
        text(Name(row["provider"])),
        text(Name(row["region"] or "not said")),
        text(row.fact("legs", "count")),
        text(row.fact("first_time", "time")),
        text(row.fact("last_time", "time")),
    )


def processors_section(book: Book) -> Section:
    """Who processed requests in the period, and what is agreed with them."""
    places = _places(book)
    if not places:
        return Section(
            "sub-processors", text("Processors and sub-processors"), (_none("No call is in the period."),)
        )
    called = Table(
        (
            Column("provider", share=1.5),
            Column("target", share=0.9),
            Column("host", share=1.5),
            Column("region", share=0.9),
            Column("workloads", share=2.4),
            Column("calls", "right", share=0.7),
        ),
        tuple(
            (
                text(Name(provider)),
                text(Name(target)),
                text(
                    book.setting(
                        f"upstreams/{upstream}/host",
                        default="own network" if target == "sovereign" else NOT_DECLARED,
                    )
                ),
                text(Name(region or "not said")),
                text(Name(", ".join(sorted({row["workload"] for row in found})))),
                text(_calls(book, place, found)),
            )
            for place, found in places.items()
            for target, provider, upstream, region in [place]
        ),
        text("Who was called in the period, by what the router booked"),
        small=True,
    )
    agreed = Table(
        (
            Column("provider", share=1.5),
            Column("agreement", share=1.6),
            Column("keeps prompts for", share=1.4),
            Column("its own further processors", share=2),
        ),
        tuple(
            (
                text(Name(provider)),
                *(
                    text(book.setting(f"compliance/processors/{provider}/{key}", default=NOT_DECLARED))
                    for key in ("agreement", "retention", "sub_processors")
                ),
            )
            for provider in dict.fromkeys(provider for _, provider, _, _ in places)
        ),
        text("What is agreed with each, as the organisation declares it"),
        small=True,
    )
    who = Paragraph(
        text(
            "A provider in the cloud processes for the organisation; whoever hosts or operates the machines"
            " at home does so too, if it is not the organisation itself. Whom they pass data on to cannot be"
            " seen here. What the organisation declares stands in ",
            Name("[compliance.processors]", "code"),
            ".",
        )
    )
    return Section("sub-processors", text("Processors and sub-processors"), (called, who, agreed))


def _places(book: Book) -> dict[Place, list[Found]]:
    found: dict[Place, list[Found]] = {}
    for row in _ours(book):
        found.setdefault((row["target"], row["provider"], row["upstream"], row["region"]), []).append(row)
    return dict(sorted(found.items()))


def _calls(book: Book, place: Place, found: list[Found]) -> Fact:
    named = dict(zip(("target", "provider", "upstream", "region"), place, strict=True))
    return book.total("residency", "legs", "count", found, **named)


def transfers_section(book: Book) -> Section:
    """Each region that was reached, and the ground that is declared for it."""
    title = text("Transfers to third countries (", Name("GDPR Art. 44–49"), ")")
    places = _places(book)
    if not places:
        return Section("transfers", title, (_none("No call is in the period."),))
    table = Table(
        (
            Column("region, by the settings", share=1.3),
            Column("provider", share=1.5),
            Column("upstream", share=1),
            Column("workloads", share=2.2),
            Column("calls", "right", share=0.7),
            Column("ground of a transfer, as declared", share=1.9),
        ),
        tuple(
            (
                text(Name(region or "not said")),
                text(Name(provider)),
                text(Name(upstream)),
                text(Name(", ".join(sorted({row["workload"] for row in found})))),
                text(_calls(book, place, found)),
                text(book.setting(f"compliance/processors/{provider}/transfer", default=NOT_DECLARED)),
            )
            for place, found in places.items()
            for _, provider, upstream, region in [place]
        ),
        text("Regions that were reached in the period"),
        small=True,
    )
    lead = Paragraph(
        text(
            "A region is what the settings call it; whether it lies in a third country, and whether its"
            " provider supports or stores from elsewhere, the organisation must know. A transfer needs an"
            " adequacy decision, safeguards such as standard clauses with an assessment, or a derogation."
        )
    )
    return Section("transfers", title, (lead, table))


def _none(why: str) -> Paragraph:
    return Paragraph(text(why))
