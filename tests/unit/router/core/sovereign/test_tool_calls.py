"""Tool calls in a model's text: the same calls however the text is cut, and no text lost that is none."""

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.router.core.sovereign.tool_calls import (
    HEAD_CHARS,
    PYTHON_TAG,
    Arguments,
    Started,
    Text,
    ToolCallReader,
)

TOOLS = frozenset({"look", "get_weather", "a.b-c"})

Told = tuple[str, list[tuple[str, str]], bool]
"""What an application gets: text, calls with their arguments, and whether the answer was over."""


def told(pieces: Iterable[str], tools: frozenset[str] = TOOLS) -> Told:
    reader = ToolCallReader(tools)
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    text, calls = "", list[tuple[str, str]]()
    for event in events:
        if isinstance(event, Text):
            text += event.text
        elif isinstance(event, Started):
            assert event.index == len(calls)
            calls.append((event.name, ""))
        elif isinstance(event, Arguments):
            assert event.index == len(calls) - 1
            calls[-1] = (calls[-1][0], calls[-1][1] + event.text)
    assert reader.calls == len(calls)
    return text, calls, reader.done


# Any text, cut anywhere

FRAGMENTS = [
    '{"name": "look", "parameters": {"q": "x"}}',
    '{"name": "look", "parameters": {"q": "br{ace", "e": "\\"}\\\\", "l": [1, {"m": {}}]}}',
    '{"type": "function", "name": "look", "parameters": {}}',
    '{"name":"get_weather","arguments":{"city":"Bern"},"id":"a}b"}',
    '{"parameters": {"q": [1, 2]}, "name": "look"}',
    '{"name": "look", "parameters": "{\\"q\\": 1}"}',
    '{"name": "look"}',
    '{"name": "look", "parameters": null}',
    '{"name": "nobody", "parameters": {}}',
    '{"name": ["look"], "parameters": {}}',
    '{"name": "lo\\qok", "parameters": {}}',
    '{"name": "l\\u006fok", "parameters": {}}',
    '{"domain": "travel"}',
    '{"id": 7}',
    *(PYTHON_TAG, "<|py", "; ", ", ", "\n", " ", "[", "]", "{", "}", "{}", '"', "\\", ":", "name", "é😀"),
    "Sure, I can do that.",
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(texts)
    text = text[: draw(st.integers(0, len(text)) | st.just(len(text)))]
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]


@given(chunked())
@example(('{"name": "lo\\qok", "parameters": {}}', ['{"name": "lo\\qok", "parameters": {', "}}"]))
@example(
    (
        '{"name": "look", "parameters": "{\\"q\\": 1}"}',
        ['{"name": "look", "parameters": "{\\"q\\', "", '": 1}"}'],
    )
)
@example(('{"name": ["look"], "x": 1}', ['{"name": ["look"], "x": 1}']))
def test_the_events_are_the_same_however_a_text_is_cut(cut: tuple[str, list[str]]) -> None:
    text, pieces = cut
    assert told(pieces) == told([text])
    assert told(text) == told([text])


@given(texts)
def test_a_text_without_a_call_comes_through_to_the_letter(text: str) -> None:
    said, calls, done = told(text)
    if not calls:
        assert (said, done) == (text, False)
    # An answer is text or calls: what stands beside a call is for nobody.
    assert not (said and calls)


# Calls as models write them

