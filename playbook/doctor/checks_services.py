"""What the services tell of themselves means, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from playbook.doctor.checks import Here, clock, disk, start
from playbook.doctor.facts import Clock, Journal, Process, Queue, Service
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits
from playbook.doctor.words import span

OLDER, KEY_MISSING, KEY_INVALID = "older", "key_missing", "key_invalid"
"""Values of `Service.silent`."""
JOURNAL = "journal"
SAME_S = 1.0
"""Clocks this near to each other are one clock, seen from a machine that is off."""


def services(found: Sequence[Service], here: Here, limits: Limits) -> list[Finding]:
    """The four services; each is compared with this command, and with the ledger's policy."""
    last = next(
        (item.policy_version for one in found if one.name == "ledger" for item in one.processes), None
    )
    off = _this_machine_is_off([item.clock for one in found for item in one.processes], limits)
    told: list[Finding] = []
    for one in found:
        told += _service(one, here)
        for number, process in enumerate(one.processes):
            part = f"{one.name} {number}" if one.expected > 1 else one.name
            told += _process(part, one.name, process, here, limits, last=last, this_is_off=off)
    return told


def journal(ledger: Service | None, limits: Limits) -> list[Finding]:
    """What the ledger says of its journal."""
    told = [item for item in (ledger.processes if ledger else ()) if item.journal is not None]
    if not told or told[0].journal is None:
        return [Finding(JOURNAL, "entries", State.UNKNOWN, "no ledger tells", "see to the ledger first")]
    return [_entries(told[0].journal, limits)]


def _service(one: Service, here: Here) -> list[Finding]:
    told: list[Finding] = []
    if one.problem:
        told.append(
            Finding(
                one.name,
                "answers",
                State.FAILED,
                f"{one.address}: {one.problem}",
                start(one.name, here.settings) + "; its log says why it ended",
            )
        )
    else:
        up = [item.up_s for item in one.processes]
        more = f", up {span(min(up))}" if up else ""
        told.append(Finding(one.name, "answers", State.OK, f"serving at {one.address}{more}"))
    if one.http:
        told.append(
            Finding(
                one.name,
                "HTTP door",
                State.FAILED,
                f"{one.http}: {one.http_problem}",
                f"look whether [router] http = {one.http!r} is its address; {start(one.name, here.settings)}",
            )
            if one.http_problem
            else Finding(one.name, "HTTP door", State.OK, f"open at http://{one.http}/v1")
        )
    if one.problem:
        return told
    if one.silent:
        told.append(Finding(one.name, "version", *_silent(one, here)))
    elif len(one.processes) < one.expected:
        told.append(
            Finding(
                one.name,
                "processes",
                State.UNKNOWN,
                f"{len(one.processes)} of {one.expected} were met at {one.address}; who answers is chance",
                "ask again; if it stays so, look which process has ended: `.homeward/logs`",
            )
        )
    return told


def _silent(one: Service, here: Here) -> tuple[State, str, str]:
    if one.silent == OLDER:
        return (
            State.WARNING,
            f"of a version before {here.version or 'this one'}: it does not tell what it is",
            f"restart it with this version: {start(one.name, here.settings)}",
        )
    if one.silent in (KEY_MISSING, KEY_INVALID):
        found = (
            "it takes no question without a key" if one.silent == KEY_MISSING else "it does not know the key"
        )
        return (
            State.UNKNOWN,
            found,
            'set HOMEWARD_API_KEY to a key of [keys] that has a scope, such as scopes = ["approvals"]',
        )
    return State.UNKNOWN, one.silent, "ask again; if it stays so, look into its log"


def _process(
    part: str,
    name: str,
    process: Process,
    here: Here,
    limits: Limits,
    *,
    last: int | None,
    this_is_off: bool,
) -> list[Finding]:
    told = [_version(part, name, process, here), clock(part, process.clock, limits, this_is_off)]
    if process.restricted:
        told.append(
            Finding(
                part,
                "disk and queues",
                State.UNKNOWN,
                "it keeps them from a key without a scope",
                'set HOMEWARD_API_KEY to a key with scopes = ["approvals"]',
            )
        )
    told += [disk(part, item, limits) for item in process.disks]
    told += [_queue(part, item, limits) for item in process.queues]
    if process.policy_version is not None:
        told.append(_policy(part, name, process, here, last))
    return told


