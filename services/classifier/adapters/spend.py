"""What unnamed requests cost, from the legs in ClickHouse."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.common.clickhouse import connect
from services.common.settings import ClickHouse

log = logging.getLogger(__name__)

CHUNK_IDS = 2_000
"""Ids in one query: 80 kB of it."""
CONNECT_TIMEOUT_S = 2
QUERY_TIMEOUT_S = 30

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER_BY = timedelta(hours=1)

_QUERY = """
SELECT request_id, if(countIf(isNull(cost_nanos)) > 0, NULL, sum(cost_nanos)) AS nanos
FROM homeward.legs
WHERE purpose = 'production' AND start_time >= {since:DateTime64(3)} AND request_id IN {ids:Array(UUID)}
GROUP BY request_id
"""


class Spend:
    """Reads the legs as the services' user."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._settings = clickhouse

    def cost_nanos(self, request_ids: Sequence[bytes]) -> dict[bytes, int | None] | None:
        """What the production legs of requests cost, in nano-dollars.

        Takes up to seconds; call it in a thread.

        Args:
            request_ids: 16 bytes each; others are passed over.

        Returns:
            The cost by request, None where one of its legs has an unknown cost. A request that has no leg
            in ClickHouse is not in it. None if ClickHouse is away.
        """
        ids = [uuid.UUID(bytes=item) for item in dict.fromkeys(request_ids) if len(item) == 16]
        costs: dict[bytes, int | None] = {}
        if not ids:
            return costs
        try:
            client = connect(self._settings, connect_s=CONNECT_TIMEOUT_S, answer_s=QUERY_TIMEOUT_S)
            try:
                for start in range(0, len(ids), CHUNK_IDS):
                    chunk = ids[start : start + CHUNK_IDS]
                    known = {"ids": chunk, "since": min(map(_made, chunk))}
                    for request_id, nanos in client.query(_QUERY, known).result_rows:
                        costs[request_id.bytes] = nanos
            finally:
                client.close()
        # Proposals without their spend are better than none.
        except Exception as error:
            log.warning("the spend on unnamed requests is not known: %s", str(error).split("\n")[0])
            return None
        return costs


def _made(request_id: uuid.UUID) -> datetime:
    """A time before which the request has no leg: ids of version 7 begin with their milliseconds."""
    if request_id.version != 7:
        return _EARLIEST
    made = datetime.fromtimestamp((request_id.int >> 80) / 1000, UTC)
    return made - _CLOCKS_DIFFER_BY
