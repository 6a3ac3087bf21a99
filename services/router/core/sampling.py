"""Which requests can be compared with the other target, and what is kept of those that are drawn. Pure.

A comparison asks the same question again as a leg of its own: with the declared workload, a key of
Homeward's, and either target. What may not leave a region or a target must not do so there either, so a
request whose own bounds are narrower than those of such a leg is not compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.common.errors import DomainError
from services.common.sampling import Sampling
from services.common.words import Target
from services.router.core import catalog, wire
from services.router.core.data_classes import DataClass, bound
from services.router.core.policy import BOTH, WorkloadPolicy

HASH_BYTES = 16


class Step(StrEnum):
    """How far a request of a workload that is compared has got."""

    ELIGIBLE = "eligible"
    """It could be compared. Its shape and size are looked at only if it is drawn."""
    SAMPLED = "sampled"
    """It was drawn."""
    SENT = "sent"
    """Shadow took it."""
    INELIGIBLE = "ineligible"
    SHED = "shed"


class Bar(StrEnum):
    """Why a request can't be compared."""

    API = "api"
    """It is neither a chat completion nor a Messages request."""
    CHOICES = "choices"
    """It asks for several answers."""
    BOUND = "bound"
    """It may not run on both targets, or its legs could run where it may not."""
    FORM = "form"
    """It is a Messages request that has no form as a chat, or would ask the cloud something else as one."""
    SHAPE = "shape"
    """The contract can't carry the question or the answer without loss."""
    FAILED = "failed"
    """Its application got no whole answer."""
    SIZE = "size"
    """Question and answer together are too large."""


class Shed(StrEnum):
    """Why a request that was drawn was not handed over."""

    QUEUE = "queue"
    """Too many waited."""
    AWAY = "away"
    """Shadow did not answer."""
    REFUSED = "refused"
    """Shadow did not want it."""


class BarredError(Exception):
    """A request that was drawn can't be compared after all."""

    def __init__(self, bar: Bar, message: str) -> None:
        super().__init__(message)
        self.bar = bar


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sample comes from: what it is counted under."""

    workload: str
    sampling: Sampling
    request_unix_ns: int
    """When its application asked."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that was drawn, and the answer that its application got."""

    origin: Origin
    request_id: bytes
    leg_id: bytes
    document: Mapping[str, Any]
    """The request's body."""
    request_bytes: int
    answer: bytes
    """The answer's body, or all events of its stream."""
    streamed: bool
    conversation: bytes
    """Names the conversation if the application declared it, else empty."""
    key_name: str
    traceparent: str
    target: Target
    """Where the answer came from."""
    sovereign_failed: bool
    """True if the sovereign target was asked first and the cloud had to step in."""
    input_tokens: int | None
    """What the answer's server counted of the prompt."""
    api: str = catalog.CHAT
    """CHAT or MESSAGES: what question and answer are in terms of."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that its application sent on, by their names in any case."""
    routes: Sequence[catalog.Route] = ()
    """All that serve its model."""


def bar(
    request: wire.Request,
    row: WorkloadPolicy,
    own: WorkloadPolicy | None,
    routes: Sequence[catalog.Route],
) -> Bar | None:
    """Why a request can't be compared, as far as is known before its answer; None if nothing speaks against.

    Args:
        row: the policy's row within all data classes that bind the request.
        own: the same within its workload's own class, which is all that binds a leg; None: nowhere.
        routes: all that serve its model.
    """
    if request.api not in (catalog.CHAT, catalog.MESSAGES):
        return Bar.API
    choices = request.document.get("n")
    if isinstance(choices, int) and choices > 1:
        return Bar.CHOICES
    if own is None or row.allowed_targets != BOTH:
        return Bar.BOUND
    if (own.allowed_targets, own.allowed_regions) != (row.allowed_targets, row.allowed_regions):
        return Bar.BOUND
    # A model that only runs at home has nothing to be compared with.
    return None if any(_in_the_cloud(route, row) for route in routes) else Bar.BOUND


def _in_the_cloud(route: catalog.Route, row: WorkloadPolicy) -> bool:
    # Whatever the application speaks, a leg is a chat.
    upstream = route.upstream
    inside = not row.allowed_regions or upstream.region in row.allowed_regions
    return upstream.target is Target.CLOUD and upstream.offers(catalog.CHAT) and inside


def own_row(row: WorkloadPolicy, own_classes: Iterable[DataClass], workload: str) -> WorkloadPolicy | None:
    """The policy's row as it binds a leg that declares the workload; None if it may run nowhere."""
    try:
        return bound(row, own_classes, workload)
    except DomainError:
        return None


def cluster(sample: Sample) -> bytes:
    """The hash of what makes requests one vote: the declared conversation, else all their messages' texts,
    whoever sent them."""
    if sample.conversation:
        return _hash(b"conversation", sample.conversation)
    texts = (wire.text_of(message.get("content")) for message in sample.document["messages"])
    return _hash(b"texts", *(_bytes(text) for text in texts))


def tenant(sample: Sample) -> bytes:
    """The hash of who asked: the API key, and the `user` that the request names."""
    user = sample.document.get("user")
    return _hash(_bytes(sample.key_name), _bytes(user) if isinstance(user, str) else b"")


def _bytes(text: str) -> bytes:
    # JSON may carry half a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()[:HASH_BYTES]
