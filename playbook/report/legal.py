"""The case for legal: where data went, who processed it, how long it is kept, what each law asks. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playbook.report.book import Book, Found
from playbook.report.clauses import law_section
from playbook.report.document import (
    Block,
    Column,
    Name,
    Note,
    Paragraph,
    Points,
    Section,
    Span,
    Table,
    Text,
    text,
)
from playbook.report.facts import Fact
from playbook.report.mappings import Law
from playbook.report.records import dpia_section, record_section
from playbook.report.standing import UNDECLARED, outside

ON_HIT = {
    "sovereign": "the request runs at home or not at all",
    "mask": "what goes to the cloud has placeholders",
}
PURPOSE_WORDS = {
    "production": "applications",
    "shadow": "comparison at home",
    "noise": "comparison in the cloud",
    "judge": "judge",
    "probe": "probe",
}


def legal(book: Book, laws: Sequence[Law]) -> Section:
    """The whole case."""
    lead = Paragraph(
        text(
            "Where did the data of each workload go, who processed it, and what remains to be done? The"
            " answers come from"
            " the legs that were booked, each of which is one call to one model: no call reaches a model"
            " but through"
            " the router that books it."
        ),
        lead=True,
    )
    reviewed = [law for law in laws if law.reviewed.strip()]
    note = Note(
        "No legal advice",
        text(
            "This part helps lawyers to find evidence. It is no legal advice, and it does not say that the"
            " organisation"
            " complies with any law. ",
            Name(
                "; ".join(f"{law.name} was reviewed by {law.reviewed}" for law in reviewed) + "."
                if reviewed
                else "No lawyer has reviewed these mappings."
            ),
            " They are data files, ",
            Name("playbook/compliance/*.toml", "code"),
            ", made to be changed.",
        ),
    )
    parts = [
        _residency(book),
        _processors(book),
        _transport(book),
        _retention(book),
        record_section(book),
        dpia_section(book),
        *(law_section(book, law) for law in laws),
    ]
    return Section("legal", text("The legal case"), (lead, note), tuple(parts), new_page=True)


def _residency(book: Book) -> Section:
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
            Column("legs", "right"),
            Column("outside of it", "right"),
        ),
        tuple(rows),
        text("What the data class allows, and the legs that ran elsewhere; one query for each workload"),
        small=True,
    )
    where = Table(
        (
            Column("workload", share=1.7),
            Column("for", share=1.5),
            Column("target", share=0.9),
            Column("provider", share=1.6),
            Column("region", share=1),
            Column("legs", "right"),
            Column("first (UTC)", share=1.3),
            Column("last (UTC)", share=1.3),
        ),
        tuple(_where(row) for row in book.rows("residency") if row["workload"] in book.workloads),
        text("Where each leg of the period ran: all of them, experiments included"),
        small=True,
    )
    total = outside(book)
    said: list[Span] = [
        "Of all legs of these workloads, ",
        total,
        " ran outside of what their data class allows. ",
    ]
    said.append(
        "It was checked against the data classes as they are set today. A request that finds no allowed"
        " target is"
        " refused and has no leg."
    )
    blocks: list[Block] = [Paragraph(tuple(said)), proof]
    unnamed = [
        row for row in book.rows("residency") if row["region"] == "" and row["workload"] in book.workloads
    ]
    if unnamed:
        names = sorted({row["upstream"] for row in unnamed})
        blocks.append(
            Note(
                "A region is missing",
                text(
                    "These upstreams have no ",
                    Name("region", "code"),
                    " in the settings, so that the book cannot say where they are: ",
                    Name(", ".join(names)),
                    ".",
                ),
            )
        )
    nameless = [row for row in book.rows("residency") if row["workload"] == ""]
    if nameless:
        blocks.append(
            Paragraph(
                text(
                    "Beside these, ",
                    book.total("residency", "legs", "count", nameless, workload="without a name"),
                    " legs are of requests that nobody has named. They have no data class, and ran in: ",
                    Name("; ".join(sorted({_place(row) for row in nameless}))),
                    ". ",
                    Name("homeward workload discover", "code"),
                    " groups them.",
                )
            )
        )
    blocks.append(_detectors(book))
    blocks.append(where if where.rows else _none("No leg of these workloads is in the period."))
    return Section("residency", text("Where the data went"), tuple(blocks))


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


def _processors(book: Book) -> Section:
    groups: dict[tuple[str, str, str], list[Found]] = {}
    for row in book.rows("residency"):
        if row["workload"] in book.workloads and row["target"] == "cloud":
            groups.setdefault((row["provider"], row["upstream"], row["region"]), []).append(row)
    rows = [
        (
            text(Name(provider)),
            text(book.setting(f"upstreams/{upstream}/host", default=UNDECLARED)),
            text(Name(region or "not said")),
            text(Name(", ".join(sorted({row["workload"] for row in found})))),
            text(
                book.total(
                    "residency", "legs", "count", found, provider=provider, upstream=upstream, region=region
                )
            ),
            text(book.setting(f"compliance/processors/{provider}/agreement", default=UNDECLARED)),
        )
        for (provider, upstream, region), found in sorted(groups.items())
    ]
    if not rows:
        return Section("sub-processors", text("Sub-processors"), (_none("No leg went to a cloud provider."),))
    table = Table(
        (
            Column("provider", share=1.4),
            Column("host", share=1.4),
            Column("region", share=0.9),
            Column("workloads", share=2),
            Column("legs", "right"),
            Column("agreement", share=1.2),
        ),
        tuple(rows),
        text("Providers that were called in the period; those at home are the organisation's own"),
        small=True,
    )
    return Section("sub-processors", text("Sub-processors"), (table,))


def _transport(book: Book) -> Section:
    upstreams = book.gathered.settings.get("upstreams", {})
    keys = book.gathered.settings.get("keys", {})
    blocks: list[Block] = []
    if upstreams:
        blocks.append(
            Table(
                (
                    Column("upstream", share=1),
                    Column("target", share=1),
                    Column("protocol", share=1),
                    Column("scheme", share=1),
                    Column("region", share=1),
                ),
                tuple(
                    (
                        text(Name(name)),
                        text(book.setting(f"upstreams/{name}/target")),
                        text(book.setting(f"upstreams/{name}/protocol")),
                        text(book.setting(f"upstreams/{name}/scheme", default="own network")),
                        text(book.setting(f"upstreams/{name}/region", default="not said")),
                    )
                    for name in sorted(upstreams)
                ),
                text("Connections to models"),
                small=True,
            )
        )
    if keys:
        blocks.append(
            Table(
                (Column("key", share=1), Column("scopes", share=1.4), Column("workloads", share=2)),
                tuple(
                    (
                        text(Name(name)),
                        text(book.setting(f"keys/{name}/scopes", default="asks only")),
                        text(book.setting(f"keys/{name}/workloads", default="*")),
                    )
                    for name in sorted(keys)
                ),
                text("Who may ask, and who may approve; secrets are stored as hashes"),
                small=True,
            )
        )
    return Section("transport", text("Connections and keys"), tuple(blocks) or (_none("Nothing is set."),))


def _retention(book: Book) -> Section:
    rows = book.rows("retention")
    if not rows:
        return Section("retention", text("Retention"), (_none("The tables could not be asked."),))
    table = Table(
        (Column("table", share=2), Column("kept until", share=3)),
        tuple(
            (
                text(Name(f"{row['database']}.{row['name']}", "code")),
                text(_kept(row)),
            )
            for row in rows
        ),
        text("How long the tables keep their rows, by their own definition"),
        small=True,
    )
    more = Points(
        (
            text(
                "Columns of the book that could hold a text of a prompt or an answer, by their names: ",
                book.fact("text_columns", "text_columns", "count"),
                " of ",
                book.fact("text_columns", "columns", "count"),
                ".",
            ),
            text("A sampled request's text waits on shadow's disk until it is scored, and is then deleted."),
            text(
                "Prompts of unnamed requests may be kept for discovery: ",
                book.setting("classifier/keep_unnamed_prompts", "yes", default=False),
                ". Examples of registered workloads are kept as they were registered.",
            ),
            text("What providers keep is in their terms; Homeward cannot see it."),
        )
    )
    return Section("retention", text("Retention"), (table, more))


def _kept(row: Found) -> Fact:
    return Fact(f"{row.key}/kept", row["kept"] or "somebody deletes it", "text", row.reference)


def _none(why: str) -> Paragraph:
    return Paragraph(text(why))
