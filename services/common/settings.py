"""Reads `homeward.toml`, lets the environment override it, and says exactly what is wrong.

Each service declares its own sections in its `config.py`; this module holds what they share: the base
class, the loader, and the sections that more than one service reads.

A setting `[limits] body_bytes` is overridden by `HOMEWARD_LIMITS__BODY_BYTES`: the path of
the key in capitals, joined by two underscores. Values from the environment are read as TOML where they
parse as such, else as text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

ENVIRONMENT_PREFIX = "HOMEWARD_"
DEFAULT_FILE = Path("homeward.toml")

SECTIONS = frozenset(
    {
        "budgets",
        "classifier",
        "clickhouse",
        "compliance",
        "data_classes",
        "finance",
        "keys",
        "ledger",
        "limits",
        "local",
        "models",
        "plan",
        "pools",
        "prices",
        "router",
        "shadow",
        "telemetry",
        "timeouts",
        "triton",
        "upstreams",
        "workloads",
    }
)
"""Every section that the file may have."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Lower-case words joined by hyphens, 1 to 63 characters."""

TaskTypeName = Literal[
    "summarization",
    "extraction",
    "classification",
    "generation",
    "translation",
    "context_qa",
    "code",
    "reasoning",
    "open_ended",
    "tool_use",
]
TargetName = Literal["cloud", "sovereign"]
DetectorName = Literal[
    "email", "iban", "card", "national_id", "ip", "birth_date", "phone", "address", "person"
]
PurposeName = Literal["production", "shadow", "noise", "judge", "probe"]

MIN_EXAMPLES = 5
"""Examples of a workload, if it has any: of fewer, none can be held out to see what the others are worth."""
MAX_EXAMPLES = 50
"""Examples of a workload: each registration trains on those of all workloads."""

MAX_EXAMPLE_DAYS = 90
"""Most days for which texts of disagreements may be kept: one that nobody looks at is only a risk."""

Prompt = Annotated[str, StringConstraints(pattern=r"\S")]
"""A text that says something."""

T = TypeVar("T", bound="Section")


class SettingsError(Exception):
    """The settings are wrong; the message names file, key, and what was expected, one line each."""


class Section(BaseModel):
    """A part of the settings: frozen, and strict about names and types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class Cutover(Section):
    """`[workloads.NAME.cutover]`: how a workload moves home when its verdict is READY, and back."""

    approval: Literal["none", "first", "each"] = "first"
    """Which moves a person approves (`homeward cutover NAME --approve`): `none`, the `first` out of SHADOWED,
    or `each`. The first is the one that lets a model at home answer applications at all."""
    approvers: list[Name] = []
    """Names of the `[keys.NAME]` that may approve; empty: any key with the scope `approvals`."""
    step_s: float = Field(default=86_400, ge=0)
    """Shortest time in each step of the canary, in seconds: a day, so that each share meets a day's whole
    cycle of traffic."""
    step_requests: int = Field(default=100, ge=0)
    """Production requests that the model at home must have answered in a step: a day without traffic shows
    nothing."""
    error_rate_max: float = Field(default=0.05, ge=0, le=1)
    """Share of failed legs above the cloud's at which the workload is rolled back: what the cloud fails at
    too is not the model's."""
    latency_factor_max: float = Field(default=3, ge=1)
    """Times the cloud's 95th percentile of latency at which the workload is rolled back. Slower is no
    failure; several times slower makes applications time out."""
    invalid_rate_max: float = Field(default=0.05, ge=0, le=1)
    """Share of answers that break the schema that was asked for at which the workload is rolled back."""
    breaker_requests: int = Field(default=20, ge=1)
    """Legs within the last 60 s from which those three limits hold: among fewer, a single failure would be
    above 5 %."""

    @model_validator(mode="after")
    def _heard(self) -> Cutover:
        if self.approvers and self.approval == "none":
            raise ValueError('approvers: expected none of them with approval = "none"; nobody would ask them')
        return self


class PersonalData(Section):
    """`[workloads.NAME.personal_data]`: what its requests are read for before they may go to the cloud.

    How well each detector works is in docs/residency.md. That of names (`person`) misses one in four or so.
    """

    detectors: list[DetectorName] = Field(min_length=1)
    """What is looked for in all texts of a request: messages, system prompts, tool results, tool arguments,
    `user`, `metadata`; not in tools, schemas, images and files."""
    on_hit: Literal["sovereign", "mask"] = "sovereign"
    """What a hit does: the request runs at home or not at all (`sovereign`), or what goes to the cloud has
    placeholders like `<EMAIL_1>` (`mask`), which the answer then has too."""


class Workload(Section):
    """`[workloads.NAME]`: a named class of requests that migrates as one."""

    owner: str = Field(min_length=1)
    """The person or team that answers for it."""
    task_type: TaskTypeName | None = None
    """The kind of work; left out if unknown."""
    data_class: Name = "unrestricted"
    """The name of a `[data_classes.NAME]`."""
    quality_sensitivity: Literal["low", "medium", "high"] | None = None
    """How much a worse answer would cost."""
    description: str = ""
    """What it does, in a sentence."""
    system_prompts: list[Prompt] = Field(default=[], max_length=64)
    """System prompts that belong to it: requests that have one of them are of this workload. White
    space does not matter."""
    examples: list[Prompt] = Field(default=[], max_length=MAX_EXAMPLES)
    """Prompts that belong to it, the user's message of each: none, or 5 to 50. Requests that resemble them
    are of this workload."""
    cutover: Cutover = Cutover()
    """How it moves home, and back: `[workloads.NAME.cutover]`."""
    personal_data: PersonalData | None = None
    """What its requests are read for: `[workloads.NAME.personal_data]`. Left out: they are not read."""

    @field_validator("examples")
    @classmethod
    def _enough(cls, examples: list[str]) -> list[str]:
        different = len(set(examples))
        if examples and different < MIN_EXAMPLES:
            raise ValueError(
                f"expected none, or {MIN_EXAMPLES} to {MAX_EXAMPLES} different prompts, got {different}"
            )
        return examples


