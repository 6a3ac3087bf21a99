"""`homeward shadow start`: fix how a workload is compared, and begin."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import grpc
import typer
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.shadow.v1 import shadow_pb2
from rich.console import Console
from rich.markup import escape

from playbook import completing
from playbook.configured import Places, configured, wrong_settings
from playbook.cycles import Cycle, windows_of
from playbook.known import did_you_mean
from playbook.outlook import Outlook, document, outlook, words
from playbook.replay import duration_us
from playbook.shadow_client import TIMEOUT_S, Caller, shadow
from playbook.shown import tell, tell_json, tell_next
from playbook.standing import experiment_document, length, moment, needed, percent, place, seconds, window_s
from playbook.stopped import stopped
from services.common.errors import Reason
from services.common.sampling import PPM
from services.common.settings import DEFAULT_FILE, Name, SettingsError, Workload
from services.common.words import Stage, TaskType, label
from services.shadow.core.experiment import ATTRIBUTES
from services.shadow.core.scorers.judge import FORM
from services.shadow.core.scorers.registry import DEFAULT_SCORERS, SCORER_NAMES
from services.shadow.core.verdict import Rules

REGISTRY_TIMEOUT_S = 2.0
"""Longest wait for the classifier, which knows the task types of registered workloads."""
NANOS = 10**9

MARGIN, ALPHA, RATE, REVERSE_RATE, WATERMARK = 0.02, 0.05, 0.1, 0.01, "1h"


class _Config(Places):
    """What the command must know of the settings."""

    workloads: dict[Name, Workload] = {}


def start(
    workload: Annotated[
        str, typer.Argument(help="The workload that is compared.", autocompletion=completing.workloads)
    ],
    scorer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completing.scorers,
            help=f"What tells how far answers agree; default: by the workload's task type. {FORM}: a judge.",
        ),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help=f"δ: the largest gap that counts as parity; default: {MARGIN}.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help=f"The error over all epochs together; default: {ALPHA}.")
    ] = None,
    cycle: Annotated[
        Cycle | None,
        typer.Option(help="What the traffic repeats by; a window must span it. Default: week."),
    ] = None,
    window: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="30s, 15m, 1h, 7d; default: the cycle's.")
    ] = None,
    watermark: Annotated[
        str | None,
        typer.Option(metavar="LENGTH", help=f"How long late answers are waited for; default: {WATERMARK}."),
    ] = None,
    min_windows: Annotated[
        int | None, typer.Option(help="Closed windows that a verdict needs; default: those of two weeks.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, max=1, help=f"Share of requests that is sampled; default: {RATE}.")
    ] = None,
    reverse_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=f"The same once the workload is at home; default: {REVERSE_RATE}."),
    ] = None,
    cap_usd: Annotated[
        float | None, typer.Option(min=0, help="What its legs may cost a day; default: no cap of its own.")
    ] = None,
    cluster_by: Annotated[
        Literal["conversation", "tenant"] | None,
        typer.Option(help="Requests that are one vote, beside duplicates; default: conversation."),
    ] = None,
    stratum: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTRIBUTE",
            autocompletion=completing.attributes,
            help=f"Each of its values must pass: {', '.join(ATTRIBUTES)}. May be repeated.",
        ),
    ] = None,
    stratum_value: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="A value that must pass; others are one more. May be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; needs --yes.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Compare a workload: a sample of its requests is answered at home and twice in the cloud, and scored.

    Applications notice nothing. How it is compared is fixed before the first sample, since whoever may choose
    afterwards finds what they look for. δ and α hold for all epochs; anything else can be changed by a new
    epoch, which has half of the error that is left. In a later epoch, what is not named is as before.

    A window must span what the traffic repeats by, or the promise of α does not hold: docs/verdict.md shows
    by how much. It says `week` of office work, `day` of what is the same on all weekdays, `none` of what has
    no rhythm (a batch, a demonstration); then --window must be given.

    First it forecasts how long that takes, from the last 7 days' volume and the discordance measured so far
    (the mean square of D; where each D is -1, 0 or 1, the share that is not 0), or a guess of it.

    --json has: experiment; forecast (requests_per_day, votes_per_window, discordance, discordance_measured,
    windows and days: median, p80, p95); fleet (workloads: compared or at home, this one included; alpha_each:
    the α of each for a promise over all of them); null is unknown; next_step.
    """
    if as_json and not yes:
        raise typer.BadParameter("--json needs --yes: nobody would see what is asked")
    config = configured(_Config, settings)
    with shadow(settings) as caller:
        last = _last(caller, workload)
        wanted = shadow_pb2.Experiment(
            workload=workload,
            scorer=scorer or (last.scorer if last else _default_scorer(workload, config)),
            margin=_chosen(margin, last and last.margin, MARGIN),
            alpha=_chosen(alpha, last and last.alpha, ALPHA),
            rate_ppm=round(_chosen(rate, last and last.rate_ppm / PPM, RATE) * PPM),
            reverse_rate_ppm=round(
                _chosen(reverse_rate, last and last.reverse_rate_ppm / PPM, REVERSE_RATE) * PPM
            ),
            daily_cost_cap_nanos=round(
                _chosen(cap_usd, last and last.daily_cost_cap_nanos / NANOS, 0) * NANOS
            ),
            cluster_by=cluster_by or (last.cluster_by if last else "conversation"),
            strata=stratum if stratum is not None else (last.strata if last else ()),
            stratum_values=stratum_value
            if stratum_value is not None
            else (last.stratum_values if last else ()),
            epoch=last.epoch + 1 if last else 1,
        )
        _set_windows(wanted, last, cycle, window, watermark, min_windows)
        _check(wanted)
        try:
            awaits = outlook(wanted, _discordance(caller, wanted), settings)
        except SettingsError as error:
            raise wrong_settings(error, settings) from None
        compared = _compared(caller, workload)
        if not as_json:
            _print(wanted, awaits, compared)
        if not yes:
            typer.confirm("\nRegister it and begin?", abort=True, err=True)
        ask = shadow_pb2.RegisterExperimentRequest(request_id=uuid.uuid4().bytes)
        ask.experiment.CopyFrom(wanted)
        done = caller.service.RegisterExperiment(ask, timeout=TIMEOUT_S, metadata=caller.metadata).experiment
    step = (
        f"let its requests come. `homeward shadow funnel {workload}` shows how far they get,"
        f" `homeward shadow show {workload}` what they say."
    )
    if as_json:
        told = {
            "experiment": experiment_document(done),
            "forecast": document(awaits, done),
            "fleet": {"workloads": compared + 1, "alpha_each": done.alpha / (compared + 1)},
        }
        tell_json(told, step)
        return
    begin = moment(done.start_time)
    when = f" from {begin:%Y-%m-%d %H:%M:%S} UTC, the start of a whole window" if begin else ""
    tell(f"\nRegistered: epoch {done.epoch}, whose votes count{when}.")
    tell_next(step)


