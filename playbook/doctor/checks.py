"""What the facts about settings, machines, disks and clocks mean, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbook.doctor.facts import Clock, Disk, Machine
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits
from playbook.doctor.words import size, span

MACHINE = "this machine"
PYTHON = (3, 11)
"""As pyproject.toml asks for."""


@dataclass(frozen=True, slots=True)
class Here:
    """What this command is."""

    version: str
    contract: str
    settings: str
    """The file, as commands name it."""


def settings(
    mistakes: Sequence[str], dangers: Sequence[Mapping[str, str]], file: str, *, exists: bool = True
) -> list[Finding]:
    """Mistakes in the file, and what is legal but dangerous (`check`, `found`, `todo` of each)."""
    if mistakes:
        todo = (
            f"correct it; `homeward settings check {file}` tells every mistake"
            if exists
            else "go to the folder that has it, or name it by --settings FILE"
        )
        return [Finding("settings", "right", State.FAILED, line, todo) for line in mistakes]
    told = [Finding("settings", "right", State.OK, f"{file}: every section can be read")]
    told += [
        Finding("settings", item["check"], State.WARNING, item["found"], item["todo"]) for item in dangers
    ]
    if not dangers:
        told.append(Finding("settings", "dangers", State.OK, "none found"))
    return told


def machine(found: Machine, limits: Limits) -> list[Finding]:
    """Where the command runs."""
    version = ".".join(map(str, found.python))
    right = found.python[:2] >= PYTHON
    told = [
        Finding(MACHINE, "Python", State.OK, version)
        if right
        else Finding(MACHINE, "Python", State.FAILED, version, "use Python 3.11 or newer, then `make setup`")
    ]
    told += [disk(MACHINE, item, limits) for item in found.disks]
    if found.triton_problem is not None:
        told.append(
            Finding(MACHINE, "embedded Triton", State.WARNING, found.triton_problem, "`make setup`")
            if found.triton_problem
            else Finding(MACHINE, "embedded Triton", State.OK, "all that it needs is installed")
        )
    return told


def disk(part: str, item: Disk, limits: Limits) -> Finding:
    """Room in a folder."""
    check = f"disk: {item.name}"
    if item.problem or not item.total_bytes:
        why = item.problem or "its size is 0"
        return Finding(
            part, check, State.UNKNOWN, f"{item.path}: {why}", f"look at {item.path} on its machine"
        )
    share = item.free_bytes / item.total_bytes
    found = f"{size(item.free_bytes)} free ({share:.0%}) at {item.path}"
    todo = f"make room at {item.path}, or move the folder"
    if item.free_bytes < limits.disk_failed_bytes:
        return Finding(part, check, State.FAILED, found, todo)
    scarce = share < limits.disk_warning_share and item.free_bytes < limits.disk_plenty_bytes
    if item.free_bytes < limits.disk_warning_bytes or scarce:
        return Finding(part, check, State.WARNING, found, todo)
    return Finding(part, check, State.OK, found)


def clock(part: str, found: Clock, limits: Limits, this_is_off: bool = False) -> Finding:
    """A clock beside this machine's. What may be the measurement's own error is not held against it."""
    off_s = max(0.0, abs(found.ahead_s) - found.error_s)
    way = "ahead of" if found.ahead_s > 0 else "behind"
    seen = f"{span(abs(found.ahead_s))} {way} this machine, give or take {span(found.error_s)}"
    if off_s <= limits.clock_warning_s:
        return Finding(part, "clock", State.OK, seen)
    state = State.FAILED if off_s > limits.clock_failed_s else State.WARNING
    whose = "this machine's" if this_is_off else "its machine's"
    return Finding(
        part, "clock", state, seen, f"set {whose} clock by NTP: windows, budgets and the journal go by it"
    )


def start(name: str, settings: str) -> str:
    """How a service is started."""
    return f"start everything with `make run`, or it alone: `python -m services.{name} {settings}`"
