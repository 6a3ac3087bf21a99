"""`homeward shadow list` and `show`: where workloads stand, what the evidence says, and what keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from homeward.shadow.v1 import shadow_pb2
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from playbook import completing
from playbook.lines import fitted
from playbook.shadow_client import shadow
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.standing import (
    alarm_words,
    document,
    length,
    log_k,
    moment,
    needed,
    next_place,
    percent,
    place,
    sparkline,
    verdict,
    votes,
    waits_for_approval,
    window_s,
)
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE
from services.common.words import Stage

SHOWN_WINDOWS = 20
"""Windows of the table at most, the last ones; --json has all."""
PICTURE_FOLDER = "pictures"
"""In the folder of `make run`."""
LOSSES = {
    "ineligible": "could not be compared",
    "shed": "drawn, and not handed to shadow: no vote",
    "lost": "handed over, and never asked: no vote",
    "late": "not finished when the window closed: a vote, as a failure",
    "failed": "a leg gave no answer: a vote, as a failure",
}
"""What the steps of losses mean."""

Settings = Annotated[Path, typer.Option(metavar="FILE", help="The settings, which say where shadow is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def list_migrations(as_json: AsJson = False, settings: Settings = DEFAULT_FILE) -> None:
    """List the workloads: stage, verdict, evidence, and where each goes next.

    ln K is the evidence against "worse than the margin"; READY needs what stands beside it.

    --json has: policy_version; migrations (as `homeward shadow show --json` has each); next_step.
    """
    with shadow(settings) as caller:
        found = caller.migrations()
    step = "`homeward shadow show WORKLOAD` tells all of one of them."
    if not found.migrations:
        step = "`homeward workload add` registers one, `homeward inventory discover` proposes some."
    if as_json:
        migrations = [document(item) for item in found.migrations]
        tell_json({"policy_version": found.policy_version, "migrations": migrations}, step)
        return
    console = Console(highlight=False)
    if not found.migrations:
        tell("No workload is registered.")
        tell_next(step)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("workload", "stage", "verdict", "votes", "ln K", "needs", "next"):
        right = title in ("votes", "ln K", "needs")
        table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="fold")
    for item in found.migrations:
        compared = item.HasField("experiment")
        strength, after = log_k(item.evidence), next_place(item)
        table.add_row(
            escape(item.policy.workload),
            str(place(item)),
            verdict(item.evidence) if compared else "–",
            f"{votes(item.evidence):,}" if compared else "–",
            "–" if strength is None else f"{strength:.2f}",
            f"{needed(item.experiment):.2f}" if compared else "–",
            str(after) if after else "–",
        )
    console.print(table_or_records(table, console.width))
    tell_next(step)


def show(
    workload: Annotated[str, typer.Argument(help="The workload.", autocompletion=completing.workloads)],
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Where to draw; default: .homeward/pictures/shadow-WORKLOAD.png."
        ),
    ] = None,
    as_json: AsJson = False,
    settings: Settings = DEFAULT_FILE,
) -> None:
    """Show a workload's stage, evidence, controls and losses, and what keeps it from its next stage.

    The picture has the confidence bounds of E[D], how much the sovereign model agrees less with the cloud
    than the cloud does with itself, by window, beside the margin; and ln K beside what READY needs. Two
    controls are drawn thin: the cloud against itself, which must become READY, and degraded answers, which
    never may. Votes, ln K and bounds are those of a window and all before it.

    --json has: workload, stage, sovereign_share_ppm, stage_time, next_stage, next_share_ppm, approved,
    blocks, alerts, experiment, needed_log_k, evidence (verdict, windows), windows_left (at the present pace),
    discordance, controls, log_m (the alarm after the cutover), funnel_today, funnel_epoch, capabilities.
    Null is unknown; next_step. It draws only if --picture is given.
    """
    if picture is not None and picture.suffix.lower() != ".png":
        raise typer.BadParameter(f"{picture}: a picture ends in .png")
    with shadow(settings) as caller:
        item = caller.migration(workload)
        folder = caller.state_dir / PICTURE_FOLDER
    file = picture or folder / f"shadow-{workload}.png"
    drawn = bool(item.evidence.windows) and (picture is not None or not as_json)
    if drawn:
        # matplotlib takes most of a second, which nobody should wait for without a picture.
        from playbook.shadow_pictures import draw_picture

        try:
            draw_picture(item, file)
        except OSError as error:
            raise stopped(
                f"{file} can't be written: {error.strerror or error}", "name another --picture."
            ) from None
    if as_json:
        tell_json(document(item), next_step(item))
        return
    console = Console(highlight=False)
    for part in _page(item):
        if isinstance(part, Table):
            console.print(Padding(table_or_records(part, console.width), (1, 0, 0, 0)))
        else:
            console.print(fitted(part, console.width) if console.is_terminal else part, soft_wrap=True)
    if drawn:
        tell(f"\nPicture: {file}")
    tell_next(next_step(item))


def _page(item: shadow_pb2.Migration) -> Iterable[Any]:
    after = f", then {next_place(item)}" if next_place(item) else ""
    since = moment(item.stage_time)
    yield (
        f"[bold]{escape(item.policy.workload)}[/bold]  {place(item)}"
        + (f" since {since:%Y-%m-%d %H:%M} UTC" if since else "")
        + after
    )
    if not item.HasField("experiment"):
        yield "Nothing compares it."
    else:
        yield from _experiment(item)
    yield from _losses(item)
    yield from _capabilities(item)
    if alarm_words(item):
        yield f"\nAlarm after the cutover: {alarm_words(item)}."
    if item.blocks:
        yield "\nWhat keeps it" + (f" from {next_place(item)}" if next_place(item) else "") + ":"
        yield from (f"  - {escape(block)}" for block in item.blocks)
    if item.approved:
        yield "\nThe next move is approved."
    yield from (f"\n[bold]alert[/bold]: {escape(alert)}" for alert in item.alerts)


def _experiment(item: shadow_pb2.Migration) -> Iterable[Any]:
    one = item.experiment
    strata = f", each {' and '.join(one.strata)} by itself" if one.strata else ""
    yield (
        f"Epoch {one.epoch} by {escape(one.scorer)}: δ {one.margin:g}, α {one.alpha:g}, windows of"
        f" {length(window_s(one))} ({one.min_windows} at least), {percent(one.rate_ppm)} of requests"
        + escape(strata)
    )
    bar, windows = needed(one), item.evidence.windows
    yield ""
    if not windows:
        start = moment(one.start_time)
        when = f"; the first begins {start:%Y-%m-%d %H:%M:%S} UTC" if start else ""
        yield f"[bold]{verdict(item.evidence)}[/bold]: no window has closed yet{when}"
    else:
        last = windows[-1]
        yield (
            f"[bold]{verdict(item.evidence)}[/bold]  {sparkline([each.log_k for each in windows], bar)}"
            f"  ln K {last.log_k:.2f} of {bar:.2f}, {votes(item.evidence):,} votes, E[D] from"
            f" {last.lower_bound:+.3f} to {last.upper_bound:+.3f}"
        )
        yield _table(item)
        if len(windows) > SHOWN_WINDOWS:
            yield f"… and {len(windows) - SHOWN_WINDOWS} windows before; --json has all."
    yield from _controls(item)


def _table(item: shadow_pb2.Migration) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("window (UTC)", "votes", "ln K", "E[D] from", "to", "verdict"):
        left = title in ("window (UTC)", "verdict")
        table.add_column(title, justify="left" if left else "right", no_wrap=True)
    for one in item.evidence.windows[-SHOWN_WINDOWS:]:
        start = moment(one.start_time)
        table.add_row(
            f"{start:%Y-%m-%d %H:%M:%S}" if start else "unknown",
            f"{one.vote_count:,}",
            f"{one.log_k:.3f}",
            f"{one.lower_bound:+.3f}",
            f"{one.upper_bound:+.3f}",
            shadow_pb2.Verdict.Name(one.verdict).removeprefix("VERDICT_"),
        )
    return table


def _controls(item: shadow_pb2.Migration) -> Iterable[str]:
    if not item.controls:
        return
    yield "\nControls, by the same rules:"
    for lane in item.controls:
        found, strength = verdict(lane.evidence), log_k(lane.evidence)
        words = {
            "cloud": "the cloud against itself, must become READY",
            "degraded": "answers to other requests, may never",
        }
        right = found != "READY" if lane.lane == "degraded" else found != "REJECTED"
        mark = "" if right else "  [bold]wrong: trust no verdict of this experiment[/bold]"
        told = "no window yet" if strength is None else f"ln K {strength:.2f}"
        yield f"  {lane.lane:<9} {found}, {told} ({words.get(lane.lane, '')}){mark}"


def _losses(item: shadow_pb2.Migration) -> Iterable[str]:
    for name, funnel in (("today (UTC)", item.funnel_today), ("epoch", item.funnel_epoch)):
        if funnel.eligible_count or funnel.sent_count or funnel.losses:
            yield f"\nFunnel, {name}: {funnel_words(funnel)}"
            yield from (f"  {escape(loss)}" for loss in losses_words(funnel))


def funnel_words(funnel: shadow_pb2.Funnel) -> str:
    """`1,204 eligible → 120 sampled → …`."""
    counts = (
        (funnel.eligible_count, "eligible"),
        (funnel.sampled_count, "sampled"),
        (funnel.sent_count, "sent"),
        (funnel.answered_count, "answered"),
        (funnel.scored_count, "scored"),
    )
    return " → ".join(f"{count:,} {word}" for count, word in counts)


def losses_words(funnel: shadow_pb2.Funnel) -> list[str]:
    """A line a loss, the largest first."""
    return [loss_words(loss.step, loss.reason, loss.count) for loss in _by_size(funnel.losses)]


def loss_words(step: str, reason: str, count: int) -> str:
    """`12 shed, queue (…what that means)`."""
    meaning = f" ({LOSSES[step]})" if step in LOSSES else ""
    return f"{count:,} {step}{': ' + reason if reason else ''}{meaning}"


def _by_size(losses: Iterable[shadow_pb2.Loss]) -> list[shadow_pb2.Loss]:
    return sorted(losses, key=lambda loss: (-loss.count, loss.step, loss.reason))


def _capabilities(item: shadow_pb2.Migration) -> Iterable[str]:
    if not item.capabilities:
        return
    yield "\nWhat the sovereign endpoint was probed for:"
    for found in item.capabilities:
        word = "has it" if found.passed else "[bold]lacks it[/bold]"
        yield f"  {escape(found.name)}: {word}: {escape(found.found)} (needed: {escape(found.needed)})"


def next_step(item: shadow_pb2.Migration) -> str:
    """What to do about a workload."""
    name, at, after = item.policy.workload, place(item), next_place(item)
    if at.stage in (Stage.OBSERVED, Stage.ROLLED_BACK):
        return f"`homeward shadow start {name}` compares it."
    if verdict(item.evidence) == "REJECTED":
        return (
            "another model, prompt or scorer is a new epoch, with half of the error: `homeward shadow start"
            f" {name}`."
        )
    if at.stage is Stage.HOME or after is None:
        return f"`homeward status` watches it; `homeward rollback {name} --reason TEXT` is the way back."
    if waits_for_approval(item):
        return f"`homeward cutover {name} --approve`: only people keep it from {after}."
    if verdict(item.evidence) == "READY":
        return f"wait, it goes to {after} by itself; `homeward cutover {name}` says what keeps it."
    if not item.evidence.windows:
        return f"let its requests come; `homeward shadow funnel {name}` shows how far they get."
    return (
        f"wait, the evidence grows by itself; `homeward shadow funnel {name}` shows what is lost on the way."
    )