names = st.sampled_from(sorted(TOOLS))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('a"\\{}[]\n é😀<|', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("k{\"'}", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
arguments = st.dictionaries(st.text('q"{}\\', max_size=4), values, max_size=4)


def written(name: str, arguments: dict[str, Any], style: str) -> str:
    spaces: dict[str, Any] = {"indent": 2} if style == "indented" else {}
    call: dict[str, Any] = {"name": name, "parameters": arguments}
    if style == "compact":
        spaces = {"separators": (",", ":"), "ensure_ascii": False}
    elif style == "typed":
        call = {"type": "function", **call}
    elif style == "reversed":
        call = {"parameters": arguments, "name": name}
    elif style == "in text":
        call = {"name": name, "arguments": json.dumps(arguments)}
    elif style == "with an id":
        call = {"id": "7}", **call, "meta": {"of": ["}", {}]}}
    return json.dumps(call, **spaces)


STYLES = ["plain", "indented", "compact", "typed", "reversed", "in text", "with an id"]


@given(
    st.lists(st.tuples(names, arguments, st.sampled_from(STYLES)), min_size=1, max_size=4),
    st.sampled_from(["; ", ";", ", ", "\n", "\n\n", "", f"; {PYTHON_TAG}"]),
    st.sampled_from([("", ""), (PYTHON_TAG, ""), (f"\n{PYTHON_TAG} ", "\n"), ("[", "]"), (" [\n", "\n] ")]),
    st.integers(1, 9),
)
def test_calls_are_read_as_they_were_meant(
    calls: list[tuple[str, dict[str, Any], str]], between: str, around: tuple[str, str], size: int
) -> None:
    text = around[0] + between.join(written(*call) for call in calls) + around[1]
    said, read, done = told(text[at : at + size] for at in range(0, len(text), size))
    assert said == ""
    assert [(name, json.loads(text)) for name, text in read] == [call[:2] for call in calls]
    assert not done


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('{"name": "look"}', [("look", {})]),
        ('{"name": "look", "parameters": null}', [("look", {})]),
        ('{"name": "look", "arguments": {}}', [("look", {})]),
        ('{ "name" : "look" , "parameters" : { } }', [("look", {})]),
        ('{"name": "look", "parameters": {"é": "\\u00e9"}}', [("look", {"é": "é"})]),
        # The name as JSON may write it.
        ('{"name": "l\\u006fok", "parameters": {}}', [("look", {})]),
        (f'{PYTHON_TAG}[{{"name": "look", "parameters": {{}}}}]', [("look", {})]),
        (
            '{"name": "look", "parameters": {}, "note": "}"}; {"name": "a.b-c", "parameters": {}}',
            [("look", {}), ("a.b-c", {})],
        ),
    ],
)
def test_a_call_is_read_in_less_usual_dress(text: str, calls: list[tuple[str, Any]]) -> None:
    said, read, _ = told(text)
    assert (said, [(name, json.loads(text)) for name, text in read]) == ("", calls)


def test_arguments_come_through_to_the_letter_and_as_soon_as_they_are_there() -> None:
    reader = ToolCallReader(TOOLS)
    assert reader.feed('{"name": "look", "parameters":') == []
    assert reader.feed(" {") == [Started(0, "look"), Arguments(0, "{")]
    assert reader.feed('"q":  "a}') == [Arguments(0, '"q":  "a}')]
    assert reader.feed('\\"b"} ') == [Arguments(0, '\\"b"}')]
    assert reader.feed("}") == []
    assert reader.finish() == []


# What is no call

JSON_ANSWERS = [
    '{"domain": "travel"}',
    '{"name": "Paris", "population": 2100000}',
    '{"name": "nobody", "parameters": {"q": 1}}',
    '{"name": "look", "parameters": [1]}',
    '{"name": "look", "parameters": 5}',
    '{"name": null, "parameters": {}}',
    '{"name": {"look": 1}, "parameters": {}}',
    '{"type": "refund", "amount": 3}',
    '{"parameters": {"q": 1}}',
    '{"name": "look", "parameters": {"q": 1',
    '{"name": "look" "parameters": {}}',
    '{"parameters": ' + '{"a":' * 300 + "1" + "}" * 300 + ', "name": "look"}',
    '{"' + "k" * 5000 + '": 1}',
    '{"name": "' + "k" * 5000 + '"}',
    "{}",
    "{]",
    "[]",
    "[1, 2]",
    '[{"a": 1}]',
    '["look"]',
    "",
    "  ",
    " \n{",
    '{"na',
    "<",
    "<|python_ta",
    PYTHON_TAG,
    f"{PYTHON_TAG}print(1)",
    'Call {"name": "look", "parameters": {}}',
]


