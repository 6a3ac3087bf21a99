"""An example of disagreement as JSON and in words: what `shadow examples` and `report` show of it. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from difflib import SequenceMatcher
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from homeward.shadow.v1 import shadow_pb2

from services.common.ids import uuid_text

_PIECES = re.compile(r"\s+|\w+|[^\w\s]")

Piece = tuple[str, bool]
"""A piece of a text, and whether the other text has it not there."""


def document(item: shadow_pb2.Example) -> dict[str, Any]:
    """An example as JSON. `texts` is None once they are deleted."""
    return {
        "sample_id": uuid_text(item.sample_id),
        "experiment_id": uuid_text(item.experiment_id),
        "epoch": item.epoch,
        "workload": item.workload,
        "lane": item.lane,
        "scorer": item.scorer,
        "difference": round(item.agreement_sovereign - item.agreement_noise, 6),
        "agreement_sovereign": item.agreement_sovereign,
        "agreement_noise": item.agreement_noise,
        "reason": item.reason,
        "trace_id": item.trace_id,
        "request_time": _moment(item.request_time),
        "keep_time": _moment(item.keep_time),
        "expire_time": _moment(item.expire_time),
        "texts": _texts(item.texts) if item.HasField("texts") else None,
        "texts_sha256": item.texts_sha256.hex(),
        "delete_time": _moment(item.delete_time) if item.HasField("delete_time") else None,
        "delete_reason": item.delete_reason,
    }


def texts_sha256(texts: Mapping[str, Any]) -> str:
    """The hash of `texts` as `document` has them: of JSON with sorted keys and without spaces."""
    content = json.dumps(dict(texts), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def marked(one: str, other: str) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Both texts in pieces, with the words marked that the other has not at that place."""
    first, second = _PIECES.findall(one), _PIECES.findall(other)
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    same_first, same_second = set[int](), set[int]()
    for a, b, size in matcher.get_matching_blocks():
        same_first |= set(range(a, a + size))
        same_second |= set(range(b, b + size))
    return _pieces(first, same_first), _pieces(second, same_second)


def left_out(turn: Mapping[str, Any]) -> str:
    """`… 1,204 bytes more`, or nothing if the text is whole."""
    count = turn["bytes_left_out"]
    return f"… {count:,} byte{'' if count == 1 else 's'} more" if count else ""


def _pieces(words: Sequence[str], same: set[int]) -> list[Piece]:
    return [(word, place not in same and not word.isspace()) for place, word in enumerate(words)]


def _texts(texts: shadow_pb2.ExampleTexts) -> dict[str, Any]:
    return {
        "turns": [_turn(turn) for turn in texts.turns],
        "turns_left_out": texts.turns_left_out,
        "cloud": _turn(texts.cloud),
        "sovereign": _turn(texts.sovereign),
        "salt": texts.salt.hex(),
    }


def _turn(turn: shadow_pb2.ExampleTurn) -> dict[str, Any]:
    return {"speaker": turn.speaker, "text": turn.text, "bytes_left_out": turn.bytes_left_out}


def _moment(time: Timestamp) -> str:
    return time.ToDatetime(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
