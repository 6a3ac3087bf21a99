"""`homeward shadow examples`: the worst disagreements of a workload with their texts, for people to judge."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from homeward.shadow.v1 import shadow_pb2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from playbook import completing
from playbook.disagreements import Piece, document, left_out, marked
from playbook.shadow_client import TIMEOUT_S, Caller, shadow
from playbook.shown import tell, tell_json, tell_next
from playbook.state_files import text_in
from services.common.settings import DEFAULT_FILE

MARK = "bold underline"
"""Of words that only one answer has, on a terminal; elsewhere they stand in «»."""


def examples(
    workload: Annotated[str, typer.Argument(help="The workload.", autocompletion=completing.workloads)],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most, the worst first.")] = 5,
    epoch: Annotated[
        int, typer.Option(min=0, help="One epoch of its experiment; 0: all.", show_default=False)
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where shadow is.")
    ] = DEFAULT_FILE,
) -> None:
    """Show the samples on which the model at home and the cloud disagreed most, with what was said.

    D is how much the model at home agrees less with the cloud than the cloud does with itself; those with the
    lowest D come first, one of each conversation. Words that only one of the two answers has are marked.
    Texts are kept only where the data class of the workload has keep_examples_days in the settings, and are
    deleted after so many days.

    The key is HOMEWARD_API_KEY, or that of `make run`; it needs the scope `experiments`.

    --json has: workload; data_class; keep_days (0: none are kept); examples (sample_id, experiment_id, epoch,
    workload, lane, scorer, difference, agreement_sovereign, agreement_noise, reason, trace_id, request_time,
    keep_time, expire_time, texts, texts_sha256, delete_time, delete_reason). texts has turns, turns_left_out,
    cloud, sovereign and salt; `jq -cSj '.examples[0].texts' | sha256sum` is its hash.
    """
    with shadow(settings) as caller:
        found = caller.service.ListExamples(
            shadow_pb2.ListExamplesRequest(workload=workload, epoch=epoch, page_size=limit),
            timeout=TIMEOUT_S,
            metadata=caller.metadata,
        )
        if not found.data_class and not found.examples:
            caller.migration(workload)
        traces = _traces_url(caller)
    told = [document(item) for item in found.examples]
    step = _next(workload, found)
    if as_json:
        whole = {
            "workload": workload,
            "data_class": found.data_class,
            "keep_days": found.keep_days,
            "examples": told,
        }
        tell_json(whole, step)
        return
    if not told:
        _tell_none(workload, found)
        tell_next(step)
        return
    console = Console(highlight=False)
    for number, item in enumerate(told, 1):
        _print(console, number, item, traces)
    tell_next(step)


def _next(workload: str, found: shadow_pb2.ListExamplesResponse) -> str:
    if found.examples:
        days = f"{found.keep_days} day{'' if found.keep_days == 1 else 's'}"
        return (
            f"`homeward shadow show {workload}` shows what all samples say together; these are its worst, and"
            f" their texts are deleted {days} after they were scored."
        )
    if not found.keep_days:
        return (
            f"if the law lets you, {kept_by(found.data_class)}, and restart shadow. That changes what is kept"
            " from then on; what was scored before stays deleted."
        )
    return f"let its requests come; `homeward shadow funnel {workload}` shows how far they get."


def kept_by(data_class: str) -> str:
    """What of the settings would keep examples."""
    if data_class in ("", "unrestricted"):
        return "give it in homeward.toml a data class of its own, with keep_examples_days in its section"
    return f"set keep_examples_days in [data_classes.{data_class}] of homeward.toml"


def _tell_none(workload: str, found: shadow_pb2.ListExamplesResponse) -> None:
    if not found.keep_days:
        which = f"data class {found.data_class}" if found.data_class else "data class, which shadow lacks,"
        tell(f"No texts of {workload} are kept: its {which} keeps none.")
        return
    tell(
        f"No disagreement of {workload} is kept: none was scored since its data class {found.data_class}"
        f" keeps them, or it is over {found.keep_days} days ago."
    )


def _print(console: Console, number: int, item: dict[str, Any], traces: str) -> None:
    asked = datetime.fromisoformat(item["request_time"])
    after = ", sampled after the cutover" if item["lane"] else ""
    tell(
        f"{'' if number == 1 else chr(10)}{number}.  D {item['difference']:+.3f}: the model at home agrees"
        f" with the cloud {item['agreement_sovereign']:.3f}, the cloud with itself"
        f" {item['agreement_noise']:.3f} ({item['scorer']}, epoch {item['epoch']}{after})"
        + (f"; {item['reason']}" if item["reason"] else "")
    )
    tell(f"    {asked:%Y-%m-%d %H:%M:%S} UTC, sample {item['sample_id']}")
    if item["trace_id"]:
        tell(f"    {traces}#{item['trace_id']}" if traces else f"    trace {item['trace_id']}")
    texts = item["texts"]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for turn in texts["turns"]:
        grid.add_row(f"    {turn['speaker']}", _whole([(turn["text"], False)], turn, console))
    if texts["turns_left_out"]:
        grid.add_row("", Text(f"… {texts['turns_left_out']} more of the request's turns", style="dim"))
    cloud, home = marked(texts["cloud"]["text"], texts["sovereign"]["text"])
    grid.add_row("    in the cloud", _whole(cloud, texts["cloud"], console))
    grid.add_row("    at home", _whole(home, texts["sovereign"], console))
    console.print()
    console.print(grid)


def _whole(pieces: Iterable[Piece], turn: dict[str, Any], console: Console) -> Text:
    """A text with its marks; what is empty, or cut, says so."""
    made = Text()
    for piece, differs in pieces:
        clean = "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in piece)
        if differs:
            made.append(clean if console.is_terminal else f"«{clean}»", MARK)
        else:
            made.append(clean)
    more = left_out(turn)
    if more or not made.plain:
        made.append(f"{' ' if made.plain else ''}{more or 'nothing'}", "dim")
    return made


def _traces_url(caller: Caller) -> str:
    """Where traces are shown; empty if `make run` does not serve them."""
    return text_in(caller.state_dir / "endpoints.json", "traces_url")
