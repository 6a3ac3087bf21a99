"""`homeward cutover` and `homeward rollback`: the next step home, and the way back."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer
from homeward.shadow.v1 import shadow_pb2

from playbook import completing
from playbook.shadow_client import TIMEOUT_S, shadow
from playbook.shown import tell, tell_json, tell_next
from playbook.standing import document, next_place, place
from services.common.settings import DEFAULT_FILE
from services.common.words import Stage

Workload = Annotated[
    str, typer.Argument(help="The workload that moves.", autocompletion=completing.workloads)
]
Settings = Annotated[Path, typer.Option(metavar="FILE", help="The settings, which say where shadow is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def cutover(
    workload: Workload,
    approve: Annotated[
        bool,
        typer.Option("--approve", help="Approve the next move now; it happens when nothing else keeps it."),
    ] = False,
    as_json: AsJson = False,
    settings: Settings = DEFAULT_FILE,
) -> None:
    """Move a workload one stage on its way home: SHADOWED, CANARY 1, 5, 25, 50 %, HOME.

    It moves if the evidence says READY, the sovereign endpoint has all that the workload uses, and the step
    before lasted long enough; what is missing is told, a line each, and the exit code is 1. --approve gives
    what people must give: if nothing else is missing the workload moves at once, else later and by itself.

    The key is HOMEWARD_API_KEY, or that of `make run`; it needs the scope `approvals`. Each move is a
    decision in the journal, with the key's name and the evidence.

    --json has: moved; policy_version; migration (as `homeward shadow show --json` has it); next_step.
    """
    ask = shadow_pb2.CutOverRequest(request_id=uuid.uuid4().bytes, workload=workload, approve=approve)
    with shadow(settings) as caller:
        done = caller.service.CutOver(ask, timeout=TIMEOUT_S, metadata=caller.metadata)
    if as_json:
        told = {
            "moved": done.moved,
            "policy_version": done.policy_version,
            "migration": document(done.migration),
        }
        tell_json(told, _next(workload, done))
        return
    if done.moved:
        tell(f"{workload} is {place(done.migration)} since policy version {done.policy_version}.")
    else:
        tell(_waits(workload, done))
    tell_next(_next(workload, done))


def rollback(
    workload: Workload,
    reason: Annotated[str, typer.Option(help="Why; it stands in the journal.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
    settings: Settings = DEFAULT_FILE,
) -> None:
    """Send all of a workload's requests back to the cloud, at once.

    One that is there, and only compared, is compared no more.

    Every router has it within a second. Running answers end where they began. The way home begins anew from
    there, with a new epoch of the experiment: `homeward shadow start`.

    The key is HOMEWARD_API_KEY, or that of `make run`; it needs the scope `approvals`.

    --json has: policy_version; migration (as `homeward shadow show --json` has it); next_step.
    """
    if not reason.strip():
        raise typer.BadParameter("say why by --reason: it stands in the journal")
    if not yes:
        typer.confirm(f"All requests of {workload} go back to the cloud now. Go on?", abort=True, err=True)
    ask = shadow_pb2.RollBackRequest(request_id=uuid.uuid4().bytes, workload=workload, reason=reason.strip())
    with shadow(settings) as caller:
        done = caller.service.RollBack(ask, timeout=TIMEOUT_S, metadata=caller.metadata)
    step = (
        f"find the cause; then `homeward shadow start {workload}` begins a new epoch, with half of the error."
    )
    if as_json:
        told = {"policy_version": done.policy_version, "migration": document(done.migration)}
        tell_json(told, step)
        return
    tell(
        f"{workload} is {place(done.migration)} since policy version {done.policy_version}; the cloud answers"
        " all of its requests."
    )
    tell_next(step)


def _next(workload: str, done: shadow_pb2.CutOverResponse) -> str:
    at, after = place(done.migration), next_place(done.migration)
    if not done.moved:
        where = f" to {after}" if after else ""
        return f"nothing to do; it goes{where} by itself. `homeward shadow show {workload}` shows when."
    if at.stage is Stage.HOME or after is None:
        return "`homeward status` watches it; it rolls itself back if the alarm or a breaker says so."
    return (
        f"{after}, once this step has lasted long enough; `homeward shadow show {workload}` shows what keeps"
        f" it. `homeward rollback {workload} --reason TEXT` is the way back."
    )


def _waits(workload: str, done: shadow_pb2.CutOverResponse) -> str:
    blocks = [f"  - {block}" for block in done.migration.blocks]
    kept = ["The move is approved, and waits for:", *blocks] if blocks else ["The move is approved."]
    return "\n".join([f"{workload} is {place(done.migration)}, and has not moved yet.", *kept])