@pytest.mark.parametrize("text", JSON_ANSWERS)
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_what_is_no_call_is_text(text: str, size: int) -> None:
    said, calls, done = told(text[at : at + size] for at in range(0, len(text), size))
    if '"parameters": {"q": 1' in text and text.startswith('{"name": "look"'):
        # A call that was cut short is a call with what there was of it.
        assert (said, calls) == ("", [("look", '{"q": 1')])
    else:
        assert (said, calls, done) == (text, [], False)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello", "Hello"),
        ('  {"domain": "travel"}', '  {"domain":'),
        ('{"name": "Paris", "population": 1}', '{"name": "Paris"'),
        ('[{"domain": 1}]', '[{"domain":'),
        ("<b>", "<b"),
        # No name of a call is as long as that.
        ('{"' + "k" * 2000, '{"' + "k" * (HEAD_CHARS - 1)),
    ],
)
def test_an_answer_that_is_no_call_streams_as_soon_as_that_is_clear(text: str, first: str) -> None:
    reader = ToolCallReader(TOOLS)
    quiet = [event for character in first[:-1] for event in reader.feed(character)]
    events = reader.feed(first[-1])
    assert quiet + events
    said = "".join(event.text for event in quiet + events if isinstance(event, Text))
    assert said == first
    rest = text[len(first) :]
    assert [event for character in rest for event in reader.feed(character)] == [Text(char) for char in rest]


def test_no_tools_no_calls() -> None:
    text = '{"name": "look", "parameters": {}}'
    assert told(text, frozenset()) == (text, [], False)


# What follows a call

CALL = '{"name": "look", "parameters": {}}'


@pytest.mark.parametrize(
    "rest",
    [
        "assistant\n\nIt is sunny.",
        "}",
        '\n{"domain": "travel"}',
        '; {"name": "nobody", "parameters": {}} and so on',
        "{} x",
        ' "',
        "<|eom_id|>",
    ],
)
@pytest.mark.parametrize("size", [1, 5, 10**6])
def test_what_is_no_call_after_a_call_is_dropped_and_ends_the_answer(rest: str, size: int) -> None:
    text = CALL + rest
    assert told(text[at : at + size] for at in range(0, len(text), size)) == ("", [("look", "{}")], True)


@pytest.mark.parametrize(
    "rest", ["", " ", "\n", ";", "]", f"; {PYTHON_TAG}", "<|python", '; {"name": "lo', "; {"]
)
def test_what_may_yet_become_a_call_is_dropped_if_the_answer_ends_there(rest: str) -> None:
    assert told(CALL + rest) == ("", [("look", "{}")], False)


def test_after_the_end_nothing_is_kept() -> None:
    reader = ToolCallReader(TOOLS)
    reader.feed(CALL + "x")
    assert reader.done
    assert [reader.feed("y" * 1000) for _ in range(3)] == [[], [], []]
    assert reader.feed(CALL) == []
    assert reader.finish() == []


# Work


def calls_made(pieces: Sequence[str]) -> int:
    """Calls of functions, the interpreter's own among them, while the pieces are read."""
    reader, count = ToolCallReader(TOOLS), 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for piece in pieces:
            reader.feed(piece)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "start",
    [
        '{"name": "look", "parameters": {"rows": [',
        '{"id": 1, "rows": [',
        '{"parameters": {"rows": [',
        '{"type": "list", "rows": [',
        '{"domain": [',
        "[",
    ],
)
def test_the_work_grows_as_the_text_does(start: str) -> None:
    row = '{"a": "b\\"c"}, '

    def work(rows: int) -> int:
        text = start + row * rows
        return calls_made([text[at : at + 4] for at in range(0, len(text), 4)])

    assert work(400) < 2.2 * work(200)
