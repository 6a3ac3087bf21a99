"""`homeward inventory import`: brings exports and logs of usage into ClickHouse."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from homeward.classifier.v1 import classifier_pb2_grpc
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from playbook.clickhouse_client import UNREACHABLE, first_line, writer
from playbook.configured import configured
from playbook.inventory.importing import Advance, ConflictError, Outcome, import_file
from playbook.inventory.naming import Namer
from playbook.inventory.pricing import Pricer
from playbook.inventory.sniff import COSTS, Export, UnknownFormatError, open_export
from playbook.inventory.store import Store
from playbook.shown import tell, tell_json, tell_next
from playbook.stopped import stopped
from services.classifier.config import Classifier
from services.common.server import MAX_MESSAGE_BYTES
from services.common.settings import DEFAULT_FILE, Section
from services.ledger.adapters.prices import PriceList
from services.ledger.config import PriceSettings

SHOWN_UNKNOWN = 8
"""Models of unknown price that are shown; --json has all."""
NANOS = 1_000_000_000


class _Settings(Section):
    """What the command must know of the settings."""

    classifier: Classifier = Classifier()
    prices: list[PriceSettings] = []


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Exports and logs, gzip or not; any mix of formats.")
    ],
    provider: Annotated[
        str, typer.Option(help="Whose prices apply where a file does not say: openai, anthropic, …")
    ] = "",
    model: Annotated[str, typer.Option(help="Which model served where a file does not say.")] = "",
    project: Annotated[
        str, typer.Option(help="Which project it is of where a file does not say: keeps two apart.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="First take out what would count twice otherwise.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, price and count; store nothing, ask nobody.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Import providers' exports and logs: what was used, and what it cost by list price.

    The format is told by the content: OpenAI usage and costs, Anthropic usage and cost reports, FOCUS,
    request logs, CSV of requests. The same file twice changes nothing. Bad rows are kept in
    homeward.import_rejects.

    --json has: dry_run; files, of each name, format, file_sha256, rows, bad_rows, left_out (rows that are no
    LLM spend, by what they are), first_time, last_time, days, cost_nanos (list price, as far as known),
    unknown_prices (provider, model, reason, rows), base_tier_rows, billed_nanos (by currency), groups,
    naming_problem, problem (why it is not whole), replaced, also_from (source, provider, rows); next_step.
    """
    config = configured(_Settings, settings)
    options = {"provider": provider, "model": model, "project": project}
    namers: list[Namer] = []
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        service = None if dry_run else stack.enter_context(_classifier(config.classifier.grpc))
        exports: list[Export] = []
        for path in files:
            namers.append(Namer(service))
            exports.append(_opened(path, options, namers[-1]))
        store = None
        if not dry_run:
            client = writer(settings)
            stack.callback(client.close)
            store = Store(client)
            _ready(store)
        pricer = Pricer(PriceList(config.prices))
        bars = stack.enter_context(_bars(exports, shown=not as_json))
        for export, namer, (bar, advance) in zip(exports, namers, bars, strict=True):
            try:
                outcome = import_file(
                    export,
                    pricer,
                    namer,
                    store,
                    now=datetime.now(UTC),
                    options=options,
                    replace=replace,
                    advance=advance,
                )
            except ConflictError as error:
                bar.stop()
                step = "the same command with --replace takes out what would count twice."
                raise stopped(str(error), step, details=_before(outcomes)) from None
            except UNREACHABLE as error:
                bar.stop()
                raise stopped(
                    f"{export.path.name} was not imported to its end: {first_line(error)}",
                    "run the command again when that is mended; what is there already does not count twice.",
                    details=_before(outcomes),
                ) from None
            outcomes.append(outcome)
    if as_json:
        document = {"files": [_document(item) for item in outcomes], "dry_run": dry_run}
        tell_json(document, _next(outcomes, dry_run))
    else:
        _print(outcomes, dry_run)


def _opened(path: Path, options: dict[str, str], namer: Namer) -> Export:
    try:
        return open_export(path, observe=namer.observe, **options)
    except UnknownFormatError as error:
        raise stopped(str(error), "docs/imports.md lists the formats, and how to export them.") from None
    except OSError as error:
        raise stopped(f"{path} can't be read: {error.strerror or error}", "name another file.") from None