def _chosen(given: float | None, before: float | None, default: float) -> float:
    if given is not None:
        return given
    return default if before is None else before


def _last(caller: Caller, workload: str) -> shadow_pb2.Experiment | None:
    """The workload's epoch so far."""
    found = caller.service.ListExperiments(
        shadow_pb2.ListExperimentsRequest(workload=workload), timeout=TIMEOUT_S
    )
    return max(found.experiments, key=lambda item: item.epoch, default=None)


def _default_scorer(workload: str, config: _Config) -> str:
    """By the workload's task type; without one that has a scorer, the user must choose."""
    kinds = {name: item.task_type or "" for name, item in config.workloads.items()} | _registered(config)
    if workload not in kinds:
        known = ", ".join(sorted(kinds)) or "none"
        raise stopped(
            f"no workload {workload!r} is registered (there are: {known}){did_you_mean(workload, kinds)}",
            "`homeward workload add`, or name a --scorer if it is only declared by its requests.",
            reason=Reason.WORKLOAD_NOT_FOUND,
        )
    found = DEFAULT_SCORERS.get(kinds[workload])
    if found is None:
        kind = kinds[workload] or "unknown"
        raise stopped(
            f"the task type of {workload} is {kind}, which has no scorer of its own: two right answers may"
            " share nothing",
            f"name one by --scorer: {FORM} (a model of the router's that serves neither arm, as a judge),"
            f" {', '.join(SCORER_NAMES)}.",
        )
    return found


def _registered(config: _Config) -> dict[str, str]:
    """Task types by registered name; none if the classifier does not answer."""
    with grpc.insecure_channel(config.classifier.grpc) as channel:
        try:
            found = classifier_pb2_grpc.ClassifierServiceStub(channel).ListWorkloads(
                classifier_pb2.ListWorkloadsRequest(), timeout=REGISTRY_TIMEOUT_S
            )
        except grpc.RpcError:
            return {}
    return {item.name: label(TaskType(item.task_type)) for item in found.workloads}


