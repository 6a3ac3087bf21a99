"""`homeward report`: the document that gets a migration approved, and the check that it still holds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from playbook import completing
from playbook.configured import wrong_settings
from playbook.known import did_you_mean
from playbook.report.carried import NotADocumentError, read
from playbook.report.gather import gather
from playbook.report.gathered import Gathered
from playbook.report.html_writer import html
from playbook.report.mappings import MappingError, read_laws
from playbook.report.verify import Change, beside, changes, hidden, queries_changed, rewritten
from playbook.stopped import stopped
from services.common.errors import Reason
from services.common.settings import DEFAULT_FILE, SettingsError

ANOTHER = "give a PDF or HTML file that `homeward report` wrote."
NAME = "homeward-report"
"""Of both files, without their ending."""
SETTLED_S = 10
"""How long ago a document ends that is made now: a call is booked a second or two after its end."""
SHOWN_CHANGES = 40
"""Lines of what changed; --json has all."""


UNPROVEN = 3
"""Exit code: the facts hold, but what the file shows can't be held against them here."""
ALIKE = "The file is byte for byte the one that they make."
UNLIKE = (
    "What the file shows can't be held against them here: it was written with {theirs}, and this is {ours}."
    " So it is not known whether its pages say the same."
)


class Case(StrEnum):
    """For whom a part of the document is, in its order."""

    ENGINEERING = "engineering"
    FINANCE = "finance"
    LEGAL = "legal"
    PROCUREMENT = "procurement"


def report(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORKLOAD]…",
            help="What it is about; left out: all.",
            autocompletion=completing.workloads,
        ),
    ] = None,
    case: Annotated[
        list[Case] | None, typer.Option(help="Only this case; can be given several times.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the PDF and the HTML file go.")] = Path("."),
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day (UTC) of the period; default: of the book."),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Look all numbers of a document up again, and name what changed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Write the document for those who decide, as PDF and HTML: a summary, and the case for each of them.

    It is made of the book, the journal, shadow's evidence and the settings. Each number in it leads to where
    it comes from, in an appendix with the queries themselves; what was not measured is written as not
    measured. It ends ten seconds before it is made, with the calls that had ended by then. Both files say the
    same, and carry their numbers along: --verify asks for all of them again, and ends with code 1 if one is
    not as the document says or the file was changed, with code 3 if another version or machine wrote it: then
    what it shows can't be held against its numbers.

    --json has: files; pages; facts and unknown_facts (how many); problems (what could not be asked); seconds;
    next_step. With --verify: holds (null with code 3: only its numbers do); facts (how many were checked);
    changes (key, said, now, why); changed_queries; same_file (whether it is byte for byte what would be
    written now; null if something changed); next_step.
    """
    if verify is not None:
        _verify(verify, settings, as_json=as_json)
        return
    began = time.monotonic()
    chosen = [item.value for item in Case if item in (case or Case)]
    until = datetime.now(UTC) - timedelta(seconds=SETTLED_S)
    found = _gathered(settings, workloads or [], since, until)
    unknown = [name for name in workloads or [] if name not in _known(found)]
    if unknown:
        raise stopped(
            f"no workload {unknown[0]!r} is registered, and none has legs"
            f"{did_you_mean(unknown[0], _known(found))}{_away(found)}",
            "`homeward workload list` shows those that there are.",
            reason=Reason.WORKLOAD_NOT_FOUND,
        )
    made = _made(found, chosen)
    files = _write(made, out)
    seconds = time.monotonic() - began
    next_step = f"read {files[1]}; `homeward report --verify {files[0]}` proves later that it still holds."
    facts = made["facts"]
    if as_json:
        told = {
            "files": [str(file) for file in files],
            "pages": made["pages"],
            "facts": len(facts),
            "unknown_facts": sum(not fact.known for fact in facts),
            "problems": list(found.problems),
            "seconds": round(seconds, 3),
            "next_step": next_step,
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    console = Console(highlight=False)
    for file in files:
        console.print(f"  {file}", markup=False, soft_wrap=True)
    unmeasured = sum(not fact.known for fact in facts)
    console.print(
        f"\n{len(facts):,} facts with their references, of which {unmeasured:,} were not measured;"
        f" {seconds:.1f} s.",
        markup=False,
        soft_wrap=True,
    )
    for problem in found.problems:
        console.print(f"Not asked: {problem}.", markup=False, soft_wrap=True)
    console.print(f"\nNext: {next_step}", markup=False, soft_wrap=True)


def _gathered(settings: Path, workloads: list[str], since: datetime | None, until: datetime) -> Gathered:
    first = since.replace(tzinfo=UTC) if since else None
    if first is not None and first >= until:
        raise typer.BadParameter("--since is not over yet")
    try:
        return gather(settings, os.environ, workloads, first, until)
    except SettingsError as error:
        raise wrong_settings(error, settings) from None


def _known(found: Gathered) -> set[str]:
    booked = {row["workload"] for row in found.answers["spend"].rows} if "spend" in found.answers else set()
    return {*found.settings["workloads"], *booked}


def _away(found: Gathered) -> str:
    return "; the classifier, which may know it, did not answer" if found.registered is None else ""


def _made(found: Gathered, cases: Sequence[str]) -> dict[str, Any]:
    # matplotlib takes most of a second, which nobody should wait for who only wants help.
    from playbook.report.build import all_facts, build, carried

    try:
        document = build(found, read_laws(), cases)
    except MappingError as error:
        raise stopped(str(error)) from None
    data = carried(document, found, cases)
    return {"document": document, "carried": data, "facts": all_facts(document)}


def _write(made: dict[str, Any], out: Path) -> list[Path]:
    # Typst is loaded only where a document is written.
    from playbook.report.typst_writer import page_count

    page = _rendered(made, printed=False)
    printed = _rendered(made, printed=True)
    made["pages"] = page_count(printed)
    files = [out / f"{NAME}.html", out / f"{NAME}.pdf"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        files[0].write_bytes(page)
        files[1].write_bytes(printed)
    except OSError as error:
        raise stopped(f"{out} can't be written: {error.strerror or error}", "name another --out.") from None
    return files


def _rendered(made: dict[str, Any], *, printed: bool) -> bytes:
    """The document as a file; the same document gives the same bytes."""
    from playbook.report.typst_writer import pdf

    document, data = made["document"], made["carried"]
    until = datetime.fromisoformat(data["request"]["until"])
    return pdf(document, data, until) if printed else html(document, data).encode()


def _verify(file: Path, settings: Path, *, as_json: bool) -> None:
    try:
        data = file.read_bytes()
        said, shown = read(data)
        request = said["request"]
        since, until = (datetime.fromisoformat(request[name]) for name in ("since", "until"))
        workloads, cases = list(request["workloads"]), list(request["cases"])
    except OSError as error:
        raise stopped(f"{file} can't be read: {error.strerror or error}", ANOTHER) from None
    except NotADocumentError as error:
        raise stopped(f"{file} is no document of `homeward report`: {error}", ANOTHER) from None
    except (KeyError, TypeError, ValueError):
        message = f"{file} does not say what it was asked for: the file was edited"
        raise stopped(message, ANOTHER) from None
    try:
        found = gather(settings, os.environ, workloads, since, until)
    except SettingsError as error:
        raise wrong_settings(error, settings) from None
    made = _made(found, cases)
    ours = made["carried"]
    queries = queries_changed(said, ours)
    differ, alike = _held(data, said, shown, made, queries)
    holds = False if differ or queries else True if alike else None
    next_step = _next(holds, said)
    if as_json:
        told = {
            "holds": holds,
            "facts": len(said["facts"]),
            "changes": [
                {"key": item.key, "said": item.said, "now": item.now, "why": item.why} for item in differ
            ],
            "changed_queries": queries,
            "same_file": alike,
            "problems": list(found.problems),
            "next_step": next_step,
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        unlike = UNLIKE.format(theirs=_writer(said), ours=_writer(ours))
        _tell(Console(highlight=False), said, differ, queries, found, ALIKE if alike else unlike, next_step)
    if not holds:
        raise typer.Exit(UNPROVEN if holds is None else 1)


def _held(
    data: bytes,
    said: Mapping[str, Any],
    shown: Sequence[tuple[str, str]],
    made: dict[str, Any],
    queries: Sequence[str],
) -> tuple[list[Change], bool | None]:
    """A file against what would be written now: what changed, and whether it is the same byte for byte; None
    if something changed, so that it can't be."""
    ours = made["carried"]
    same_version = all(said.get(name) == ours[name] for name in ("homeward_report", "version"))
    differ = changes(said, shown, made["facts"], whole=same_version)
    if same_version and not differ:
        differ = beside(said, ours)
    if differ or queries:
        return differ, None
    printed = data.startswith(b"%PDF")
    anew = _rendered(made, printed=printed)
    if anew == data:
        return [], True
    if same_version and not printed:
        differ = hidden(shown, read(anew)[1])
    if same_version and not differ and said.get("written_with") == ours["written_with"]:
        differ = [rewritten()]
    return differ, None if differ else False