@contextmanager
def _classifier(address: str) -> Iterator[classifier_pb2_grpc.ClassifierServiceStub]:
    """The classifier. If it is away, the import goes on without names, so nothing is raised here."""
    with grpc.insecure_channel(address, [("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]) as channel:
        yield classifier_pb2_grpc.ClassifierServiceStub(channel)


def _ready(store: Store) -> None:
    try:
        if store.ready():
            return
    except UNREACHABLE as error:
        raise stopped(f"ClickHouse does not answer: {first_line(error)}", reason="SERVICE_DOWN") from None
    raise stopped(
        "ClickHouse has no table homeward.usage: the ledger makes it when it starts",
        "start the ledger with `make run`.",
    )


@contextmanager
def _bars(exports: Sequence[Export], *, shown: bool) -> Iterator[list[tuple[Progress, Advance]]]:
    """A bar by bytes for each file, on the terminal only."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not (shown and console.is_terminal),
        transient=True,
    ) as progress:
        yield [_bar(progress, export) for export in exports]


def _bar(progress: Progress, export: Export) -> tuple[Progress, Advance]:
    task: TaskID = progress.add_task(escape(export.path.name), total=export.total, pace="", start=False)

    def advance(position: int, rows: int) -> None:
        if not progress.tasks[task].started:
            progress.start_task(task)
        elapsed_s = progress.tasks[task].elapsed or 0.0
        pace = f"{rows / elapsed_s:,.0f} rows/s" if rows and elapsed_s else "looking" if not rows else ""
        progress.update(task, completed=position, pace=pace)

    return progress, advance


def _before(outcomes: Sequence[Outcome]) -> list[str]:
    return [f"imported before it: {item.name} ({item.rows:,} rows)" for item in outcomes]


def _document(outcome: Outcome) -> dict[str, Any]:
    apart = {"unknown", "providers", "bad_examples"}
    names = [field.name for field in fields(outcome) if field.name not in apart]
    document = {name: getattr(outcome, name) for name in names}
    document["unknown_prices"] = [
        {"provider": provider, "model": model, "reason": reason, "rows": rows}
        for (provider, model, reason), rows in outcome.unknown.most_common()
    ]
    return document


def _print(outcomes: Sequence[Outcome], dry_run: bool) -> None:
    for outcome in outcomes:
        for line in _lines(outcome, dry_run):
            tell(line)
        tell("")
    unknown: Counter[tuple[str, str, str]] = sum((item.unknown for item in outcomes), Counter())
    if unknown:
        tell("Price unknown, which is not zero:")
        for (provider, model, reason), rows in unknown.most_common(SHOWN_UNKNOWN):
            tell(f"  {rows:>11,} rows  {_model(provider, model)}: {reason}")
        if len(unknown) > SHOWN_UNKNOWN:
            tell(f"  and {len(unknown) - SHOWN_UNKNOWN} more; --json has all")
        tell(f"  {_remedy(unknown)}")
        tell("")
    tell_next(_next(outcomes, dry_run), gap=False)


def _lines(outcome: Outcome, dry_run: bool) -> Iterator[str]:
    verb = "would be imported" if dry_run else "imported"
    yield f"{outcome.name}: {outcome.rows:,} rows of {outcome.format} {verb}"
    if outcome.first_time and outcome.last_time:
        last = max(outcome.first_time, outcome.last_time)
        span = f"{outcome.first_time:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        yield f"  {outcome.days:,} days with rows, {span}"
    if outcome.format in COSTS:
        for currency, amount in sorted(outcome.billed_nanos.items()):
            yield f"  billed: {_money(amount)} {currency or '(currency not said)'}"
    elif outcome.rows:
        known = outcome.rows - outcome.unknown.total()
        told = f"{_money(outcome.cost_nanos)} USD" if known else "unknown"
        yield f"  list price: {told} for {known or outcome.rows:,} of {outcome.rows:,} rows"
    if outcome.base_tier_rows:
        yield (
            f"  {outcome.base_tier_rows:,} rows stand for many requests of a model whose long requests cost"
            " more: priced at the base tier, so at least this"
        )
    if outcome.left_out:
        what = ", ".join(f"{name} {count:,}" for name, count in outcome.left_out.most_common(4))
        more = f" and {len(outcome.left_out) - 4} more kinds" if len(outcome.left_out) > 4 else ""
        yield f"  {outcome.left_out.total():,} rows are no LLM spend and were left out: {what}{more}"
    if outcome.groups:
        yield f"  {outcome.groups:,} groups of requests with the same fixed parts or key"
    if outcome.naming_problem:
        yield (
            f"  the classifier did not answer ({outcome.naming_problem}): workloads and kinds of work are"
            " missing; start it and import the file again"
        )
    if outcome.replaced:
        yield "  rows that would have counted twice were taken out first"
    if outcome.bad_rows:
        yield f"  {outcome.bad_rows:,} bad rows, {_where(outcome, dry_run)}:"
        for row in outcome.bad_examples:
            yield f"    line {row.line:,}: {row.reason}" + (f" ({row.excerpt[:70]})" if row.excerpt else "")
    if outcome.problem:
        yield f"  NOT WHOLE: {outcome.problem}"
    for source, provider, rows in outcome.also_from:
        yield (
            f"  careful: {rows:,} rows of {source} have usage of {provider or 'no named provider'} in"
            " the same time; if they are the same calls, they count twice"
        )


def _where(outcome: Outcome, dry_run: bool) -> str:
    if dry_run:
        return "such as"
    return f"kept in homeward.import_rejects (file_sha256 {outcome.file_sha256[:12]}…), such as"


def _remedy(unknown: Counter[tuple[str, str, str]]) -> str:
    reasons = " ".join(reason for _, _, reason in unknown)
    if "names no model" in reasons or "nobody says" in reasons:
        return "--model and --provider say which price applies; import again with them."
    return "`[[prices]]` in the settings can say what these cost; import again after it."


def _next(outcomes: Sequence[Outcome], dry_run: bool) -> str:
    if any(item.problem for item in outcomes):
        return "bring the whole file and import it again; what is there already does not count twice."
    if dry_run:
        return "the same command without --dry-run."
    if not any(item.rows for item in outcomes):
        return "nothing was imported; see the bad rows above."
    return "`homeward inventory show` ranks what it is spent on."


def _model(provider: str, model: str) -> str:
    return "/".join(filter(None, (provider, model))) or "no model"


def _money(nanos: int) -> str:
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    whole, rest = divmod(nanos, NANOS)
    # As many places as it has, but two at least.
    places = re.sub(r"0+$", "", f"{rest:09d}").ljust(2, "0")
    return f"{sign}{whole:,}.{places}"