def _set_windows(
    wanted: shadow_pb2.Experiment,
    last: shadow_pb2.Experiment | None,
    cycle: Cycle | None,
    window: str | None,
    watermark: str | None,
    min_windows: int | None,
) -> None:
    """Length and number of windows; one that does not span the cycle is refused."""
    try:
        if last is not None and cycle is None and window is None:
            length_us, least = last.window.ToMicroseconds(), int(last.min_windows)
        else:
            length_us, least = windows_of(cycle or "week", window)
        if watermark is None and last is not None:
            late_us = last.watermark.ToMicroseconds()
        else:
            late_us = duration_us(watermark or WATERMARK)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    wanted.window.FromMicroseconds(length_us)
    wanted.watermark.FromMicroseconds(late_us)
    wanted.min_windows = least if min_windows is None else min_windows


def _check(wanted: shadow_pb2.Experiment) -> None:
    try:
        Rules(
            wanted.margin,
            wanted.alpha,
            wanted.window.ToMicroseconds(),
            wanted.watermark.ToMicroseconds(),
            wanted.min_windows,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not wanted.rate_ppm:
        raise typer.BadParameter("--rate must be above 0: without samples there is no verdict")
    strange = sorted(set(wanted.strata) - set(ATTRIBUTES))
    if strange:
        raise typer.BadParameter(f"--stratum {strange[0]}: there are {', '.join(ATTRIBUTES)}")
    if wanted.stratum_values and not wanted.strata:
        raise typer.BadParameter("--stratum-value needs a --stratum")


def _discordance(caller: Caller, wanted: shadow_pb2.Experiment) -> float | None:
    """As measured with the same scorer in the epoch so far; None without votes."""
    for item in caller.migrations(wanted.workload).migrations:
        same = item.policy.workload == wanted.workload and item.experiment.scorer == wanted.scorer
        if same and item.HasField("discordance"):
            return item.discordance
    return None


def _compared(caller: Caller, workload: str) -> int:
    """How many other workloads have a verdict to come, or went home by one."""
    return sum(
        item.policy.workload != workload and place(item).stage not in (Stage.OBSERVED, Stage.ROLLED_BACK)
        for item in caller.migrations().migrations
    )


def _print(wanted: shadow_pb2.Experiment, awaits: Outlook, compared: int) -> None:
    console = Console(highlight=False)
    cap = wanted.daily_cost_cap_nanos / NANOS
    strata = "all requests together"
    if wanted.strata:
        values = ", ".join(wanted.stratum_values) or "whatever occurs"
        strata = f"each {' and '.join(wanted.strata)} must pass: {values}"
    console.print(f"[bold]{escape(wanted.workload)}[/bold], epoch {wanted.epoch}. Fixed for good:")
    _lines(
        console,
        ("margin δ", f"{wanted.margin:g}: READY says that the sovereign model is worse by less"),
        ("error α", f"{wanted.alpha:g} over all epochs; ln K must reach {needed(wanted):.2f} in this one"),
    )
    if compared:
        others = "1 other workload is" if compared == 1 else f"{compared} other workloads are"
        console.print(
            f"  That is of this workload alone. {others} compared or at home: a promise of {wanted.alpha:g}"
            f" over all {compared + 1} needs --alpha {wanted.alpha / (compared + 1):.2g} for each of them.",
            soft_wrap=True,
        )
    console.print("Fixed for this epoch; a change is a new one, with half of the error that is left:")
    _lines(
        console,
        ("scorer", wanted.scorer),
        ("windows", f"{length(window_s(wanted))} each, {wanted.min_windows} at least"),
        ("watermark", f"{length(seconds(wanted.watermark))} after a window for late answers"),
        ("sample", f"{percent(wanted.rate_ppm)} of requests; {percent(wanted.reverse_rate_ppm)} at home"),
        ("cap", f"${cap:,.2f} a day" if cap else "none but the budgets"),
        ("one vote", f"duplicates, and requests of one {wanted.cluster_by} in a window"),
        ("strata", strata),
    )
    begin, wait = _first_window(window_s(wanted))
    _lines(console, ("begins", f"{begin:%Y-%m-%d %H:%M:%S} UTC, in {length(wait)}: windows are whole"))
    console.print(escape(words(awaits, wanted)), soft_wrap=True)


def _lines(console: Console, *lines: tuple[str, str]) -> None:
    for name, text in lines:
        console.print(f"  {name:<10} {escape(text)}")


def _first_window(length_s: float) -> tuple[datetime, float]:
    """When the next window begins, and in how many seconds."""
    now = datetime.now(UTC)
    wait = -now.timestamp() % length_s
    return now + timedelta(seconds=wait), wait
