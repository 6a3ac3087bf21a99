"""Server-sent events: whole events come out of any chunks, and no byte is changed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.router.core import sse

lines = st.sampled_from(
    [b'data: {"a":1}', b"data:x", b"data: [DONE]", b"event: delta", b": comment", b"id: 7", b"data"]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
events = st.builds(
    lambda lines, end: b"".join(line + end for line in lines) + end, st.lists(lines, min_size=1), ends
)


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = sse.Splitter()
    return [event for chunk in chunks for event in splitter.feed(chunk)], splitter.rest()


@st.composite
def chunked(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    return [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]


@given(st.lists(events, max_size=6), lines | st.just(b""), st.data())
def test_any_chunks_of_a_stream_give_the_same_events(
    events: list[bytes], rest: bytes, data: st.DataObject
) -> None:
    stream = b"".join(events) + rest
    assert split(data.draw(chunked(stream))) == (events, rest)
    assert split([stream[i : i + 1] for i in range(len(stream))]) == (events, rest)


@given(st.binary(max_size=200) | st.text("\r\n:ad", max_size=40).map(str.encode), st.data())
def test_no_byte_of_any_stream_is_lost(stream: bytes, data: st.DataObject) -> None:
    events, rest = split(data.draw(chunked(stream)))
    assert b"".join(events) + rest == stream


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_a_blank_line_ends_an_event_whatever_ends_the_lines(blank: bytes) -> None:
    one, two = b"data: 1" + blank, b"data: 2" + blank
    assert split([one + two]) == ([one, two], b"")


def test_an_event_that_never_ends_is_given_up() -> None:
    splitter = sse.Splitter()
    assert list(splitter.feed(b"data: " + b"x" * (sse.MAX_EVENT_BYTES - 6))) == []
    with pytest.raises(DomainError) as caught:
        list(splitter.feed(b"x"))
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (b'data: {"a":1}\n\n', b'{"a":1}'),
        (b"data:x\n\n", b"x"),
        (b"data: x\r\n\r\n", b"x"),
        (b"data: x\r\r", b"x"),
        (b"data: x", b"x"),
        (b"event: delta\ndata: x\n\n", b"x"),
        (b"event: delta\r\ndata: x\r\n\r\n", b"x"),
        (b"event: delta\rdata: x\r\r", b"x"),
        (b"data: x\nevent: delta\nid: 7\n\n", b"x"),
        (b"data: x\rid: 7\r\r", b"x"),
        (b": comment\ndata: x\n\n", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data:a\ndata:b\n\n", b"a\nb"),
        (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
        (b"data: [DONE]\n\n", sse.DONE),
        (b": keep-alive\n\n", b""),
        (b"event: ping\n\n", b""),
        (b"data:\n\n", b""),
        (b"data\n\n", b""),
        (b"\n\n", b""),
    ],
)
def test_the_payload_is_the_data_of_an_event(event: bytes, payload: bytes) -> None:
    assert sse.payload(event) == payload


@pytest.mark.parametrize(
    ("name", "event"), [("", b'data: {"a":1}\n\n'), ("delta", b'event: delta\ndata: {"a":1}\n\n')]
)
def test_an_event_that_is_made_can_be_read(name: str, event: bytes) -> None:
    assert sse.event(b'{"a":1}', name) == event
    assert split([event]) == ([event], b"")
    assert sse.payload(event) == b'{"a":1}'
