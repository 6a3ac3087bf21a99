"""Who processed requests in the period, where they were sent, and on what ground. Pure."""

from __future__ import annotations

from playbook.report.book import Book, Found
from playbook.report.document import Column, Name, Paragraph, Section, Table, text
from playbook.report.facts import NOT_DECLARED, Fact
from playbook.report.residency import calls_of, whose, workload_of

Place = tuple[str, str, str, str]
"""Target, provider, upstream, region."""


def processors_section(book: Book) -> Section:
    """Who processed requests in the period, and what is agreed with them."""
    places = _places(book)
    if not places:
        return Section(
            "sub-processors",
            text("Processors and sub-processors"),
            (_none(book),),
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
                text(Name(_workloads(found))),
                text(_calls(book, place, found)),
            )
            for place, found in places.items()
            for target, provider, upstream, region in [place]
        ),
        text(f"Who was called{whose(book, 'for')} in the period, by what the router booked"),
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


def transfers_section(book: Book) -> Section:
    """Each region that was reached, and the ground that is declared for it."""
    title = text("Transfers to third countries (", Name("GDPR Art. 44–49"), ")")
    places = _places(book)
    if not places:
        return Section("transfers", title, (_none(book),))
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
                text(Name(_workloads(found))),
                text(_calls(book, place, found)),
                text(book.setting(f"compliance/processors/{provider}/transfer", default=NOT_DECLARED)),
            )
            for place, found in places.items()
            for _, provider, upstream, region in [place]
        ),
        text(f"Regions that were reached{whose(book, 'for')} in the period"),
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


def _places(book: Book) -> dict[Place, list[Found]]:
    found: dict[Place, list[Found]] = {}
    for row in calls_of(book):
        found.setdefault((row["target"], row["provider"], row["upstream"], row["region"]), []).append(row)
    return dict(sorted(found.items()))


def _calls(book: Book, place: Place, found: list[Found]) -> Fact:
    named = dict(zip(("target", "provider", "upstream", "region"), place, strict=True))
    return book.total("residency", "legs", "count", found, **named)


def _workloads(rows: list[Found]) -> str:
    """Whose calls all the rows count; those without a name last."""
    return ", ".join(dict.fromkeys(map(workload_of, sorted(rows, key=lambda row: row["workload"] or "~"))))


def _none(book: Book) -> Paragraph:
    return Paragraph(text(f"No call{whose(book)} is in the period."))
