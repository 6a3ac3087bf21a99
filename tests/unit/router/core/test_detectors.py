"""What the detectors find, what they leave, what becomes of it, and that no text keeps them busy."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.core.detectors import Finding, Kind, Placeholders, find, mask
from services.router.core.identifiers import names

EVERY = frozenset(Kind) - {Kind.PERSON}
"""Those that look for a shape; names are in test_person_names."""
names.model()
"""Read here, so that no test's time has it."""

FOUND = [
    # e-mail
    (Kind.EMAIL, "mail jane.doe+crm@mail.example.co.uk, please", "jane.doe+crm@mail.example.co.uk"),
    (Kind.EMAIL, "<mailto:o'brien@example.com>", "o'brien@example.com"),
    (Kind.EMAIL, "'jane@example.com'", "jane@example.com"),
    (Kind.EMAIL, "Grüße an jörg@müller.de.", "jörg@müller.de"),
    (Kind.EMAIL, "пишите: иван@почта.рф", "иван@почта.рф"),
    (Kind.EMAIL, "to=jane@example.com&x=1", "jane@example.com"),
    (Kind.EMAIL, "jane＠example．com", "jane＠example．com"),
    (Kind.EMAIL, "ja\u200bne@exa\u00admple.com!", "ja\u200bne@exa\u00admple.com"),
    # iban
    (Kind.IBAN, "to DE89370400440532013000 today", "DE89370400440532013000"),
    (Kind.IBAN, "IBAN: GB82 WEST 1234 5698 7654 32 is mine", "GB82 WEST 1234 5698 7654 32"),
    (Kind.IBAN, "gb82west12345698765432", "gb82west12345698765432"),
    (
        Kind.IBAN,
        "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
        "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
    ),
    (Kind.IBAN, "NO93 8601 1117 947", "NO93 8601 1117 947"),
    # card
    (Kind.CARD, "4111 1111 1111 1111 exp 12/26", "4111 1111 1111 1111"),
    (Kind.CARD, "amex 3782-822463-10005", "3782-822463-10005"),
    (Kind.CARD, "card=5555555555554444;", "5555555555554444"),
    (Kind.CARD, "４１１１１１１１１１１１１１１１", "４１１１１１１１１１１１１１１１"),
    # national ids
    (Kind.NATIONAL_ID, "SSN 536-90-4399.", "536-90-4399"),
    (Kind.NATIONAL_ID, "my social security number is 536904399", "536904399"),
    (Kind.NATIONAL_ID, "NI number AB 12 34 56 C", "AB 12 34 56 C"),
    (Kind.NATIONAL_ID, "NHS no. 943-476-5870", "943-476-5870"),
    (Kind.NATIONAL_ID, "Steuer-ID 36 574 261 809", "36 574 261 809"),
    (Kind.NATIONAL_ID, "NIR 2 95 10 99 126 111 93", "2 95 10 99 126 111 93"),
    (Kind.NATIONAL_ID, "DNI 54362315K", "54362315K"),
    (Kind.NATIONAL_ID, "NIE X2482300W", "X2482300W"),
    (Kind.NATIONAL_ID, "CF RCCMNL83S18D969H", "RCCMNL83S18D969H"),
    (Kind.NATIONAL_ID, "BSN 111222333", "111222333"),
    (Kind.NATIONAL_ID, "PESEL 44051401359", "44051401359"),
    (Kind.NATIONAL_ID, "880320-0016", "880320-0016"),
    (Kind.NATIONAL_ID, "HETU 131052-308T", "131052-308T"),
    (Kind.NATIONAL_ID, "CPF 390.533.447-05", "390.533.447-05"),
    (Kind.NATIONAL_ID, "Aadhaar 2341 2341 2346", "2341 2341 2346"),
    # ip
    (Kind.IP, "from 203.0.113.7, port 22", "203.0.113.7"),
    (Kind.IP, "[2001:db8::ff00:42:8329]:443", "2001:db8::ff00:42:8329"),
    (Kind.IP, "fe80::1 is down", "fe80::1"),
    # dates of birth
    (Kind.BIRTH_DATE, "born on 3 March 1980", "3 March 1980"),
    (Kind.BIRTH_DATE, "DOB: 03/05/1980", "03/05/1980"),
    (Kind.BIRTH_DATE, '"date_of_birth": "1980-05-03"', "1980-05-03"),
    (Kind.BIRTH_DATE, "He was born March 5th, 1980.", "March 5th, 1980"),
    (Kind.BIRTH_DATE, "geboren am 3. März 1980", "3. März 1980"),
    (Kind.BIRTH_DATE, "née le 3 août 1980", "3 août 1980"),
    # phone
    (Kind.PHONE, "+49 (0)30 1234567", "+49 (0)30 1234567"),
    (Kind.PHONE, "call +14155550132 now", "+14155550132"),
    (Kind.PHONE, "(415) 555-0132", "(415) 555-0132"),
    (Kind.PHONE, "07700 900 123 after six", "07700 900 123"),
    (Kind.PHONE, "Phone:\n467 3395", "467 3395"),
    (Kind.PHONE, '"phoneNumber": "4155550132"', "4155550132"),
    (Kind.PHONE, "415-555-0132 x4587", "415-555-0132 x4587"),
    (Kind.PHONE, "＋４９ ３０ １２３４５６７", "＋４９ ３０ １２３４５６７"),
    # address
    (Kind.ADDRESS, "at 12a Tite Street in", "12a Tite Street"),
    (Kind.ADDRESS, "Hauptstraße 5, Berlin", "Hauptstraße 5"),
    (Kind.ADDRESS, "26 rue des Martyrs", "26 rue des Martyrs"),
    (Kind.ADDRESS, "P.O. Box 123", "P.O. Box 123"),
    (Kind.ADDRESS, "Calle Mayor, 7", "Calle Mayor, 7"),
    (Kind.ADDRESS, "CB1 1DG", "CB1 1DG"),
]