def _version(part: str, name: str, process: Process, here: Here) -> Finding:
    version = process.version or "unknown"
    if process.contract != here.contract:
        return Finding(
            part,
            "version",
            State.WARNING,
            f"{version} with another contract than this command's ({here.version or 'unknown'})",
            f"run one version everywhere: restart the {name} with this one, or call its `homeward`",
        )
    if process.version != here.version:
        return Finding(
            part,
            "version",
            State.WARNING,
            f"{version}; this command is {here.version or 'unknown'}; their contract is the same",
            f"run one version everywhere: restart the {name}",
        )
    return Finding(part, "version", State.OK, f"{version}, and the contract is this command's")


def _queue(part: str, item: Queue, limits: Limits) -> Finding:
    check = f"queue: {item.name}"
    of = f" of {item.capacity:,}" if item.capacity else ""
    if item.lost:
        return Finding(
            part,
            check,
            State.WARNING,
            f"{item.lost:,} lost since its start: they did not fit",
            "see to what takes them, which is slow or away, or give it more room (docs/settings.md)",
        )
    if item.waiting is None:
        if not item.capacity:
            return Finding(part, check, State.OK, "none lost since its start")
        return Finding(part, check, State.UNKNOWN, "it can't be counted", "look into its log and its folder")
    share = item.waiting / item.capacity if item.capacity else 0.0
    found = f"{item.waiting:,}{of} wait"
    if share < limits.queue_warning_share:
        return Finding(part, check, State.OK, found)
    state = State.FAILED if share >= limits.queue_failed_share else State.WARNING
    return Finding(part, check, state, found, "see to what takes them: it is slow or away")


def _policy(part: str, name: str, process: Process, here: Here, last: int | None) -> Finding:
    version = process.policy_version
    if not version and (name == "ledger" or last == 0):
        return Finding(
            part,
            "policy",
            State.WARNING,
            "none yet: no workload has a section in the settings, and every request goes to the cloud",
            f"give one a section [workloads.NAME] in {here.settings}, and restart the services",
        )
    if not version:
        return Finding(
            part,
            "policy",
            State.FAILED,
            "none: every request goes to the cloud",
            f"let it reach the ledger ([{name}] ledger); {start('ledger', here.settings)}",
        )
    if process.policy_age_s:
        return Finding(
            part,
            "policy",
            State.WARNING,
            f"{version}, which was last known to be in force {span(process.policy_age_s)} ago",
            f"let it reach the ledger ([{name}] ledger); {start('ledger', here.settings)}",
        )
    if last is not None and last != version:
        return Finding(
            part,
            "policy",
            State.WARNING,
            f"{version}; the ledger's is {last}",
            "ask again: a new one arrives within a second; if it stays so, look whether it asks this ledger"
            f" ([{name}] ledger)",
        )
    return Finding(part, "policy", State.OK, f"{version}" if last is None else f"{version}, as the ledger's")


def _entries(found: Journal, limits: Limits) -> Finding:
    if found.problem:
        return Finding(
            JOURNAL,
            "entries",
            State.FAILED,
            found.problem,
            "see to its database: [ledger] journal_url, or the disk of [ledger] state_dir",
        )
    if not found.entry_id:
        return Finding(JOURNAL, "entries", State.OK, "none yet: nothing was booked")
    age = "" if found.entry_age_s is None else f", booked {span(max(0.0, found.entry_age_s))} ago"
    last = f"the last is {found.entry_id:,}{age}"
    if not found.unconfirmed:
        return Finding(JOURNAL, "entries", State.OK, f"{last}; ClickHouse has them all")
    age_s = found.unconfirmed_age_s or 0.0
    told = f"{last}; {found.unconfirmed:,} not yet in ClickHouse, the oldest for {span(max(0.0, age_s))}"
    if age_s <= limits.unconfirmed_warning_s:
        return Finding(JOURNAL, "entries", State.OK, told)
    return Finding(
        JOURNAL,
        "entries",
        State.WARNING,
        told,
        "see to ClickHouse: they follow by themselves; then `homeward ledger verify`",
    )


def _this_machine_is_off(clocks: Sequence[Clock], limits: Limits) -> bool:
    """True if all clocks agree with each other and not with this machine's."""
    if len(clocks) < 2:
        return False
    middle = median(item.ahead_s for item in clocks)
    together = all(abs(item.ahead_s - middle) <= SAME_S + item.error_s for item in clocks)
    return together and abs(middle) > limits.clock_warning_s
