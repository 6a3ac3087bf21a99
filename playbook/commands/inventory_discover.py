"""`homeward inventory discover`: what the unnamed traffic could be, and how one of it gets a name."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from homeward.classifier.v1 import classifier_pb2
from homeward.common.v1 import workload_pb2
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook import completing
from playbook.classifier_client import TIMEOUT_S, classifier
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE, MIN_EXAMPLES, TaskTypeName
from services.common.words import QualitySensitivity, TaskType, label

SHOWN_SAMPLES = 2
"""Samples below each proposal; --json has all."""
SAMPLE_CHARS = 160
BAR_CELLS = 8
"""Of the bar that stands for the whole spend on unnamed requests."""
SHOWN_KEYS = 3
_DECLARED_BY = "x-homeward-workload"

Proposals = Sequence[classifier_pb2.Proposal]


def discover(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Proposals at most.")] = 20,
    register: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="Register this proposal: its number, or its name, which more traffic moves less.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Another name than the proposed one.")] = None,
    owner: Annotated[str | None, typer.Option(help="The person or team that answers for it.")] = None,
    data_class: Annotated[
        str | None,
        typer.Option(
            help="One of the settings' data classes, or `unrestricted`: where its requests may run.",
            autocompletion=completing.data_classes,
        ),
    ] = None,
    task_type: Annotated[
        TaskTypeName | None,
        typer.Option(metavar="TYPE", help="Another kind of work than the proposed one."),
    ] = None,
    quality_sensitivity: Annotated[
        Literal["low", "medium", "high"] | None, typer.Option(help="How much a worse answer would cost.")
    ] = None,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where the classifier is.")
    ] = DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Propose workloads for unnamed traffic, the largest share of spend first, and register one of them.

    --json has: proposals, of each the number, name, task_type, request_count, spend_share (0 to 1; null is
    unknown), rests_on (fixed parts or meaning), fingerprints and examples (how many), registrable, key_names
    and sample_prompts. With --register: registered; name; version; table_version; held_out_count,
    right_before and right_after. Both have next_step.
    """
    given = {
        "--name": name,
        "--owner": owner,
        "--data-class": data_class,
        "--task-type": task_type,
        "--quality-sensitivity": quality_sensitivity,
    }
    if register is None and any(given.values()):
        raise typer.BadParameter(f"{_listed([key for key in given if given[key]])} only goes with --register")
    missing = [key for key in ("--owner", "--data-class", "--quality-sensitivity") if not given[key]]
    if register is not None and missing:
        raise typer.BadParameter(f"--register needs {_listed(missing)} too: nobody but you knows")
    with classifier(settings) as service:
        ask = classifier_pb2.DiscoverWorkloadsRequest(max_proposals=limit)
        proposals = service.DiscoverWorkloads(ask, timeout=TIMEOUT_S).proposals
        if register is None:
            _show(proposals, as_json)
            return
        chosen = _chosen(proposals, register)
        workload = workload_pb2.Workload(
            name=name or chosen.workload.name,
            owner=owner or "",
            data_class=data_class or "",
            task_type=workload_pb2.TaskType.ValueType(TaskType[task_type.upper()])
            if task_type
            else chosen.workload.task_type,
            quality_sensitivity=workload_pb2.QualitySensitivity.ValueType(
                QualitySensitivity[(quality_sensitivity or "").upper()]
            ),
            fingerprints=chosen.workload.fingerprints,
        )
        if not workload.task_type:
            raise typer.BadParameter("its requests do not agree in a kind of work: give --task-type")
        known = service.ListWorkloads(classifier_pb2.ListWorkloadsRequest(), timeout=TIMEOUT_S)
        # It would replace that one's examples and fixed parts as a whole.
        if workload.name in {item.name for item in known.workloads}:
            raise stopped(
                f"{workload.name!r} is registered already",
                "give another --name, or make a new version of it with"
                f" `homeward workload add {workload.name}`.",
            )
        done = service.RegisterWorkload(
            classifier_pb2.RegisterWorkloadRequest(
                request_id=uuid.uuid4().bytes, workload=workload, examples=_examples(chosen)
            ),
            timeout=TIMEOUT_S,
        )
    _tell(done, chosen, as_json)


def _chosen(proposals: Proposals, which: str) -> classifier_pb2.Proposal:
    """The proposal of that number or name, if it can be registered."""
    by_name = {item.workload.name: item for item in proposals}
    number = int(which) if which.isdecimal() else 0
    chosen = by_name.get(which) or (proposals[number - 1] if 0 < number <= len(proposals) else None)
    if chosen is None:
        raise stopped(
            f"there is no proposal {which!r}; there are {len(proposals)} now",
            "`homeward inventory discover` lists them (numbers move with the traffic, names less).",
        )
    if not _registrable(chosen):
        raise stopped(
            f"{chosen.workload.name!r} has neither fixed parts nor {MIN_EXAMPLES} examples, so nothing would"
            " name its requests",
            "give some of your own with `homeward workload add --examples FILE.jsonl`, or set [classifier]"
            " keep_unnamed_prompts = true and wait for new traffic.",
        )
    return chosen


def _registrable(item: classifier_pb2.Proposal) -> bool:
    return bool(item.workload.fingerprints or _examples(item))


def _examples(item: classifier_pb2.Proposal) -> Sequence[classifier_pb2.ClassifyRequest]:
    """Its examples; none if there are too few to be registered, where fixed parts name it alone."""
    return item.examples if len(item.examples) >= MIN_EXAMPLES else ()


def _rests_on(item: classifier_pb2.Proposal) -> str:
    return "fixed parts" if item.workload.fingerprints else "meaning"