LEFT = [
    "",
    "no data at all",
    "@alice and user@localhost and a@b",
    "npm i left-pad@1.3.0",
    "DE89370400440532013001 has a wrong check digit",
    "XX89370400440532013000 is of no country",
    "4111 1111 1111 1112 fails Luhn",
    "4111 1111-1111 1111 is not how cards are grouped",
    "0000000000000000",
    "536-00-4399 and 000-12-3456",
    "44051401358",
    "version 1.2.3.4.5 and 999.1.1.1 and v10.0.0.1",
    "127.0.0.1 and ::1 and 0.0.0.0 and 255.255.255.0",
    "12:30:45 std::vector a::b",
    "released on 3 March 1980",
    "on 2024-05-06 at 10:11:12, 05-06-2024, 01/02/2024",
    "order 1234567890, invoice 0012345678",
    "rows 10 20 30 40 50 60 70",
    "a total of 1,234,567.89 or 12 345 678",
    "90 minute service. The place was crowded, 2 twice in a row",
    "sold via online auction in 2005",
    "uuid 123e4567-e89b-12d3-a456-426614174000",
    "0x1234567890abcdef",
    "3.14159265358979",
]


@pytest.mark.parametrize(("kind", "text", "value"), FOUND)
def test_it_finds(kind: Kind, text: str, value: str) -> None:
    start = text.index(value)
    assert find(text, {kind}) == [Finding(kind, start, start + len(value))]


@pytest.mark.parametrize("text", LEFT)
def test_it_leaves(text: str) -> None:
    assert find(text, EVERY) == []


@pytest.mark.parametrize(("kind", "text", "value"), FOUND)
def test_it_finds_nothing_that_was_not_asked_for(kind: Kind, text: str, value: str) -> None:
    assert kind not in {finding.kind for finding in find(text, EVERY - {kind})}


def test_a_value_has_one_placeholder_in_a_request() -> None:
    placeholders = Placeholders()
    texts = [
        "Jane@example.com, bob@example.com",
        "again jane@EXAMPLE.com",
        "4111111111111111",
        "4111 1111 1111 1111",
    ]
    masked = [mask(text, find(text, EVERY), placeholders) for text in texts]
    assert masked == ["<EMAIL_1>, <EMAIL_2>", "again <EMAIL_1>", "<CARD_1>", "<CARD_1>"]


