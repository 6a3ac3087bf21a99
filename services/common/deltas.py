"""What the pieces of a stream add up to."""

from __future__ import annotations

from collections.abc import Iterable

from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2


def joined(deltas: Iterable[router_pb2.Delta]) -> router_pb2.Choice | None:
    """The first answer of a stream; None if no piece is of it."""
    texts: list[str] = []
    refusals: list[str] = []
    calls: dict[int, chat_pb2.ToolCall] = {}
    # Lists: a field of a message would be copied whole for each piece.
    arguments: dict[int, list[str]] = {}
    found = False
    for delta in deltas:
        if delta.choice_index:
            continue
        found = True
        texts.append(delta.text)
        refusals.append(delta.refusal)
        for piece in delta.tool_calls:
            call = calls.setdefault(piece.index, chat_pb2.ToolCall())
            call.id = call.id or piece.id
            call.name += piece.name
            arguments.setdefault(piece.index, []).append(piece.arguments_json)
    if not found:
        return None
    for index, call in calls.items():
        call.arguments_json = "".join(arguments[index])
    text = "".join(texts)
    return router_pb2.Choice(
        message=chat_pb2.Message(
            role=chat_pb2.ROLE_ASSISTANT,
            content=[chat_pb2.ContentPart(text=text)] if text else (),
            tool_calls=[calls[index] for index in sorted(calls)],
        ),
        refusal="".join(refusals),
    )
