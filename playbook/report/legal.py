"""The case for legal: where data went, who processed it, how long it is kept, what each law asks. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from playbook.report.book import Book, Found
from playbook.report.clauses import law_section
from playbook.report.digest import mappings_section
from playbook.report.document import (
    Block,
    Column,
    Name,
    Note,
    Paragraph,
    Points,
    Section,
    Table,
    Text,
    text,
)
from playbook.report.facts import Fact, computed
from playbook.report.mappings import ASSESSMENT, Law
from playbook.report.processors import processors_section, transfers_section
from playbook.report.records import dpia_section, record_section
from playbook.report.registration import data_class_of, days_kept
from playbook.report.residency import calls_of, residency_section, whose, workload_of

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HOLDS: Mapping[str, str] = {
    "homeward.corrections": "what became known of a cost later",
    "homeward.import_rejects": "rows of imported bills that could not be read",
    "homeward.imports": "which bills were imported",
    "homeward.latency_by_hour": "latencies, summed up",
    "homeward.legs": "each call: key, workload, model, region, tokens, cost, time",
    "homeward.observations": "what each request was named and why: workload, task type, language",
    "homeward.pool_periods": "what the machines at home cost",
    "homeward.sample_counts": "how far samples got, counted by minute",
    "homeward.schema_migrations": "which migrations of the tables were run",
    "homeward.spend_by_hour": "costs, summed up",
    "homeward.triplets": "scores of compared requests, by id",
    "homeward.usage": "imported usage and costs",
    "homeward.verdict_windows": "the evidence by window",
    "otel.otel_traces": "spans of requests: names, times, ids",
    "otel.otel_traces_trace_id_ts": "when each trace was",
}
"""Of the tables of the book, for who asks what of a person may be in them."""
_TTL = re.compile(r"^toDateTime\((\w+)\) \+ toInterval(\w+)\((\d+)\)$")


def legal(book: Book, laws: Sequence[Law]) -> Section:
    """The whole case."""
    lead = Paragraph(
        text(
            "Where did the data of each workload go, who processed it, and what remains to be done? The"
            " answers come from the calls that the router booked: each one that it made, whatever for. What"
            " applications send to a provider past the router is not in here."
        ),
        lead=True,
    )
    reviewed = [law for law in laws if law.reviewed.strip()]
    note = Note(
        "No legal advice",
        text(
            "This part helps lawyers to find evidence. It is no legal advice, and it does not say that the"
            " organisation complies with any law. What a clause asks is told in short, in other words than"
            " its own. ",
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
        residency_section(book),
        processors_section(book),
        transfers_section(book),
        _transport(book),
        _calls(book),
        _retention(book),
        record_section(book),
        dpia_section(book, [law for law in laws if law.belongs == ASSESSMENT]),
        *(law_section(book, law) for law in laws if not law.belongs),
        mappings_section(laws),
    ]
    return Section("legal", text("The legal case"), (lead, note), tuple(parts), new_page=True)


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
                    Column("host", share=1.6),
                    Column("encryption", share=1),
                    Column("region", share=1),
                ),
                tuple(
                    (
                        text(Name(name)),
                        *(
                            text(book.setting(f"upstreams/{name}/{key}", default="not said"))
                            for key in ("target", "protocol", "host", "encryption", "region")
                        ),
                    )
                    for name in sorted(upstreams)
                ),
                text("Connections to models, by the settings"),
                small=True,
            )
        )
        bare = [name for name, item in sorted(upstreams.items()) if _is_bare(item)]
        if bare:
            blocks.append(
                Note(
                    "Not encrypted",
                    text(
                        "Prompts and answers go to another machine without TLS, by the settings of ",
                        Name(", ".join(bare)),
                        ". Something below may encrypt them, a tunnel say; the settings don't tell.",
                    ),
                )
            )
    if keys:
        blocks.append(
            Table(
                (
                    Column("key", share=1),
                    Column("may, beside asking", share=1.4),
                    Column("workloads", share=2),
                ),
                tuple(
                    (
                        text(Name(name)),
                        text(book.setting(f"keys/{name}/scopes", default="nothing")),
                        text(_workloads_of(book, name)),
                    )
                    for name in sorted(keys)
                ),
                text("Who may ask, and who may approve; secrets are stored as hashes"),
                small=True,
            )
        )
    return Section("transport", text("Connections and keys"), tuple(blocks) or (_none("Nothing is set."),))


def _is_bare(item: Mapping[str, Any]) -> bool:
    """Whether it leaves the machine without encryption."""
    return item.get("encryption") == "none" and any(
        host not in LOOPBACK for host in str(item.get("host") or "?").split(", ")
    )


def _workloads_of(book: Book, key: str) -> Fact:
    found = book.setting(f"keys/{key}/workloads", default="*")
    return Fact(found.key, "all" if found.value == "*" else found.value, "text", found.reference)


def _calls(book: Book) -> Section:
    """Who asked which model, under which policy."""
    title = text("Which key had which model answer")
    rows = calls_of(book, "records")
    if not rows:
        return Section("calls", title, (_none(f"No call{whose(book)} is in the period."),))
    table = Table(
        (
            Column("workload", share=1.6),
            Column("key", share=1),
            Column("target", share=1.05),
            Column("provider", share=1.6),
            Column("model", share=1.7),
            Column("policy", "right", share=0.7),
            Column("calls", "right", share=0.7),
            Column("with a trace", "right", share=0.7),
            Column("first (UTC)", share=1.1),
            Column("last (UTC)", share=1.1),
        ),
        tuple(
            (
                text(Name(workload_of(row))),
                *(text(Name(row[column] or "not said")) for column in ("key_name", "target", "provider")),
                text(Name(row["model"] or "none served")),
                text(row.fact("policy_version", "text")),
                text(row.fact("legs", "count")),
                text(row.fact("traced_legs", "count")),
                text(row.fact("first_time", "time")),
                text(row.fact("last_time", "time")),
            )
            for row in rows
        ),
        text(f"Calls{whose(book)} by key, model and version of the policy, the most first"),
        small=True,
    )
    said = Paragraph(
        text(
            "Each call is a row of the book with its time, key, model, target, the version of the policy that"
            " sent it there, and the trace by which the services' own steps are found while traces are kept."
            " Which decision made a version is in the journal. ",
            *_left_out(book, rows),
        )
    )
    return Section("calls", title, (said, table))


def _left_out(book: Book, rows: Sequence[Found]) -> Text:
    """How many groups and calls the table does not show."""
    groups, calls = (rows[0].fact(column, "count") for column in ("all_groups", "all_legs"))
    shown = book.total("records", "legs", "count", rows)
    left = computed(
        "records/left out",
        int(rows[0]["all_legs"]) - sum(row["legs"] for row in rows),
        "count",
        "all calls less those of the table",
        [calls, shown],
        name="calls that the table of models leaves out",
    )
    if not left.value:
        return text("The table has all ", groups, " groups of them: ", calls, " calls.")
    return text(
        "Of ",
        groups,
        " groups of them the table has those of most calls; the others have ",
        left,
        " of all ",
        calls,
        " calls, and the query without its limit has them too.",
    )


def _retention(book: Book) -> Section:
    rows = book.rows("retention")
    if not rows:
        return Section("retention", text("Retention"), (_none("The tables could not be asked."),))
    table = Table(
        (Column("table", share=1.7), Column("what it has", share=2.6), Column("kept", share=2)),
        tuple(
            (text(Name(name, "code")), text(HOLDS.get(name, "–")), text(_kept(row)))
            for name, row in _tables(rows)
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
            text(
                "A sampled request's text waits on shadow's disk until it is scored, and is then deleted; but"
                " for that of the worst disagreements, which is kept for the days in the table, and of which"
                " then only the hash is left."
            ),
            text(
                "Prompts of unnamed requests may be kept for discovery: ",
                book.setting("classifier/keep_unnamed_prompts", "yes", default=False),
                ". Examples with which a workload was registered stay in the classifier's file ",
                Name("workloads.sqlite", "code"),
                ", also those of older versions: no command deletes them. Examples in the settings stay"
                " there.",
            ),
            text("What providers keep is in their terms; Homeward cannot see it."),
        )
    )
    return Section("retention", text("Retention"), (table, _texts_kept(book), more))


def _texts_kept(book: Book) -> Table:
    return Table(
        (Column("workload", share=2), Column("data class", share=1.4), Column("kept for", "right", share=1)),
        tuple(
            (
                text(Name(name)),
                text(data_class_of(book, name)),
                text(days_kept(book, name)),
            )
            for name in book.workloads
        ),
        text(
            "For how long texts of requests and answers are kept on which the model at home and the cloud"
            " disagreed most; at zero days none is"
        ),
        small=True,
    )


def _tables(rows: Sequence[Found]) -> list[tuple[str, Found]]:
    return [(f"{row['database']}.{row['name']}", row) for row in rows]


def _kept(row: Found) -> Fact:
    """The table's own rule, in words where it is one of the usual form."""
    rule = row["kept"]
    found = _TTL.match(rule or "")
    if found:
        rule = f"{found[3]} {found[2].lower()}s after {found[1]}"
    return Fact(f"{row.key}/kept", rule or "until somebody deletes it", "text", row.reference)


def _none(why: str) -> Paragraph:
    return Paragraph(text(why))
