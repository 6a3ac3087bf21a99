"""Where each service of a stack listens and keeps its state: the settings of every stack that a test or a
benchmark starts. A setting that all must have is added here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from deploy.local.ports import free_ports

NAMES = (
    *("http", "grpc", "classifier", "ledger", "shadow", "clickhouse", "cloud"),
    *("triton", "triton_http", "triton_metrics", "collector"),
)

PLACES = """
[router]
http = "127.0.0.1:{http}"
grpc = "127.0.0.1:{grpc}"
classifier = "127.0.0.1:{classifier}"
ledger = "127.0.0.1:{ledger}"
shadow = "127.0.0.1:{shadow}"
state_dir = "{folder}/router"

[classifier]
grpc = "127.0.0.1:{classifier}"
state_dir = "{folder}/classifier"

[shadow]
grpc = "127.0.0.1:{shadow}"
router = "127.0.0.1:{grpc}"
ledger = "127.0.0.1:{ledger}"
state_dir = "{folder}/shadow"

[ledger]
grpc = "127.0.0.1:{ledger}"
state_dir = "{folder}/ledger"

[clickhouse]
url = "http://127.0.0.1:{clickhouse}"

[local]
cloud = "127.0.0.1:{cloud}"
triton = "127.0.0.1:{triton}"
triton_http = "127.0.0.1:{triton_http}"
triton_metrics = "127.0.0.1:{triton_metrics}"
collector = "127.0.0.1:{collector}"
state_dir = "{folder}"
"""
"""To be formatted with a port for each of NAMES, and `folder`."""


def free_places() -> dict[str, int]:
    """A free port for each of NAMES."""
    return dict(zip(NAMES, free_ports(len(NAMES)), strict=True))


def environment_of(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """PLACES as environment variables, for settings that are otherwise another file's."""
    sections = tomllib.loads(PLACES.format(folder=folder, **ports))
    return {
        f"HOMEWARD_{section}__{key}".upper(): value
        for section, keys in sections.items()
        for key, value in keys.items()
    }
