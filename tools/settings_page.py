"""Writes docs/settings.md from the docstrings of the settings: `make docs`; `--check` only compares."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from deploy.local.config import Local
from playbook.plan.settings import Estimate, Finance, Plan
from playbook.report.settings import Compliance, Processor, WorkloadDeclaration
from services.classifier.config import Classifier
from services.common.settings import (
    Budget,
    ClickHouse,
    Cutover,
    DataClass,
    PersonalData,
    Section,
    Telemetry,
    Workload,
)
from services.ledger.config import Ledger, PoolSettings, PriceSettings
from services.router.config import (
    KeySettings,
    Limits,
    ModelSettings,
    Router,
    RouteSettings,
    Timeouts,
    TritonSettings,
    UpstreamSettings,
)
from services.shadow.config import Shadow

PAGE = Path("docs/settings.md")
SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("[router]", Router),
    ("[limits]", Limits),
    ("[timeouts]", Timeouts),
    ("[upstreams.NAME]", UpstreamSettings),
    ("[triton.NAME]", TritonSettings),
    ("[models.NAME]", ModelSettings),
    ("[models.NAME] routes", RouteSettings),
    ("[keys.NAME]", KeySettings),
    ("[workloads.NAME]", Workload),
    ("[workloads.NAME.cutover]", Cutover),
    ("[workloads.NAME.personal_data]", PersonalData),
    ("[data_classes.NAME]", DataClass),
    ("[[prices]]", PriceSettings),
    ("[pools.NAME]", PoolSettings),
    ("[budgets.NAME]", Budget),
    ("[plan]", Plan),
    ("[finance]", Finance),
    ("[finance] figures", Estimate),
    ("[compliance]", Compliance),
    ("[compliance.workloads.NAME]", WorkloadDeclaration),
    ("[compliance.processors.NAME]", Processor),
    ("[classifier]", Classifier),
    ("[shadow]", Shadow),
    ("[ledger]", Ledger),
    ("[clickhouse]", ClickHouse),
    ("[telemetry]", Telemetry),
    ("[local]", Local),
)

HEAD = """# Settings

Generated from the code by `make docs`; do not edit.

All settings are in `homeward.toml`, and each has its line here. A field can be set by the environment too:
`[router] http` is `HOMEWARD_ROUTER__HTTP`, `[upstreams.cloud] base_url` is
`HOMEWARD_UPSTREAMS__CLOUD__BASE_URL`: the path in capitals, joined by two underscores. A mistake is
reported with the file, the key, and what was expected.

These variables stand by themselves: `HOMEWARD_CLOUD_BASE_URL` and `HOMEWARD_CLOUD_API_KEY` make a real cloud
API the upstream `cloud`, for every model that it has (`HOMEWARD_CLOUD_PROVIDER` says whose prices apply;
default `openai`), and `HOMEWARD_CLICKHOUSE_URL` makes `make run` use a ClickHouse that is there already, with
`HOMEWARD_CLICKHOUSE__USER` and `HOMEWARD_CLICKHOUSE__PASSWORD`; `HOMEWARD_JOURNAL_URL` replaces
`[ledger] journal_url`. `OTEL_EXPORTER_OTLP_ENDPOINT` sends spans to a collector instead of ClickHouse: they
are then in `otel.otel_traces` only if the collector writes them there.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(section for title, model in SECTIONS for section in _section(title, model))


def _section(title: str, model: type[Section]) -> Iterator[str]:
    about = (model.__doc__ or "").partition(": ")[2].strip().replace("\n    ", " ")
    yield f"\n## `{title}`\n\n{about[:1].upper()}{about[1:]}\n\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {meaning} |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    default = field.default
    if default is PydanticUndefined or default is None or isinstance(default, Section):
        return "–"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if not isinstance(default, str) or default else '`""`'


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{item}`" for item in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(item) for item in arguments if item is not type(None))
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    if origin is list:
        return f"list of {_type(arguments[0])}"
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}
    name = getattr(annotation, "__name__", str(annotation))
    sections = {
        "RouteSettings": "`{ upstream, model }`",
        "Cutover": "table",
        "PersonalData": "table",
        "Estimate": "`{ value, low, high, note }`",
    }
    return {"Decimal": "number", **sections, **names}.get(name, name)


def main() -> int:
    """Writes or checks the page."""
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") != page():
            print(f"{PAGE} is stale: run `make docs`")
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