def test_what_two_kinds_share_goes_whole() -> None:
    text = "call 4111 1111 1111 1111 now"
    assert [finding.kind for finding in find(text, {Kind.PHONE})] == [Kind.PHONE]
    assert mask(text, find(text, EVERY), Placeholders()) == "call <CARD_1> now"


PIECES = st.sampled_from(
    [value for _, text, _ in FOUND for value in text.split()]
    + [
        " ",
        "\n",
        "@",
        ".",
        "1",
        "٣",
        "\u200b",
        "é",
        "漢",
        "x@",
        "+",
        "(",
        "-",
        ":",
        "::",
        "GB82",
        "born ",
        "st. ",
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(max_size=80))


@given(TEXTS, st.sets(st.sampled_from(Kind)))
def test_findings_are_in_order_apart_and_inside(text: str, kinds: set[Kind]) -> None:
    done = 0
    for finding in find(text, kinds):
        assert finding.kind in kinds
        assert done <= finding.start < finding.end <= len(text)
        done = finding.end


@given(TEXTS)
def test_what_is_not_found_stays_as_it_was(text: str) -> None:
    findings = find(text, EVERY)
    pieces = map(re.escape, _between(text, findings))
    assert re.fullmatch(r"<[A-Z_]+_\d+>".join(pieces), mask(text, findings, Placeholders()))


def _between(text: str, findings: list[Finding]) -> list[str]:
    ends = [0, *(finding.end for finding in findings)]
    starts = [*(finding.start for finding in findings), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


@given(
    st.sampled_from(FOUND),
    st.text(alphabet="abc ,.\n漢é", max_size=300),
    st.text(alphabet="abc\n漢é", max_size=300),
)
def test_where_it_stands_makes_no_difference(row: tuple[Kind, str, str], before: str, after: str) -> None:
    kind, text, value = row
    whole = f"{before}\n\n{text}\n\n{after}"
    start = len(before) + 2 + text.index(value)
    assert Finding(kind, start, start + len(value)) in find(whole, {kind})


HEAVY = [
    *("a", "1", "@", "(", "1 ", "a@", "a.a@", ":", "1:", "a:1:", "AB12 ", "4111 ", "4111-", "0(", "+1", "(1"),
    *(
        "1.1.1.",
        "12 A ",
        "12 Ab Ab Ab Ab ",
        "Aastrasse 1 ",
        "Calle A 1 ",
        "AAAA11A",
        "１",
        "1\u200b",
        "漢字１２",
    ),
    *(
        "0 1 23 45 ",
        "1(((",
        "1980-01-01 ",
        "1 de mai de 198 ",
        "A1 1A ",
        "phone 12 3456789 ",
        "born 1.1.1980 ",
    ),
    *("GB82WEST1234569876543 ", "x1 ext 1", "0-1/2.3 "),
]


@pytest.mark.parametrize("piece", HEAVY)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    """Ten times the text takes about ten times as long: a search that goes back would take a hundred."""
    short, long = (_seconds(piece * (size // len(piece))) for size in (8_000, 80_000))
    assert long < 40 * max(short, 0.001)


@pytest.mark.timeout(60)
def test_a_million_characters_of_the_heaviest_are_read() -> None:
    text = "1980-01-01 " * 90_000
    assert find(text, EVERY) == []


def _seconds(text: str) -> float:
    best = float("inf")
    for _ in range(2):
        start = time.thread_time()
        find(text, EVERY)
        best = min(best, time.thread_time() - start)
    return best


@settings(max_examples=25)
@given(st.lists(PIECES, min_size=1, max_size=6).map("".join))
def test_no_repetition_is_heavy(piece: str) -> None:
    text = piece * (20_000 // len(piece) + 1)
    assert _seconds(text) < 100 * max(_seconds(text[:2_000]), 0.0005)
