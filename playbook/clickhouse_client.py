"""How the commands talk to ClickHouse: as an analyst, who reads, or as the services' user, who writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from playbook.asked import Asked
from playbook.configured import Places, configured
from playbook.lines import without_secrets
from playbook.state_files import object_in
from playbook.stopped import stopped
from services.common.settings import ClickHouse

CONNECT_TIMEOUT_S = 1.0
"""Longest wait for the server to take a connection."""
READ_TIMEOUT_S = 60
"""Longest wait for the answer to an analyst's query."""
WRITE_TIMEOUT_S = 600
"""Longest wait for an insert or for a query of the writer: an import's are large."""

_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^'\")\]]+)")

UNREACHABLE = (ClickHouseError, OSError)
"""What a query raises if the server is away or refuses."""


class _Where(Places):
    """What a caller must know of the settings."""

    clickhouse: ClickHouse = ClickHouse()


def reader(settings: Path) -> Client:
    """A client of the analysts' user; close it. What is wrong is told in a line, with exit code 1."""
    where = configured(_Where, settings)
    return _client(read_store(where.clickhouse, where.local.state_dir), READ_TIMEOUT_S)


def writer(settings: Path) -> Client:
    """A client of the services' user, who may insert; close it. What is wrong is told in a line, with exit
    code 1."""
    where = configured(_Where, settings)
    return _client(write_store(where.clickhouse, where.local.state_dir), WRITE_TIMEOUT_S)


def ask(client: Client, file: Path, parameters: Mapping[str, Any]) -> Asked:
    """The query of a file, with its answer.

    Raises:
        ClickHouseError, OSError: the server can't be reached or refuses.
    """
    sql = file.read_text(encoding="utf-8")
    rows = list(client.query(sql, parameters=dict(parameters)).named_results())
    return Asked(sql, parameters, rows)


def read_store(configured: ClickHouse, state_dir: Path) -> ClickHouse:
    """Where one reads: as the services are told, else as `make run` has written for programs."""
    if configured.password:
        return configured
    here = object_in(state_dir / "endpoints.json")
    try:
        return ClickHouse(
            url=here["clickhouse_url"], user=here["clickhouse_user"], password=here["clickhouse_password"]
        )
    except (ValueError, KeyError):
        return configured


def write_store(configured: ClickHouse, state_dir: Path) -> ClickHouse:
    """Where one writes: as the services are told, else with the secret of `make run`."""
    if configured.password:
        return configured
    password = object_in(state_dir / "secrets.json").get("clickhouse_password", "")
    url = object_in(state_dir / "endpoints.json").get("clickhouse_url", configured.url)
    return configured.model_copy(update={"url": url, "password": password})


def connect(store: ClickHouse, timeout_s: int = READ_TIMEOUT_S) -> Client:
    """A client of a store; close it.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    return clickhouse_connect.get_client(
        dsn=store.url,
        username=store.user,
        password=store.password,
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=timeout_s,
        autogenerate_session_id=False,
    )


def first_line(error: Exception) -> str:
    """What an error says, short enough for a terminal."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    # An error of the connection quotes all that was tried; what the system says of it is enough.
    cause = _SYSTEM_ERROR.search(text)
    return cause[1] if cause else text[:300]


def _client(store: ClickHouse, timeout_s: int) -> Client:
    try:
        return connect(store, timeout_s)
    except UNREACHABLE as error:
        step = "start everything with `make run`, or set [clickhouse] and HOMEWARD_CLICKHOUSE__PASSWORD."
        raise stopped(
            f"ClickHouse at {without_secrets(store.url)} does not answer: {first_line(error)}",
            step,
            reason="SERVICE_DOWN",
        ) from None
