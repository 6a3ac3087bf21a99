"""The table of workloads and the head over their examples, and how both change together.

A registration is checked, tried on held-out examples, written to disk, and only then seen by anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from services.classifier.adapters.store import Registration, Store
from services.classifier.core.background import Background
from services.classifier.core.claims import Claims
from services.classifier.core.examples import ExampleHead
from services.classifier.core.reading import Reading
from services.classifier.core.registration import (
    Submission,
    check,
    check_request_id,
    next_registry,
    workload,
)
from services.classifier.core.registry import Registry, Workload
from services.classifier.core.worsening import trial
from services.common.board import Board
from services.common.seen import Seen

Read = Callable[[Sequence[Seen]], list[Reading]]
Groups = Mapping[str, Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Known:
    """What requests are named from. Replaced as a whole."""

    registry: Registry
    head: ExampleHead
    groups: Groups
    """The readings of each workload's examples."""
    claims: Claims
    """Takes out of a user's text what names or quotes a workload."""
    names: frozenset[str]
    """Of all workloads."""


class Registrar:
    """Holds what is known, and takes registrations, one after another."""

    def __init__(
        self,
        store: Store,
        from_settings: Sequence[Workload],
        read: Read,
        background: Background,
        data_classes: Collection[str],
        system_prompts: Collection[str],
    ) -> None:
        """Builds the table and reads all examples, which takes some milliseconds each.

        Args:
            from_settings: the workloads that the settings register.
            read: the model.
            background: what belongs to no workload.
            data_classes: the names that the settings declare.
            system_prompts: those that the settings give to workloads.

        Raises:
            AmbiguousError: two workloads have a fixed part in common.
            DomainError: STORAGE_UNAVAILABLE.
        """
        self._store = store
        self._in_settings = frozenset(item.name for item in from_settings)
        self._read = read
        self._background = background
        self._data_classes = data_classes
        self._system_prompts = system_prompts
        self._one_at_a_time = asyncio.Lock()
        registry = store.registry(from_settings)
        claims = self._claims(registry)
        groups = {item.name: self._readings(item, claims) for item in registry.workloads if item.examples}
        self.board = Board(self._known(registry, claims, groups), registry.version)
        """What is known now, for those who name and those who watch."""

    async def register(
        self, request_id: bytes, submission: Submission, now_unix_us: int, *, validate_only: bool
    ) -> Registration:
        """Registers a workload or a new version of one.

        Args:
            request_id: 16 bytes; the same call again is answered as before.
            validate_only: checks everything and registers nothing; the answer has the current table's
                version.

        Raises:
            DomainError: INVALID_REQUEST, WORKLOAD_IN_SETTINGS, WORKLOAD_AMBIGUOUS, WORKLOAD_WORSENS,
                STORAGE_UNAVAILABLE; nothing was registered.
        """
        check_request_id(request_id)
        check(submission, self._data_classes, self._in_settings)
        # A caller that gives up must not leave a registration on disk that nobody is told of.
        return await asyncio.shield(self._register(request_id, submission, now_unix_us, validate_only))

    async def _register(
        self, request_id: bytes, submission: Submission, now_unix_us: int, validate_only: bool
    ) -> Registration:
        async with self._one_at_a_time:
            return await asyncio.to_thread(
                self._try, request_id, submission, now_unix_us, validate_only, asyncio.get_running_loop()
            )

    def _try(
        self,
        request_id: bytes,
        submission: Submission,
        now_unix_us: int,
        validate_only: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> Registration:
        before = self._store.same(request_id, submission)
        if before is not None:
            return before
        known = self.board.value
        new = workload(submission, self._store.next_version(submission.name))
        registry = next_registry(known.registry, new)
        claims = self._claims(registry)
        groups = {name: readings for name, readings in known.groups.items() if name != new.name}
        if new.examples:
            groups[new.name] = self._readings(new, claims)
        after = self._known(registry, claims, groups)
        tried = trial(new.name, known.head.held_out, after.head.held_out)
        registration = Registration(
            request_id=request_id,
            submission=submission,
            version=new.version,
            table_version=known.registry.version if validate_only else registry.version,
            registered_unix_us=now_unix_us,
            held_out_count=tried.held_out_count,
            right_before=tried.right_before,
            right_after=tried.right_after,
        )
        if not validate_only:
            self._store.append(registration)
            loop.call_soon_threadsafe(self.board.post, after, registry.version)
        return registration

    def _claims(self, registry: Registry) -> Claims:
        examples = {example.system_prompt for item in registry.workloads for example in item.examples}
        return Claims([item.name for item in registry.workloads], {*self._system_prompts, *examples})

    def _readings(self, item: Workload, claims: Claims) -> list[Reading]:
        return self._read([claims.without_mentions(claims.without(example)) for example in item.examples])

    def _known(self, registry: Registry, claims: Claims, groups: Groups) -> Known:
        return Known(
            registry=registry,
            head=ExampleHead.fit(groups, self._background),
            groups=groups,
            claims=claims,
            names=frozenset(item.name for item in registry.workloads),
        )
