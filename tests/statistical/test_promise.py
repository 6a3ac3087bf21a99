"""The promise of the verdict on a smaller number of experiments than `make proof` draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook.proof import LEAST_POWER, Found, cases, draw_picture, page, prove

RUNS = 2_000
"""So many that a rate of 0.01 has its 99.9 % limit below 0.02."""


@pytest.fixture(scope="module")
def found() -> list[Found]:
    return prove(RUNS)


@pytest.mark.parametrize("number", range(len(cases())), ids=[f"{it.group}, {it.what}" for it in cases()])
def test_each_remedy_keeps_the_promise_and_each_twin_breaks_it(found: list[Found], number: int) -> None:
    item = found[number]
    assert item.holds, f"READY {item.rate:.4f}, limits {item.low:.4f} to {item.high:.4f}"


def test_every_remedy_has_a_twin() -> None:
    wanted: dict[str, set[str]] = {}
    for case in cases():
        wanted.setdefault(case.group, set()).add(case.wanted)
    assert all("safe" in kinds for kinds in wanted.values())
    assert {group for group, kinds in wanted.items() if "breaks" not in kinds} == {"small margin"}
    assert 0.5 < LEAST_POWER < 1


def test_the_page_and_the_picture_have_every_row(found: list[Found], tmp_path: Path) -> None:
    text = page(found, RUNS, 1.0)
    for item in found:
        assert f"| {item.case.group} | {item.case.what} |" in text
    draw_picture(found, tmp_path / "proof.png")
    assert (tmp_path / "proof.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_rates(found: list[Found]) -> None:
    assert [item.rates for item in prove(200, seed=7)] == [item.rates for item in prove(200, seed=7)]
