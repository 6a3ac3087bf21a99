"""`[keys.NAME]`: who may ask."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.common.settings import Section
from services.router.core.keys import Key


class KeySettings(Section):
    """`[keys.NAME]`: an API key. `homeward key new NAME` prints a secret and this section."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    """SHA-256 of the secret, 64 hexadecimal digits."""
    workloads: list[str] = ["*"]
    """Workloads that its requests may declare; `*` is all but those of a data class without the cloud, which
    must be named. Unnamed requests of a key that names such a workload run only where its class allows."""
    default_workload: str = ""
    """The workload of requests that declare none."""
    scopes: list[Literal["approvals", "experiments"]] = []
    """`experiments`: may ask for legs with a purpose other than PRODUCTION, probe models, and read the texts
    of kept disagreements of its workloads. `approvals`: may move workloads from one stage to the next, and
    back. `homeward doctor` tells folders and queues to a key with either."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Left out: no limit."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """All token classes together. Left out: no limit."""

    def key(self, name: str) -> Key:
        """The key of that name."""
        return Key(
            name=name,
            sha256=bytes.fromhex(self.sha256),
            workloads=None if "*" in self.workloads else frozenset(self.workloads),
            named=frozenset({*self.workloads, self.default_workload} - {"*", ""}),
            default_workload=self.default_workload,
            scopes=frozenset(self.scopes),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
