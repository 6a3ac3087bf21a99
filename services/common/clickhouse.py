"""A connection to ClickHouse, as every service makes it."""

from __future__ import annotations

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from services.common.settings import ClickHouse


def connect(settings: ClickHouse, *, connect_s: float, answer_s: float, durable: bool = False) -> Client:
    """A client. Its statements share no session, so that threads may share it.

    Args:
        settings: where, and as whom.
        connect_s: longest wait for a connection.
        answer_s: longest wait for an answer.
        durable: an insert returns when it is on the disk, and its deduplication token was checked.
            Asynchronous inserts, the default of 26.x, would return before.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    return clickhouse_connect.get_client(
        dsn=settings.url,
        username=settings.user,
        password=settings.password,
        connect_timeout=connect_s,
        send_receive_timeout=answer_s,
        autogenerate_session_id=False,
        settings={"async_insert": 0} if durable else None,
    )