class DataClass(Section):
    """`[data_classes.NAME]`: what the law says of a workload's data."""

    targets: list[TargetName] = Field(default=["cloud", "sovereign"], min_length=1)
    """Where any leg may run."""
    regions: list[str] = []
    """Regions in which any leg may run; empty means any."""
    keep_examples_days: int = Field(default=0, ge=0, le=MAX_EXAMPLE_DAYS)
    """Days for which shadow keeps the texts of the worst disagreements of its workloads, so that a person can
    judge them; 0: none. Less deletes what is older at shadow's next start; more holds for what is kept from
    then on."""


class ClickHouse(Section):
    """`[clickhouse]`: where the rows and traces go."""

    url: str = Field(default="http://127.0.0.1:8123", pattern=r"^https?://")
    """The HTTP interface."""
    user: str = "homeward"
    """The services' user, which writes."""
    password: str = Field(default="", repr=False)
    """Its password. Better in the environment: HOMEWARD_CLICKHOUSE__PASSWORD."""


class Telemetry(Section):
    """`[telemetry]`: traces and logs."""

    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of traces that are recorded when the caller has not decided. Booking never depends on it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log line that is written."""


class Budget(Section):
    """`[budgets.NAME]`: what may be spent in the cloud. A leg falls under every budget whose words fit it."""

    limit_usd: Decimal = Field(gt=0, le=1_000_000_000)
    """Dollars in a period."""
    period: Literal["day", "month"] = "month"
    """Of the calendar, UTC."""
    workload: Name | None = None
    """Only legs of this workload; left out: of any."""
    key: Name | None = None
    """Only legs that this API key asked for; left out: any."""
    purpose: PurposeName | None = None
    """Only legs of this purpose; left out: of any."""
    at_cap: Literal["refuse", "sovereign", "alert"] = "refuse"
    """What happens to a leg that does not fit any more: `refuse` it, let it run at the `sovereign` target
    only, or let it go and `alert`."""
    offline_requests: int = Field(default=1000, ge=0)
    """Legs that all routers of `[router] processes` together may send to the cloud while no ledger answers;
    then `at_cap` holds."""


UNRESTRICTED = DataClass()
"""The data class `unrestricted`, which is there without being declared."""


class Registry(Section):
    """The sections that say what workloads there are: `[workloads]` and `[data_classes]`."""

    workloads: dict[Name, Workload] = {}
    """The registered workloads by name."""
    data_classes: dict[Name, DataClass] = {}
    """The data classes by name."""

    def model_post_init(self, _context: Any) -> None:
        """Checks that each workload's data class exists."""
        for name, workload in self.workloads.items():
            if workload.data_class not in self.data_classes and workload.data_class != "unrestricted":
                known = ", ".join(sorted({*self.data_classes, "unrestricted"}))
                raise ValueError(
                    f"workloads.{name}.data_class: expected one of {known}, got {workload.data_class!r}"
                )

    def data_class(self, workload: str) -> DataClass:
        """The data class of a registered workload."""
        return self.data_classes.get(self.workloads[workload].data_class, UNRESTRICTED)


def read_document(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The file as nested tables, with the environment's overrides in place.

    Raises:
        SettingsError: the file can't be read, is not TOML, or has an unknown section.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; copy homeward.toml from the repository") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    unknown = sorted(set(document) - SECTIONS)
    if unknown:
        expected = ", ".join(sorted(SECTIONS))
        raise SettingsError(
            "\n".join(f"{path}: {name}: unknown section; expected one of {expected}" for name in unknown)
        )
    for name, value in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            if keys[0] in SECTIONS:
                _override(document, keys, _toml_value(keys[-1], value))
    return document


def load(
    model: type[T],
    *sections: str,
    path: Path = DEFAULT_FILE,
    environment: Mapping[str, str],
) -> T:
    """The named sections of the file as one model, with a field for each section.

    Raises:
        SettingsError: something is wrong; every mistake has a line.
    """
    document = read_document(path, environment)
    return parse(model, {key: document[key] for key in sections if key in document}, path)


def parse(model: type[T], document: Mapping[str, Any], path: Path) -> T:
    """Builds a model from tables, and turns every mistake into a line of one SettingsError."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = [f"{path}: {_describe(item)}" for item in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _describe(item: Any) -> str:
    # Table keys that failed their pattern appear as a location of "[key]", which tells nobody anything.
    key = ".".join(str(part) for part in item["loc"] if part != "[key]")
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = re.sub(r"^Value error, ", "", item["msg"])
    if not key:
        return message
    # A secret may have been put under a wrong key, so only short plain values are repeated.
    got = item["input"]
    secret = any(word in key for word in ("secret", "password", "api_key", "sha256"))
    short = isinstance(got, (int, float, bool)) or (isinstance(got, str) and len(got) <= 40)
    shown = f", got {got!r}" if short and not secret else ""
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}"


def _override(document: dict[str, Any], keys: list[str], value: Any) -> None:
    table = document
    for key in keys[:-1]:
        # Names are written with hyphens, which the environment can't have.
        name = key if key in table or key.replace("_", "-") not in table else key.replace("_", "-")
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return
    table[keys[-1]] = value


def _toml_value(key: str, text: str) -> Any:
    # A password may look like a number, and so may a hash.
    if key in ("password", "api_key", "sha256") and not text.startswith(('"', "'")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
