"""Asks servers of models that speak HTTP for the list of their models, which costs nothing."""

from __future__ import annotations

import email.utils
from collections.abc import Callable

import aiohttp
import orjson

from playbook.doctor.facts import Clock, Upstream, clock

ASK_S = 8.0
"""Longest wait for the list: across an ocean, with TLS, hundreds of models."""
DATE_STEP_S = 1.0
"""The `Date` header has whole seconds."""
ANTHROPIC_VERSION = "2023-06-01"
MAX_LIST_BYTES = 8 * 1024 * 1024
"""Of a list: the longest that we know, OpenRouter's, has half a megabyte."""


async def read_upstream(
    upstream: Upstream, secret: str, now_ns: Callable[[], int], *, anthropic: bool = False
) -> Upstream:
    """The upstream with what it says.

    Args:
        upstream: as the settings have it.
        secret: its key; empty for none.
        now_ns: this machine's clock.
        anthropic: whether it speaks Anthropic's protocol.
    """
    headers = {}
    if anthropic:
        headers["anthropic-version"] = ANTHROPIC_VERSION
    if secret:
        headers |= {"x-api-key": secret} if anthropic else {"Authorization": f"Bearer {secret}"}
    told = {
        field: getattr(upstream, field) for field in ("name", "target", "base_url", "region", "key", "wanted")
    }
    try:
        sent_ns = now_ns()
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S)) as session,
            # A redirect could carry the key to somebody else.
            session.get(f"{upstream.base_url}/models", headers=headers, allow_redirects=False) as response,
        ):
            received_ns = now_ns()
            body = await response.content.read(MAX_LIST_BYTES)
            while not response.content.at_eof() and len(body) < MAX_LIST_BYTES:
                body += await response.content.read(MAX_LIST_BYTES - len(body))
            return Upstream(
                **told,
                status=response.status,
                clock=_clock(response.headers.get("Date", ""), sent_ns, received_ns),
                listed=_listed(body) if response.status == 200 else None,
            )
    except TimeoutError:
        return Upstream(**told, problem=f"no answer within {ASK_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Upstream(**told, problem=_said(error))


def _said(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known (DNS)"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS fails"
    if isinstance(error, (aiohttp.ClientConnectionError, OSError)):
        return "nothing answers"
    return type(error).__name__


def _clock(date: str, sent_ns: int, received_ns: int) -> Clock | None:
    try:
        told_ns = int(email.utils.parsedate_to_datetime(date).timestamp() * 1e9)
    except (TypeError, ValueError):
        return None
    return clock(sent_ns, told_ns, received_ns, DATE_STEP_S)


def _listed(body: bytes) -> frozenset[str] | None:
    try:
        return frozenset(str(item["id"]) for item in orjson.loads(body)["data"])
    except (ValueError, KeyError, TypeError):
        return None
