"""Setting one key of a JSON object: that value changes, and not one byte beside it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.router.core import splice
from services.router.core.splice import insert_key, set_key

NEW = b'"home"'

spaces = st.text(" \t\r\n", max_size=3)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text('{}[]":,\\/ model')
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts | st.sampled_from(["model", "stream"]), inner, max_size=4)
    ),
    max_leaves=12,
)
written = st.builds(
    json.dumps,
    values,
    ensure_ascii=st.booleans(),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    separators=st.sampled_from([None, (",", ":"), (" , ", " : "), ("\n,\n", ":\r\n")]),
)


@dataclass
class Member:
    """A key and its value, as bytes with the space around them."""

    key: str
    value: str
    before: str = ""
    middle: str = ""
    after: str = ""

    def text(self) -> str:
        return f"{self.before}{json.dumps(self.key)}{self.middle}:{self.middle}{self.value}{self.after}"


members = st.builds(
    Member, texts | st.sampled_from(["model", "stream"]), written, before=spaces, middle=spaces, after=spaces
)


def document(members: list[Member], space: str = "") -> bytes:
    return f"{space}{{{','.join(member.text() for member in members)}{space}}}{space}".encode()


@given(st.lists(members, max_size=6), spaces)
@example([], "")
@example([Member("model", '"a"'), Member("model", '"b"')], "")
@example([Member("a", '{"model": "inner"}'), Member("model", '"outer"')], " ")
@example([Member("a", '"model"'), Member("b", '["model", {"model": 1}]')], "")
def test_only_the_value_of_the_key_changes(members: list[Member], space: str) -> None:
    before = document(members, space)
    after = set_key(before, "model", NEW)
    if any(member.key == "model" for member in members):
        renamed = [
            Member(m.key, NEW.decode() if m.key == "model" else m.value, m.before, m.middle, m.after)
            for m in members
        ]
        assert after == document(renamed, space)
    else:
        assert after == before.replace(b"{", b'{"model":"home"' + (b"," if members else b""), 1)


@given(st.lists(members, max_size=6), spaces)
def test_a_parser_sees_the_new_value_and_the_others_as_they_were(members: list[Member], space: str) -> None:
    before = document(members, space)
    after = set_key(before, "model", NEW)
    assert json.loads(after) == {**json.loads(before), "model": "home"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{"model":"home"}'),
        ("{ }", '{"model":"home" }'),
        ('{"a":1}', '{"model":"home","a":1}'),
        ('{"model":"a"}', '{"model":"home"}'),
        ('{"model" :\n "a" , "b":1.0}', '{"model" :\n "home" , "b":1.0}'),
        ('{"b":1e3,"model":null}', '{"b":1e3,"model":"home"}'),
        ('{"model":{"x":[1,{}]},"b":2}', '{"model":"home","b":2}'),
        ('{"model":[],"model":""}', '{"model":"home","model":"home"}'),
        (r'{"a":"}\"{[,\\","model":"a"}', r'{"a":"}\"{[,\\","model":"home"}'),
        (r'{"a":"\"model\":","b":{"model":1}}', r'{"model":"home","a":"\"model\":","b":{"model":1}}'),
        ('{"a":"model","model":"a"}', '{"a":"model","model":"home"}'),
        ('{"models":"a","Model":"a"}', '{"model":"home","models":"a","Model":"a"}'),
    ],
)
def test_a_key_is_set_where_it_stands_and_put_first_where_it_does_not(before: str, after: str) -> None:
    assert set_key(before.encode(), "model", NEW) == after.encode()


def test_a_key_that_is_repeated_is_set_everywhere() -> None:
    assert set_key(b'{"model":"a","x":0,"model":"b"}', "model", NEW) == (
        b'{"model":"home","x":0,"model":"home"}'
    )


@pytest.mark.parametrize(
    "body",
    [rb'{"mod\u0065l":"a"}', rb'{"\u006d\u006f\u0064\u0065\u006c":"a"}', rb'{"model":"a","\u006dodel":"b"}'],
)
def test_a_key_that_is_written_with_escapes_is_the_same_key(body: bytes) -> None:
    # A parser takes it for "model", so an upstream would serve the model that the application wrote there.
    pairs: list[tuple[str, Any]] = json.loads(set_key(body, "model", NEW), object_pairs_hook=list)
    assert {value for key, value in pairs if key == "model"} == {"home"}


@given(st.lists(members.filter(lambda member: member.key != "model"), max_size=4), spaces)
def test_inserting_is_setting_where_the_key_is_not_there(members: list[Member], space: str) -> None:
    before = document(members, space)
    assert insert_key(before, "model", NEW) == set_key(before, "model", NEW)


@given(st.lists(members, max_size=6), spaces, st.sampled_from([0, 5, 30, splice.NEAR_BYTES]))
@example([Member('x"model', '"a"')], "", 30)
@example([Member("a", '{"model":"inner"}'), Member("b", '"model"')], "", 30)
@example([Member("a", '"}{"'), Member("model", '"b"'), Member("c", '"}{[\\""')], "", 30)
def test_a_key_near_an_end_is_found_where_a_walk_finds_it(
    members: list[Member], space: str, near_bytes: int
) -> None:
    before = document(members, space)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splice, "NEAR_BYTES", near_bytes)
        near = splice._near_span(before, b'"model"')
    assert near is None or [near] == splice._value_spans(before, b'"model"')


FAR = f'"data":[{",".join(["[0.5,-1.25]"] * splice.NEAR_BYTES)}]'


@pytest.mark.parametrize(
    ("before", "walked"),
    [
        pytest.param(f'{{"model":"a",{FAR}}}', False, id="before what is large"),
        pytest.param(f'{{{FAR},"model" : "a\\"","usage":{{"n":[1]}}}}', False, id="behind it"),
        pytest.param(f'{{"a":"\\u2019",{FAR},"model":"a"}}', False, id="with a sign that is escaped"),
        pytest.param(f'{{{FAR},"model":"a",{FAR.replace("data", "b")}}}', True, id="within it"),
        pytest.param(f'{{{FAR},"model":{{"a":1}}}}', True, id="no text"),
        pytest.param(f'{{{FAR},"model":"a","b":{{"model":1}}}}', True, id="twice"),
        pytest.param(f'{{{FAR},"mod\\u0065l":"a"}}', True, id="with escapes"),
    ],
)
def test_a_large_document_is_walked_only_if_it_must_be(
    before: str, walked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[bytes] = []
    walk = splice._value_spans

    def counted(document: bytes, quoted: bytes) -> list[tuple[int, int]]:
        walks.append(quoted)
        return walk(document, quoted)

    monkeypatch.setattr(splice, "_value_spans", counted)
    after = set_key(before.encode(), "model", NEW)
    assert json.loads(after) == {**json.loads(before), "model": "home"}
    assert len(walks) == walked
