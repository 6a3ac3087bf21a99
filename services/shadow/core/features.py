"""What a request uses of its model beside plain text, and a sovereign endpoint must have before a cutover."""

from __future__ import annotations

TOOLS, JSON_SCHEMA, JSON_OBJECT, STOP, STREAMING = "tools", "json_schema", "json_object", "stop", "streaming"
FEATURES = (TOOLS, JSON_SCHEMA, JSON_OBJECT, STOP, STREAMING)


def features(*, tools: int, response_format: str, stop: int, streamed: bool) -> tuple[str, ...]:
    """What is used, in the order of FEATURES.

    Args:
        tools: how many are given.
        response_format: `json_schema`, `json_object`, or empty for text.
        stop: how many stop words are given.
        streamed: whether the application asked for a stream.
    """
    used = {
        TOOLS: tools > 0,
        JSON_SCHEMA: response_format == JSON_SCHEMA,
        JSON_OBJECT: response_format == JSON_OBJECT,
        STOP: stop > 0,
        STREAMING: streamed,
    }
    return tuple(name for name in FEATURES if used[name])