def _writer(carried: Mapping[str, Any]) -> str:
    """What a file was written with, in words."""
    others = carried.get("written_with")
    told = others.items() if isinstance(others, Mapping) else ()
    return ", ".join([f"Homeward {carried.get('version')}", *(f"{name} {value}" for name, value in told)])


def _tell(
    console: Console,
    said: dict[str, Any],
    differ: list[Change],
    queries: list[str],
    found: Gathered,
    pages: str,
    next_step: str,
) -> None:
    for item in differ[:SHOWN_CHANGES]:
        console.print(f"  {item}", markup=False, soft_wrap=True)
    if len(differ) > SHOWN_CHANGES:
        console.print(f"  … and {len(differ) - SHOWN_CHANGES} more; --json has all.")
    for name in queries:
        console.print(f"  the query {name} is not the one of this version of Homeward", markup=False)
    for problem in found.problems:
        console.print(f"Not asked: {problem}.", markup=False, soft_wrap=True)
    facts = {item["key"] for item in said["facts"]}
    changed = sum(item.key in facts for item in differ)
    if changed:
        verb = "is" if changed == 1 else "are"
        console.print(f"\n{changed:,} of {len(facts):,} facts {verb} not as the document says.")
    elif differ or queries:
        console.print(f"\nAll {len(facts):,} facts are as the document says, but it is not what it was.")
    else:
        console.print(f"All {len(facts):,} facts are as the document says.")
        console.print(pages, markup=False, soft_wrap=True)
    console.print(f"\nNext: {next_step}", markup=False, soft_wrap=True)


def _next(holds: bool | None, said: Mapping[str, Any]) -> str:
    if holds:
        return "nothing; note the hash of the journal's last entry beside it (`homeward ledger verify`)."
    if holds is None:
        return (
            f"verify it with Homeward {said.get('version')} as it was installed then, or write a new one"
            " beside it: `homeward report`."
        )
    return (
        "`homeward report` writes it anew. Costs at home are known once their pool's period is closed, and"
        " settings may"
        " have changed since; for figures of the past that changed otherwise, `homeward ledger verify`"
        " finds who."
    )
