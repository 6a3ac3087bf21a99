"""What the commands say when a service does not answer, or refuses."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import grpc
import typer
from grpc.aio import AioRpcError

from playbook.known import did_you_mean, workloads
from playbook.stopped import ASK_DOCTOR, stopped
from services.common.errors import DomainError, Reason
from services.common.interceptors import refusal

API_KEY = "HOMEWARD_API_KEY"
"""Environment variable with the key of who asks."""
NEWER = "start the service of this version; it is of an older one."


def refused(error: grpc.RpcError, name: str, address: str, settings: Path, late: str) -> typer.Exit:
    """Tells what went wrong with a call; raise what it gives.

    Args:
        error: of the call.
        name: of the service.
        address: where it was asked.
        settings: the file that said so.
        late: what to do if it did not answer in time.
    """
    # `refusal` reads the trailing metadata, which both kinds of error have.
    found = refusal(cast(AioRpcError, error))
    if found is not None:
        return _told(found, settings)
    code, details = error.code(), " ".join((error.details() or "").split())
    if code is grpc.StatusCode.UNAVAILABLE:
        step = (
            f"start everything with `make run`, or it alone with `python -m services.{name} {settings}`;"
            " if it runs elsewhere, correct its address in the settings."
        )
        return stopped(f"no {name} answers at {address}", step, reason="SERVICE_DOWN")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"{name} at {address} did not answer in time"
        return stopped(message, late, reason=Reason.REQUEST_TIMEOUT)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return stopped(f"{name} at {address} can't do that ({details})", NEWER, reason=Reason.NOT_AVAILABLE)
    return stopped(details or code.name)


def no_workload(name: str, settings: Path) -> typer.Exit:
    """Tells that there is no such workload, and which might be meant; raise what it gives."""
    names = workloads(settings)
    if name in names:
        return stopped(
            f"{name!r} has a name, but no policy: only workloads with a section in the settings that the"
            " services were started with are compared and move",
            f"give it a section [workloads.{name}] in {settings}, with its system_prompts or examples, and"
            " restart the services.",
            reason=Reason.WORKLOAD_NOT_FOUND,
        )
    near = did_you_mean(name, names)
    return stopped(
        f"no workload {name!r} is registered{near}",
        "`homeward workload list` shows those that there are; `homeward workload add` registers one.",
        reason=Reason.WORKLOAD_NOT_FOUND,
    )


def _told(error: DomainError, settings: Path) -> typer.Exit:
    workload = error.metadata.get("workload", "")
    if error.reason is Reason.WORKLOAD_NOT_FOUND and workload:
        return no_workload(workload, settings)
    text = error.metadata.get("blocks", "")
    blocks = [part.strip() for part in text.split("\n" if "\n" in text else ";") if part.strip()]
    # What blocks is in the message too, all in one line.
    told, same = " ".join(error.message.split()), " ".join(text.split())
    head = told.removesuffix(same).rstrip(" :") if same else told
    return stopped(head, _step(error.reason, workload), reason=error.reason, details=blocks)


def _step(reason: Reason, workload: str) -> str:
    which = workload or "WORKLOAD"
    if reason is Reason.MOVE_BLOCKED:
        return f"`homeward shadow show {which}` shows how far it is."
    if reason is Reason.APPROVAL_FORBIDDEN or reason.startswith("KEY_"):
        return (
            f'set {API_KEY} to a key that may: scopes = ["approvals"] in its [keys.NAME], and among the'
            " workload's approvers if it has some."
        )
    if reason is Reason.PURPOSE_FORBIDDEN:
        return f'set {API_KEY} to a key that may: scopes = ["experiments"] in its [keys.NAME].'
    if reason is Reason.STAGE_MOVE_FORBIDDEN:
        return f"`homeward shadow show {which}` shows where it stands."
    if reason is Reason.POLICY_CHANGED:
        return "the same command again: somebody else moved something meanwhile."
    if reason in (Reason.EXPERIMENT_FIXED, Reason.EXPERIMENT_NOT_FOUND):
        return f"`homeward shadow show {which}` shows how it is compared."
    if reason is Reason.WORKLOAD_IN_SETTINGS:
        return "change it in homeward.toml, and restart classifier and router."
    if reason in (Reason.WORKLOAD_AMBIGUOUS, Reason.WORKLOAD_WORSENS):
        return "`homeward workload list` shows the others; give examples that tell it from them."
    if reason is Reason.NOT_AVAILABLE:
        return NEWER
    if reason is Reason.INVALID_REQUEST:
        return "correct it, and run the command again; --help says what it takes."
    return ASK_DOCTOR
