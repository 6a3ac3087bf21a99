"""From when on a figure is a warning or a failure, each with its reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be."""

    clock_warning_s: float = 1.0
    """Machines that keep time by NTP are within milliseconds. A second is the least `settle_s` of a pool:
    with more, legs come to the ledger from a period that it has closed, and cost corrections."""
    clock_failed_s: float = 60.0
    """Shadow counts requests by the router's minute, budgets end with the ledger's day, decisions have the
    ledger's time: with more than a minute, these say what was not so."""
    disk_warning_bytes: int = 5 * GIB
    """Five times what fails: time to act."""
    disk_warning_share: float = 0.1
    """ClickHouse merges into new parts before it lets the old ones go, and needs room for both."""
    disk_plenty_bytes: int = 50 * GIB
    """With this much free, the share does not matter: 5 % of a large disk is a lot."""
    disk_failed_bytes: int = 1 * GIB
    """The queue of a router without a ledger, two million legs of 300 bytes, would hardly fit."""
    queue_warning_share: float = 0.1
    """Of its capacity: a queue that is emptied as it fills is far below."""
    queue_failed_share: float = 0.9
    """What comes next is refused or lost."""
    unconfirmed_warning_s: float = 60.0
    """An entry's rows are in ClickHouse within seconds; after a minute something keeps them."""
    parts_warning: int = 300
    """Parts of one partition: ClickHouse delays inserts at 1,000 and refuses them at 3,000."""
    probes_old_s: float = 7 * 86_400.0
    """A model's server is changed more often than its probes are made again by themselves."""
