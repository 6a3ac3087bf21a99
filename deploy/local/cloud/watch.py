"""What tests can see of the stand-in: counts of requests, and the last one as it arrived."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_SECRET = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})


@dataclass(slots=True)
class Counts:
    """Requests below /v1 since the start or the last reset."""

    requests: int = 0
    in_flight: int = 0
    cancelled: int = 0
    """Those whose client left before the end of the answer."""
    completed: int = 0
    """All others that ended, with whatever status or fault."""


class Watch:
    """Sees every request."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._last: dict[str, Any] = {}

    def begin(self) -> Counts:
        """Counts a request in; `end` wants back what this gives."""
        self._counts.requests += 1
        self._counts.in_flight += 1
        return self._counts

    def end(self, counts: Counts, *, cancelled: bool) -> None:
        """Counts a request out. One that began before a reset is not counted after it."""
        counts.in_flight -= 1
        if cancelled:
            counts.cancelled += 1
        else:
            counts.completed += 1

    def keep(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Keeps a request as the last one."""
        shown = {
            name.lower(): "[redacted]" if name.lower() in _SECRET else value
            for name, value in headers.items()
        }
        self._last = {
            "method": method,
            "path": path,
            "headers": shown,
            "body": base64.b64encode(body).decode(),
        }

    def counts(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self._counts)

    def last(self) -> dict[str, Any]:
        """Method, path, headers and body (base64) of the last request; empty if there was none."""
        return self._last

    def reset(self) -> None:
        """Starts anew."""
        self._counts = Counts()
        self._last = {}
