"""Examples of disagreement: what of a sample is kept for people to judge, where its data class allows it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

from homeward.common.v1 import chat_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason, invalid_request
from services.common.sampling import ID_BYTES
from services.shadow import translate
from services.shadow.adapters.store import Example, Finished, KeptExample, Store
from services.shadow.core.examples import (
    MAX_KEPT,
    Keeping,
    Reader,
    Standing,
    Texts,
    Turn,
    bounded,
    disagreement,
    sha256,
)
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.judge import shown
from services.shadow.holders import holder

PAGE_SIZE = 20
MAX_TOKEN_DIGITS = 9
"""Of the number of an example in a list, which a page's token is."""
MILLION = 1_000_000


class ExampleShelf:
    """Makes, tells and deletes them. May be called from any thread."""

    def __init__(
        self, store: Store, keeping: Keeping, readers: Mapping[bytes, Reader], clock: Callable[[], int]
    ) -> None:
        """
        Args:
            store: has them.
            keeping: of which workloads they are kept.
            readers: the keys that may read them, by the SHA-256 of their secrets.
            clock: microseconds since the epoch.
        """
        self._store = store
        self._keeping = keeping
        self._readers = readers
        self._clock = clock

    @property
    def per_epoch(self) -> int:
        """How many are kept of an epoch and lane."""
        return self._keeping.per_epoch

    def of(
        self, chat: chat_pb2.Chat, row: Finished, cloud: Answer | None, sovereign: Answer | None
    ) -> Example | None:
        """What may be kept of a finished sample; None if nothing may, or if it shows no disagreement.

        Args:
            chat: the question.
            row: its triplet, of the comparison or of after the cutover.
            cloud, sovereign: the answers; None for a leg that gave none.
        """
        difference = disagreement(row.sovereign_millionths, row.noise_millionths)
        days = self._keeping.days_of(row.workload)
        if not days or difference is None or cloud is None or sovereign is None:
            return None
        texts = bounded(
            [_turn(message) for message in chat.messages],
            _said(cloud),
            _said(sovereign),
            self._keeping.max_bytes,
            os.urandom(ID_BYTES),
        ).to_json()
        now = self._clock()
        return Example(
            standing=Standing(difference, row.sample_id, row.cluster),
            experiment_id=row.experiment_id,
            epoch=row.epoch,
            workload=row.workload,
            lane=row.lane,
            keep_unix_us=now,
            expire_unix_us=self._keeping.expires(row.workload, now),
            texts=texts,
            texts_sha256=sha256(texts),
        )

    def sweep(self) -> bool:
        """Deletes what may not be kept any longer; whether there was any.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        return self._store.sweep_examples(self._keeping, self._clock())

    async def page(
        self, request: shadow_pb2.ListExamplesRequest, secret: str
    ) -> shadow_pb2.ListExamplesResponse:
        """A page of a workload's.

        Args:
            request: which.
            secret: of the key that asks; empty for none.

        Raises:
            DomainError: KEY_MISSING, PURPOSE_FORBIDDEN, WORKLOAD_FORBIDDEN, INVALID_REQUEST,
                STORAGE_UNAVAILABLE.
        """
        self._check(request.workload, holder(self._readers, secret))
        return await asyncio.to_thread(self._page, request)

    def _check(self, workload: str, reader: Reader | None) -> None:
        if reader is None:
            # Whether it is a key of something else is not told.
            raise DomainError(
                Reason.PURPOSE_FORBIDDEN,
                'that key may not read examples; give it scopes = ["experiments"] in [keys] of homeward.toml',
                key="",
                purpose="SHADOW",
            )
        if workload in self._keeping.classes and workload not in reader.workloads:
            raise DomainError(
                Reason.WORKLOAD_FORBIDDEN,
                f"key {reader.name!r} may not use the workload {workload!r}; list it in [keys.{reader.name}]"
                " workloads",
                key=reader.name,
                workload=workload,
            )

    def _page(self, request: shadow_pb2.ListExamplesRequest) -> shadow_pb2.ListExamplesResponse:
        if not request.workload:
            raise invalid_request("workload", "the name of a workload", "nothing")
        size = request.page_size or PAGE_SIZE
        if size > MAX_KEPT:
            raise invalid_request("page_size", f"at most {MAX_KEPT}", size)
        token = request.page_token or "0"
        if not (token.isascii() and token.isdigit() and len(token) <= MAX_TOKEN_DIGITS):
            raise invalid_request("page_token", "the token of a page before", repr(token[:40]))
        offset = int(token)
        found = self._store.examples(
            request.workload,
            request.epoch,
            self._clock(),
            offset=offset,
            limit=size + 1,
            with_deleted=request.with_deleted,
        )
        return shadow_pb2.ListExamplesResponse(
            examples=[_to_proto(item) for item in found[:size]],
            next_page_token=str(offset + size) if len(found) > size else "",
            data_class=self._keeping.classes.get(request.workload, ""),
            keep_days=self._keeping.days_of(request.workload),
        )


def _turn(message: chat_pb2.Message) -> tuple[str, str]:
    speaker, _, said = translate.conversation(chat_pb2.Chat(messages=[message])).partition(": ")
    return speaker, said


def _said(answer: Answer) -> str:
    return shown(answer) or answer.refusal


def _to_proto(item: KeptExample) -> shadow_pb2.Example:
    row = item.triplet
    told = shadow_pb2.Example(
        sample_id=row.sample_id,
        experiment_id=row.experiment_id,
        epoch=row.epoch,
        workload=row.workload,
        lane=row.lane,
        scorer=row.scorer,
        agreement_sovereign=(row.sovereign_millionths or 0) / MILLION,
        agreement_noise=(row.noise_millionths or 0) / MILLION,
        reason=row.reason,
        trace_id=row.trace_id,
        request_time=translate.timestamp(row.request_unix_us),
        keep_time=translate.timestamp(item.keep_unix_us),
        expire_time=translate.timestamp(item.expire_unix_us),
        texts_sha256=item.texts_sha256,
        delete_reason=item.delete_reason,
    )
    if item.texts is not None:
        told.texts.CopyFrom(_texts_to_proto(Texts.from_json(item.texts)))
    if item.delete_unix_us is not None:
        told.delete_time.CopyFrom(translate.timestamp(item.delete_unix_us))
    return told


def _texts_to_proto(texts: Texts) -> shadow_pb2.ExampleTexts:
    return shadow_pb2.ExampleTexts(
        turns=map(_turn_to_proto, texts.turns),
        turns_left_out=texts.turns_left_out,
        cloud=_turn_to_proto(texts.cloud),
        sovereign=_turn_to_proto(texts.sovereign),
        salt=texts.salt,
    )


def _turn_to_proto(turn: Turn) -> shadow_pb2.ExampleTurn:
    return shadow_pb2.ExampleTurn(speaker=turn.speaker, text=turn.text, bytes_left_out=turn.bytes_left_out)
