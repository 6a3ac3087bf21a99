"""Names a request: by what was declared, its conversation, its fixed parts, at last by the classifier."""

from __future__ import annotations

import random
from dataclasses import dataclass

from opentelemetry import trace

from services.common.seen import Seen
from services.common.words import Evidence, Purpose
from services.router.adapters.classifier import ClassifierAdapter
from services.router.call import Ask
from services.router.core import shown
from services.router.core.conversations import Conversations, conversation_id
from services.router.core.data_classes import DataClass, DataClasses
from services.router.core.fixed_parts import FixedParts
from services.router.core.naming import (
    ABSTAINED,
    Name,
    Rules,
    by_classifier,
    by_fixed_parts,
    declared,
)

_random = random.Random()

_WITHOUT_CLASSIFIER = frozenset({Evidence.DECLARED, Evidence.FINGERPRINT})


@dataclass(frozen=True, slots=True)
class Named:
    """A request's name and what follows from it."""

    name: Name
    conversation: bytes
    """The same for all requests of its conversation."""
    classes: list[DataClass]
    """The data classes that bind it, its workload's first."""

    @property
    def own_classes(self) -> list[DataClass]:
        """Those that bind a request which declares the same workload, whoever sends it."""
        return self.classes[:1] if self.name.workload else []


class Namer:
    """Names requests. One a process."""

    def __init__(
        self,
        classifier: ClassifierAdapter,
        classes: DataClasses,
        *,
        conversations: int,
        observe_share: float,
    ) -> None:
        """`conversations` is how many are remembered, `observe_share` the share of requests that were named
        without the classifier and are shown to it."""
        self._classifier = classifier
        self._classes = classes
        self._conversations = Conversations(conversations)
        self._observe_share = observe_share
        self._fixed_parts = FixedParts()

    async def name(self, ask: Ask, request_id: bytes) -> Named:
        """The name of a request, and the conversation and the data classes that it belongs to.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND or WORKLOAD_FORBIDDEN, for what the caller declared.
        """
        rules = Rules(self._classifier.table, self._classes)
        opening = shown.opening(ask.request)
        conversation = conversation_id(ask.key.name, ask.conversation, opening)
        named = declared(ask.workload, ask.key, rules)
        # A name that was kept is older than the table, and must open nothing that the table has closed since.
        goes_on = (opening.continues or bool(ask.conversation)) and not rules.restricted(ask.key)
        kept = named is None and goes_on
        name = named or (self._conversations.name(conversation, rules.table) if kept else None)
        if name is None:
            kept = False
            name = await self._recognised(ask, opening, rules, request_id)
        if name is None:
            name = ABSTAINED
        elif not kept and ask.purpose is Purpose.PRODUCTION:
            self._conversations.keep(conversation, name)
            self._observe(ask, opening, name, request_id)
        return Named(name, conversation, rules.binding(ask.key, name))

    async def _recognised(
        self, ask: Ask, opening: shown.Opening, rules: Rules, request_id: bytes
    ) -> Name | None:
        """The name that a request's content gives; None if nobody answered in time."""
        whole = shown.whole(ask.request, opening)
        found = self._fixed_parts.find(rules.table.shapes, whole)
        name = by_fixed_parts(found.hit, ask.key, rules)
        if name is not None:
            return name
        with trace.use_span(ask.span, end_on_exit=False, record_exception=False):
            answer = await self._classifier.classify(
                shown.shortened(whole), found.shape, request_id, ask.key.name
            )
        return None if answer is None else by_classifier(answer, ask.key, rules)

    def _observe(self, ask: Ask, opening: shown.Opening, name: Name, request_id: bytes) -> None:
        if name.evidence not in _WITHOUT_CLASSIFIER or _random.random() >= self._observe_share:
            return
        whole: Seen = shown.whole(ask.request, opening)
        shape = self._fixed_parts.find(self._classifier.table.shapes, whole).shape
        self._classifier.observe(name, shown.shortened(whole), shape, request_id, ask.key.name)