def _show(proposals: Proposals, as_json: bool) -> None:
    if as_json:
        rows = [_document(number, item) for number, item in enumerate(proposals, 1)]
        tell_json({"proposals": rows}, _next(proposals))
        return
    if not proposals:
        tell("Nothing to propose: too few unnamed requests are alike.")
        tell_next(_next(proposals))
        return
    console = Console()
    console.print(table_or_records(_table(proposals), console.width))
    samples = [(number, item) for number, item in enumerate(proposals, 1) if item.sample_prompts]
    for number, item in samples:
        console.print(f"\n{number}. [bold]{_plain(item.workload.name)}[/bold]", highlight=False)
        for text in item.sample_prompts[:SHOWN_SAMPLES]:
            console.print(f"   “{_plain(text, SAMPLE_CHARS)}”", highlight=False, soft_wrap=True)
    tell("")
    for remark in _remarks(proposals):
        tell(remark)
    tell_next(_next(proposals))


def _remarks(proposals: Proposals) -> list[str]:
    """What the table can't say by itself."""
    remarks = []
    unknown = sum(not item.HasField("spend_share") for item in proposals)
    if unknown:
        whose = "every proposal" if unknown == len(proposals) else f"{unknown} of {len(proposals)} proposals"
        remarks.append(
            f"The share of spend of {whose} is unknown: a price is missing, a leg has not been booked yet, or"
            " ClickHouse is away. Those stand in the order of their requests."
        )
    if not any(item.sample_prompts for item in proposals):
        remarks.append(
            "There are no samples: texts of unnamed requests are not kept. With [classifier]"
            " keep_unnamed_prompts = true they are, from then on."
        )
    stuck = [str(place) for place, item in enumerate(proposals, 1) if not _registrable(item)]
    if stuck:
        remarks.append(
            f"Proposals without fixed parts and examples can't be registered from here: {', '.join(stuck)}."
            " `homeward workload add --examples FILE.jsonl` takes examples of your own."
        )
    return remarks


def _next(proposals: Proposals) -> str:
    if not proposals:
        return (
            "send traffic through the router and ask again; `homeward status` tells how much of it has no"
            " name."
        )
    first = next((item for item in proposals if _registrable(item)), None)
    if first is None:
        return "`homeward workload add NAME --examples FILE.jsonl …` with requests of the application's own."
    return (
        f"`homeward inventory discover --register {first.workload.name} --owner O --data-class C"
        " --quality-sensitivity Q` gives the first of them its name."
    )


def _table(proposals: Proposals) -> Table:
    table = Table(
        title="Workloads that the unnamed traffic suggests",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for title in ("#", "name", "task type", "requests", "share of unnamed spend", "keys", "rests on"):
        is_number = title in ("#", "requests")
        # In a narrow window these take more lines, so that the names stay whole.
        folds = title in ("task type", "share of unnamed spend", "keys", "rests on")
        table.add_column(
            title,
            justify="right" if is_number else "left",
            no_wrap=not folds,
            min_width=BAR_CELLS if folds else None,
            overflow="fold",
        )
    for number, item in enumerate(proposals, 1):
        table.add_row(
            str(number),
            _plain(item.workload.name),
            label(TaskType(item.workload.task_type)) or "–",
            f"{item.request_count:,}",
            _bar(item.spend_share) if item.HasField("spend_share") else "unknown",
            _keys(item.key_names) or "–",
            _rests_on(item),
        )
    return table


def _bar(share: float) -> str:
    """`██████▌  81 %`, with half cells."""
    halves = min(2 * BAR_CELLS, max(0, round(2 * BAR_CELLS * share)))
    bar = "█" * (halves // 2) + "▌" * (halves % 2)
    return f"{bar:<{BAR_CELLS}} {share:.0%}"


def _keys(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_KEYS
    return ", ".join(map(_plain, names[:SHOWN_KEYS])) + (f" and {more} more" if more > 0 else "")


def _plain(text: str, most: int = 100) -> str:
    """Text of others on one line: no markup, and no control characters, which a terminal would obey."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return escape(line if len(line) <= most else f"{line[: most - 1]}…")


def _listed(options: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(options[:-1]), options[-1])))


def _document(number: int, item: classifier_pb2.Proposal) -> dict[str, object]:
    return {
        "number": number,
        "name": item.workload.name,
        "task_type": label(TaskType(item.workload.task_type)),
        "request_count": item.request_count,
        "spend_share": item.spend_share if item.HasField("spend_share") else None,
        "rests_on": _rests_on(item),
        "fingerprints": len(item.workload.fingerprints),
        "examples": len(item.examples),
        "registrable": _registrable(item),
        "key_names": list(item.key_names),
        "sample_prompts": list(item.sample_prompts),
    }


def _tell(
    done: classifier_pb2.RegisterWorkloadResponse, chosen: classifier_pb2.Proposal, as_json: bool
) -> None:
    figures = {
        "table_version": done.table_version,
        "held_out_count": done.held_out_count,
        "right_before": done.right_before,
        "right_after": done.right_after,
    }
    name = done.workload.name
    step = f"its next requests get the header `{_DECLARED_BY}: {name}`; `homeward status` counts them."
    if as_json:
        tell_json({"registered": True, "name": name, "version": done.workload.version, **figures}, step)
        return
    tell(
        f"Registered {name}, version {done.workload.version}, with {len(_examples(chosen))} examples and"
        f" {len(done.workload.fingerprints)} fixed parts, for {chosen.request_count:,} unnamed requests."
    )
    if done.held_out_count:
        tell(
            f"Of the {done.held_out_count} held-out examples of all workloads {done.right_after} are named"
            f" rightly; without {name} it was {done.right_before}."
        )
    else:
        tell("No workload has examples, so there was nothing to try it on.")
    tell_next(step)
