"""Shadow's settings: `[shadow]`, who may approve, and what all services share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from services.common.settings import ClickHouse, Name, Registry, Section, Telemetry, load
from services.shadow.core.examples import MAX_KEPT, MIN_BYTES, Keeping, Reader

APPROVALS = "approvals"
"""The scope of keys that may move workloads."""
EXPERIMENTS = "experiments"
"""The scope of keys that may read what applications and models said."""


class Shadow(Section):
    """`[shadow]`: where it listens, and how it compares."""

    grpc: str = "127.0.0.1:8083"
    """HOST:PORT."""
    router: str = "127.0.0.1:8081"
    """HOST:PORT of the router's gRPC door, which asks all its legs."""
    ledger: str = "127.0.0.1:8084"
    """HOST:PORT of the ledger."""
    state_dir: Path = Path(".homeward/shadow")
    """Folder for experiments, samples that wait, and triplets."""
    models_dir: Path = Path("models/classifier")
    """Folder of the classifier's encoder, which some scorers use."""
    api_key: str = Field(default="", repr=False)
    """A key with the scope `experiments`; better in the environment: HOMEWARD_SHADOW__API_KEY."""
    samples: int = Field(default=100_000, ge=1)
    """Samples that may wait for their legs. Each has its request's text until it is scored; at 10 KB that is
    a gigabyte. More are shed and counted."""
    in_flight: int = Field(default=8, ge=1, le=1024)
    """Samples that are asked at once: shadowing must leave the models room for applications."""
    leg_timeout_s: float = Field(default=120, gt=0)
    """Longest wait for a leg's answer; then it counts as one that failed."""
    control_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the samples that ask the cloud a third time, for the control lane that must become READY."""
    keep_examples_per_epoch: int = Field(default=20, ge=1, le=MAX_KEPT)
    """Of the comparison, and of what is sampled after the cutover, of each epoch: how many of the worst
    disagreements are kept with their texts, where the data class has `keep_examples_days`. A person reads a
    page of them, not a thousand."""
    example_bytes: int = Field(default=16_384, ge=MIN_BYTES, le=262_144)
    """Bytes of the texts of one of them, half for the request and a quarter for each answer: some pages.
    Longer texts are cut, and say so."""


class _Key(Section):
    """What shadow must know of a `[keys.NAME]`; the router has the rest."""

    model_config = ConfigDict(extra="ignore")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    workloads: list[str] = ["*"]
    default_workload: str = ""
    scopes: list[str] = []

    def may_read(self, workload: str, *, closed: bool) -> bool:
        """As the router's rule: of a data class without the cloud (`closed`), the key must name it."""
        named = {*self.workloads, self.default_workload}
        return workload in self.workloads or ("*" in self.workloads and (workload in named or not closed))


class ShadowConfig(Registry):
    """All that shadow is told."""

    shadow: Shadow = Shadow()
    keys: dict[Name, _Key] = {}
    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()

    def approvers(self) -> dict[bytes, str]:
        """The names of the keys that may move workloads, by the SHA-256 of their secrets."""
        return self._keys(APPROVALS)

    def experimenters(self) -> dict[bytes, str]:
        """The names of the keys that may probe models and read examples, likewise."""
        return self._keys(EXPERIMENTS)

    def readers(self) -> dict[bytes, Reader]:
        """Who may read examples, and of which workloads, by the SHA-256 of their secrets."""
        closed = {name: "cloud" not in self.data_class(name).targets for name in self.workloads}
        return {
            digest: Reader(
                name,
                frozenset(item for item in closed if self.keys[name].may_read(item, closed=closed[item])),
            )
            for digest, name in self.experimenters().items()
        }

    def keeping(self) -> Keeping:
        """Of which workloads examples are kept."""
        return Keeping(
            days={name: self.data_class(name).keep_examples_days for name in self.workloads},
            classes={name: item.data_class for name, item in self.workloads.items()},
            per_epoch=self.shadow.keep_examples_per_epoch,
            max_bytes=self.shadow.example_bytes,
        )

    def _keys(self, scope: str) -> dict[bytes, str]:
        return {bytes.fromhex(item.sha256): name for name, item in self.keys.items() if scope in item.scopes}


def load_shadow(path: Path, environment: Mapping[str, str] = os.environ) -> ShadowConfig:
    """Reads shadow's sections.

    Raises:
        SettingsError: something is wrong.
    """
    return load(ShadowConfig, *ShadowConfig.model_fields, path=path, environment=environment)
