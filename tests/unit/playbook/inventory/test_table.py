"""The inventory as it is told: table, reasons, remarks and the next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from playbook.inventory.amounts import between, count, dollars, percent
from playbook.inventory.gather import put_together
from playbook.inventory.lines import Inventory, Registered, first_step, inventory, ordered, slug
from playbook.inventory.pareto import bars
from playbook.inventory.saving import PUBLISHED
from playbook.inventory.spend import Bill, Group, Rest
from playbook.inventory.table import headline, plain, reasons, remarks, table
from tests.support.spend_groups import project

DOLLAR = 1_000_000_000
FIRST = date(2026, 1, 1)
DAYS = [FIRST + timedelta(days=past) for past in range(30)]
REGISTERED = {"ticket-triage": Registered("classification", "unrestricted", "low", True)}


def group(who: str, usd: int | None, task_type: str = "", **changes: Any) -> Group:
    """A project of 30 days; its price is unknown without dollars."""
    return replace(project(who, usd, task_type, DAYS, 100), **changes)


def example() -> Inventory:
    """Three that hold most, some that hold little, and one of unknown price."""
    groups = [
        group("code-review", 4000, "code"),
        group("support-bot", 2000, "context_qa"),
        group("", 1500, workload="ticket-triage", model="", who_kind=""),
        group("chat", 900),
        group("notes", 40, "summarization"),
        group("lab", None, model="new-model"),
    ]
    spend = put_together(
        groups,
        [("usage", "openai", DAYS), ("legs", "openai", DAYS[:3]), ("cost", "openai", DAYS[:2])],
        REGISTERED,
        cut_off={"openai": Rest(12, 60 * DOLLAR, 4000, 0)},
        bills=[Bill("openai", 2, 560 * DOLLAR, 588 * DOLLAR, 0)],
    )
    return inventory(spend, REGISTERED, PUBLISHED)


def printed(found: Inventory, width: int) -> list[str]:
    """The table in a window."""
    file = StringIO()
    Console(width=width, file=file, highlight=False).print(table(found.lines, width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_table_is_read_at_a_hundred_columns() -> None:
    """The dearest first, the few marked, the unknown last and shown as such."""
    assert printed(example(), 100) == GOLDEN.strip("\n").splitlines()


GOLDEN = """
# workload             kind         month  up to requests quality move        saves
1 code-review · gpt-4o project     $4,059 47 % ●     3.0k high    no    $2.6k–$3.8k
2 support-bot · gpt-4o project     $2,029 71 % ●     3.0k medium  yes   $1.3k–$1.9k
3 ticket-triage        registered  $1,522   88 %     3.0k low     yes    $988–$1.4k
4 chat · gpt-4o        project    $913.20   99 %     3.0k unknown maybe   $593–$863
5 notes · gpt-4o       project     $40.59   99 %     3.0k medium  no        $26–$38
6 lab · new-model      project    unknown      –     3.0k unknown maybe     unknown
"""


def test_a_narrow_window_has_no_requests_and_no_line_is_longer() -> None:
    """80 columns are enough."""
    lines = printed(example(), 80)
    assert "requests" not in lines[0]
    assert max(map(len, lines)) <= 80


def test_the_headline_says_what_the_few_hold_and_what_would_be_saved() -> None:
    """Of all that is known, what is too small to be listed included."""
    assert headline(example()) == (
        "$8,625 a month in the cloud; ● 2 of 18 workloads hold 71 % of it."
        " 2 candidates to move would save $2.3k–$3.4k a month."
        " 2 may be one, for $593–$863; see what is missing below."
    )


def test_workloads_of_the_same_reasons_are_told_together() -> None:
    """And only the reasons that decide."""
    assert reasons(example()) == [
        "no (#1): its kind of work, code, still needs a frontier model.",
        "maybe (#4): its kind of work is unknown: import a log with messages, or register it.",
        "no (#5): it costs less than $100 a month.",
        "maybe (#6): its kind of work is unknown: import a log with messages, or register it; its price is"
        " unknown: add it to [[prices]], or import the bill.",
    ]


def test_what_one_must_know_is_told() -> None:
    """The window, what is unknown, what does not count, and where bill and list differ."""
    told = remarks(example())
    assert (
        told[0] == "A month is 30.44 days of the window, in UTC: openai 2026-01-01 to 2026-01-30 (30 days)."
    )
    assert told[1].startswith("17 % of all tokens (300k) have no price, and are in no sum")
    assert told[2].startswith("12 smaller ones are summed: $60.88 a month, 4.0k tokens")
    assert told[3] == (
        "openai: legs that the router booked on 3 days do not count, because imports cover those days."
    )
    assert told[4].startswith("openai: bills of 2 days do not count")
    assert "$560.00 by list and were billed $588.00 (+5.0 %)" in told[5]
    assert told[6].startswith("What a home costs: home at 6 to 35 %")


@pytest.mark.parametrize(
    ("unpriced_rows", "expected"),
    [
        (0, "were billed $588.00 (+5.0 %);"),
        (1, "were billed $588.00 (1 row of them has no list price, so that the list is too little);"),
        (
            1234,
            "were billed $588.00 (1,234 rows of them have no list price, so that the list is too little);",
        ),
    ],
)
def test_a_bill_is_not_compared_with_a_list_price_that_is_not_whole(
    unpriced_rows: int, expected: str
) -> None:
    """How many rows it lacks is told in place of a percentage."""
    spend = put_together([group("chat", 900)], [("usage", "openai", DAYS)])
    bill = Bill("openai", 2, 560 * DOLLAR, 588 * DOLLAR, unpriced_rows)
    told = remarks(inventory(replace(spend, bills=(bill,)), {}, PUBLISHED))
    assert any(expected in text for text in told)


def test_a_month_that_has_more_than_is_priced_is_marked() -> None:
    """And the remark says what the mark means."""
    part = group("part", 100, unpriced_rows=1, unpriced_tokens=1000)
    found = inventory(put_together([part], [("usage", "openai", DAYS)]), {}, PUBLISHED)
    assert "$101.47+" in printed(found, 100)[1]
    assert any(text.endswith("A + has some of them.") for text in remarks(found))


def test_what_began_late_is_told() -> None:
    """A month of the whole window is less than it costs now."""
    late = group("late", 100, daily=tuple((day, 100, 10_000) for day in DAYS[20:]))
    spend = put_together([group("early", 100), late], [("usage", "openai", DAYS)])
    (told,) = (text for text in remarks(inventory(spend, {}, PUBLISHED)) if "began" in text)
    assert told.startswith("#2 began in the second half of the window")
    assert "--since 2026-01-21" in told


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("cost", ["code-review", "support-bot", "ticket-triage", "chat", "notes", "lab"]),
        ("sensitivity", ["ticket-triage", "support-bot", "notes", "code-review", "chat", "lab"]),
    ],
)
def test_lines_are_ordered_as_asked(by: str, names: list[str]) -> None:
    """The unknown comes last."""
    found = ordered(example().lines, by)  # type: ignore[arg-type]  # one of the three words
    assert [line.workload.name.split(" ")[0] for line in found] == names


def test_volume_is_requests() -> None:
    """Those of unknown volume come last, by tokens."""
    busy = group("busy", 1, requests=9000)
    silent = group("silent", 2, requests=None, daily=((FIRST, None, 10),))
    found = inventory(
        put_together([silent, group("calm", 3), busy], [("usage", "openai", DAYS)]), {}, PUBLISHED
    )
    assert [line.place for line in ordered(found.lines, "volume")] == [3, 1, 2]


def test_the_next_step_registers_the_first_candidate() -> None:
    """With all that is known filled in."""
    assert first_step(example()) == (
        "register the first of them: `homeward workload add support-bot-gpt-4o --owner OWNER"
        " --data-class CLASS --task-type context_qa --quality-sensitivity medium --examples FILE.jsonl`."
    )


def test_without_anything_the_next_step_is_an_import() -> None:
    """Nothing is known yet."""
    assert first_step(inventory(put_together([], []), {}, PUBLISHED)).startswith("`homeward inventory import")


def test_the_picture_has_the_dearest_the_rest_and_the_unpriced() -> None:
    """What is smaller than half a percent has no bar of its own."""
    drawn = bars(example())
    assert [bar.label.replace("\n", " · ") for bar in drawn] == [
        "code-review · gpt-4o",
        "support-bot · gpt-4o",
        "ticket-triage",
        "chat · gpt-4o",
        "13 smaller ones",
        "lab · new-model",
    ]
    assert sum(bar.nanos for bar in drawn) == example().spend.month_nanos
    assert [bar.tokens is None for bar in drawn] == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("support-bot · gpt-4o", "support-bot-gpt-4o"),
        ("Ä", "workload"),
        ("x" * 80, "x" * 63),
        ("a/b_c", "a-b-c"),
    ],
)
def test_a_name_can_be_registered(name: str, expected: str) -> None:
    """Lower-case words joined by hyphens."""
    assert slug(name) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (dollars(None), "unknown"),
        (dollars(0), "$0.00"),
        (dollars(1_234_567 * DOLLAR), "$1,234,567"),
        (dollars(-12_345_678_900), "-$12.35"),
        (dollars(1_200_000), "$0.0012"),
        (dollars(1), "<$0.0001"),
        (between(1200 * DOLLAR, 3400 * DOLLAR), "$1.2k–$3.4k"),
        (between(-50 * DOLLAR, 3 * DOLLAR), "-$50 to $3"),
        (between(10, 20), "<$1"),
        (between(340 * DOLLAR, 340 * DOLLAR), "about $340"),
        (count(None), "unknown"),
        (count(999), "999"),
        (count(43_000_000_000), "43B"),
        (percent(0.004), "0.4 %"),
        (percent(0.9999), "99.9 %"),
        (percent(1.0), "100 %"),
    ],
)
def test_amounts_read_as_people_write_them(told: str, expected: str) -> None:
    """And nothing reads as zero or all that is not."""
    assert told == expected


def test_names_of_others_can_not_move_the_cursor() -> None:
    """Control characters are spaces."""
    assert plain("a\x1b[2Jb\nc") == "a [2Jb c"
    assert len(plain("x" * 100)) == 60
