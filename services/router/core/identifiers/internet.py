"""E-mail and IP addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from services.router.core.identifiers.text import AT_START, Span, Text, matches, word_before

_LOCAL = frozenset(".+%'-_")
_DOMAIN = re.compile(r"[\w.-]{3,253}+")
_TOP = re.compile(r"(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63})", re.IGNORECASE)


def emails(text: Text) -> Iterator[Span]:
    """Addresses, also in scripts other than Latin. Neither quoted local parts nor `name (at) domain`."""
    at = text.plain.find("@")
    while at >= 0:
        span = _email(text.plain, at)
        if span is not None:
            yield span
        at = text.plain.find("@", at + 1 if span is None else span[1])


def _email(text: str, at: int) -> Span | None:
    start = at
    # The standard says 64; of what is longer the end stands for all.
    while start > max(0, at - 64) and (text[start - 1].isalnum() or text[start - 1] in _LOCAL):
        start -= 1
    while start < at and text[start] in ".'-":
        start += 1
    domain = _DOMAIN.match(text, at + 1)
    if start == at or domain is None:
        return None
    labels = domain.group().rstrip(".-_").split(".")
    # A sentence may go on without a space; what follows the last real label is not part of it.
    top = _TOP.match(labels[-1]) if len(labels) > 1 else None
    if top is None or not all(0 < len(label) < 64 for label in labels):
        return None
    return start, at + 1 + len(".".join(labels[:-1])) + 1 + top.end()


_V4 = re.compile(rf"[0-9]{AT_START}[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}(?!\w|\.[0-9])")
_V6_ANCHOR = re.compile(r":[0-9A-Fa-f]{0,4}:")
_V6 = re.compile(r"[0-9A-Fa-f:.]{2,46}+")


def ips(text: Text) -> Iterator[Span]:
    """IP addresses, versions 4 and 6, but for those that name no host: loopback, unspecified, multicast."""
    for match in matches(_V4, text):
        if _names_a_host(match.group()):
            yield match.span()
    done = 0
    for anchor in matches(_V6_ANCHOR, text):
        start = anchor.start()
        if start < done:
            continue
        while start > max(done, anchor.start() - 4) and text.plain[start - 1] in "0123456789abcdefABCDEF":
            start -= 1
        run = _V6.match(text.plain, start)
        assert run is not None
        done = run.end()
        address = run.group().rstrip(".")
        address = address[:-1] if address.endswith(":") and not address.endswith("::") else address
        outside = word_before(text.plain, start) or text.plain[done : done + 1].isalnum()
        if not outside and any(sign.isdigit() for sign in address) and _names_a_host(address):
            yield start, start + len(address)


def _names_a_host(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    nobody = parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast
    return not (nobody or address.startswith(("0.", "255.")))
