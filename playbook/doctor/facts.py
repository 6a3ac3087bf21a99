"""What was found outside, before anybody judges it. Pure.

A `problem` says why something is unknown, and is empty if it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a clock is ahead of this machine's."""

    ahead_s: float
    error_s: float
    """It may be off by this much: half of the time that asking took, and the clock's own steps."""


def clock(sent_ns: int, told_ns: int, received_ns: int, step_s: float = 0.0) -> Clock:
    """What an answer says of a clock, if the question took as long as the answer.

    Args:
        sent_ns: this machine's clock when it asked, nanoseconds.
        told_ns: the other clock.
        received_ns: this machine's clock when it had the answer.
        step_s: in which the other clock counts; it is taken to be in the middle of one.
    """
    middle_ns = (sent_ns + received_ns) / 2
    return Clock((told_ns - middle_ns) / 1e9 + step_s / 2, abs(received_ns - sent_ns) / 2e9 + step_s / 2)


@dataclass(frozen=True, slots=True)
class Disk:
    """Room in a folder."""

    name: str
    """The setting that says where it is, or what ClickHouse calls it."""
    path: str
    free_bytes: int = 0
    total_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in a process."""

    name: str
    waiting: int | None
    """None if nobody counts it."""
    capacity: int
    """0 if that is not known."""
    lost: int


@dataclass(frozen=True, slots=True)
class Journal:
    """How the journal stands."""

    entry_id: int = 0
    entry_age_s: float | None = None
    """None without an entry."""
    unconfirmed: int = 0
    unconfirmed_age_s: float | None = None
    """Of the oldest of them."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """What a process tells of itself."""

    index: int
    start_unix_ns: int
    version: str
    """Empty if it does not know."""
    contract: str
    """Hash, hexadecimal."""
    clock: Clock
    up_s: float
    restricted: bool = False
    """It keeps its folders and queues from this key."""
    disks: Sequence[Disk] = ()
    queues: Sequence[Queue] = ()
    policy_version: int | None = None
    """None if it needs no policy."""
    policy_age_s: int = 0
    journal: Journal | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A service at its address."""

    name: str
    address: str
    problem: str = ""
    """Why it is not well."""
    processes: Sequence[Process] = ()
    expected: int = 1
    """How many processes share the address."""
    silent: str = ""
    """Why no process tells what it is: `older` (it can't), `key_missing`, `key_invalid`, or words."""
    http: str = ""
    """Address of its HTTP door, if it has one."""
    http_problem: str = ""


@dataclass(frozen=True, slots=True)
class ClickHouse:
    """The server of the book."""

    url: str
    user: str
    problem: str = ""
    """Why nothing else is known."""
    refused: bool = False
    """It answers, and does not let this user in."""
    version: str = ""
    clock: Clock | None = None
    disks: Sequence[Disk] = ()
    disks_problem: str = ""
    migrations: Mapping[int, str] | None = None
    """SHA-256 by number, of those that are applied; None if that is not known."""
    migrations_problem: str = ""
    tokens: bool | None = None
    """Whether it knows the settings by which a batch counts once; None if unknown."""
    windows: Mapping[str, int] = field(default_factory=dict)
    """By table, how many batches it recognises; 0 for none."""
    most_parts: int | None = None
    """Of one partition."""
    stuck_mutations: int | None = None
    analyst: str = ""
    """Name of the user that reads; empty if this command knows none."""
    analyst_problem: str = ""
    analyst_writes: bool | None = None
    """Whether it may insert into the book; None if unknown."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server of models that speaks HTTP."""

    name: str
    target: str
    base_url: str
    region: str
    key: str = ""
    """`set`, `none`, or the name of the environment variable that is not set here."""
    problem: str = ""
    """Why it could not be asked."""
    status: int = 0
    """Of its list of models; 0 if there was no answer."""
    clock: Clock | None = None
    listed: frozenset[str] | None = None
    """Its models; None if it does not list them."""
    wanted: frozenset[str] = frozenset()
    """The models that settings name without a pattern."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A Triton server."""

    address: str
    problem: str = ""
    """Why it does not answer."""
    unasked: str = ""
    """Why it could not be asked from here."""
    version: str = ""
    ready: bool = False
    states: Mapping[str, str] = field(default_factory=dict)
    """By version of the model, what the repository says: `READY`, or why not."""
    mute: Mapping[str, str] = field(default_factory=dict)
    """By version that was asked for a token, why it gave none; empty if it gave one."""
    missing_inputs: Sequence[str] = ()
    """Of the tensor contract, those that the model lacks."""


@dataclass(frozen=True, slots=True)
class Home:
    """An upstream with protocol = "triton"."""

    name: str
    region: str
    model: str
    folder: str
    folder_here: bool = True
    """False if there is no such folder where the command runs: the router may run elsewhere."""
    folder_problem: str = ""
    context_tokens: int | None = None
    """That the router works with."""
    folder_tokens: int | None = None
    """That the model's files allow."""
    replicas: Sequence[Replica] = ()


@dataclass(frozen=True, slots=True)
class Capability:
    """What a probe found of a model at home, or why it could not be made."""

    subject: str
    """The workload or the model that it was made for."""
    name: str
    passed: bool | None
    """None if it could not be made."""
    found: str
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """All that is known of them."""

    found: Sequence[Capability] = ()
    problem: str = ""
    probed: bool = False
    """Whether they were asked for now."""
    at_home: bool = True
    """Whether the settings name a model at home."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the command runs."""

    python: tuple[int, int, int]
    disks: Sequence[Disk] = ()
    triton_problem: str | None = None
    """What the embedded Triton lacks; empty if nothing, None if nobody wants it."""
