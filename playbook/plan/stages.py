"""Where workloads stand, so that what is done is not planned again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from playbook.ledger_client import read_policy
from playbook.plan.schedule import Phase
from services.common.words import Stage

BEGINS: Mapping[Stage, Phase] = {
    Stage.SHADOWED: "shadow",
    Stage.ROLLED_BACK: "shadow",
    Stage.CANARY: "cutover",
    Stage.HOME: "report",
}
"""The phase in which a workload is; of all others nothing is done yet."""


@dataclass(frozen=True, slots=True)
class Stages:
    """As far as they are known."""

    by_workload: Mapping[str, Stage] = field(default_factory=dict)
    problem: str = ""
    """Why nothing is known."""

    def begins(self, workload: str) -> Phase:
        """The phase in which a workload is; those before are done."""
        stage = self.by_workload.get(workload)
        return BEGINS.get(stage, "inventory") if stage else "inventory"


UNKNOWN = Stages()
"""All is planned from its beginning."""


def read_stages(address: str) -> Stages:
    """Asks the ledger for the policy that is in force."""
    policy = read_policy(address)
    if policy is None:
        return Stages(problem=f"The ledger at {address} does not tell where workloads stand")
    return Stages({row.workload: Stage(row.stage) for row in policy.workloads if row.stage})


def stages_of(decisions: Iterable[Mapping[str, Any]]) -> Stages:
    """Of the journal's entries, the oldest first, as the document keeps them."""
    found = {row["workload"]: row["to"] for row in decisions}
    return Stages({name: Stage[to.split()[0]] for name, to in found.items() if to != "removed"})
