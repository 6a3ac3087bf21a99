"""The part of `homeward status` about migrations, and what is said of money."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from rich.console import Console

from playbook.commands.status_migrations import Migrations, documents, section, usd
from playbook.savings import Saved
from services.common.stages import CANARIES, HOME, OBSERVED, ROLLED_BACK, SHADOWED
from tests.support.migrations import migration

USD = 10**9


def saved(
    home_requests: int = 1_000,
    home_unknown: int = 0,
    home_known_requests: int = 1_000,
    home_nanos: int = 2 * USD,
    cloud_requests: int = 500,
    cloud_nanos: int = 5 * USD,
    experiment_nanos: int = 0,
    experiment_unknown: int = 0,
) -> Saved:
    """A thousand requests at 0.2 cents, which cost a cent in the cloud."""
    return Saved(
        "triage",
        home_requests,
        home_unknown,
        home_known_requests,
        home_nanos,
        cloud_requests,
        cloud_nanos,
        0,
        experiment_nanos,
        experiment_unknown,
    )


@pytest.mark.parametrize(
    ("item", "nanos", "why"),
    [
        pytest.param(saved(), 8 * USD, "", id="known"),
        pytest.param(saved(home_nanos=12 * USD), -2 * USD, "", id="home is dearer"),
        pytest.param(saved(home_requests=0, home_known_requests=0, home_nanos=0), 0, "", id="never home"),
        pytest.param(
            saved(cloud_requests=0, cloud_nanos=0), None, "in the cloud", id="no price in the cloud"
        ),
        pytest.param(
            saved(home_unknown=1_000, home_known_requests=0, home_nanos=0), None, "period", id="period open"
        ),
        pytest.param(
            saved(home_unknown=400, home_known_requests=600, home_nanos=USD),
            5 * USD,
            "without 400",
            id="part",
        ),
    ],
)
def test_what_is_saved_is_what_is_known(item: Saved, nanos: int | None, why: str) -> None:
    assert item.nanos == nanos
    assert why in item.why
    assert bool(why) is bool(item.why)


ALL = [
    migration(
        "bank-intent", SHADOWED, [-1.0, -9.0], "REJECTED", after=CANARIES[0], blocks=["it is REJECTED"]
    ),
    migration("minutes", SHADOWED, [0.5, 1.5], after=CANARIES[0], blocks=["it needs an approval"]),
    migration("triage", CANARIES[0], [1.0, 4.0], "READY", after=CANARIES[1], alerts=["[6 %] were shed"]),
    migration("mails", HOME, [1.0, 40.0], "READY"),
    migration("new", SHADOWED, []),
    migration("old", ROLLED_BACK),
    migration("a", OBSERVED),
    migration("b", OBSERVED),
]


def shown(found: Migrations, money: Mapping[str, Saved] | None, width: int) -> str:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(section(found, money))
    return capture.get()


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_and_tells_every_workload(width: int) -> None:
    told = shown(Migrations(ALL), {"triage": saved(experiment_nanos=USD, experiment_unknown=2)}, width)
    assert max(map(len, told.splitlines())) <= width
    for item in ALL:
        assert item.policy.workload in told
    words = " ".join(told.split())
    for text in (
        "triage CANARY 1%, then CANARY 5%",
        "READY ▂█ ln K 4.00 of 3.69, 200 votes",
        "1,204 sampled → 1,200 sent → 1,190 answered → 1,180 scored",
        "10 failed: timeout, 4 shed: queue",
        "READY in about 3 days (3 windows), at the present pace",
        "none, it is REJECTED since window 2",
        "unknown, fewer than two windows have closed",
        "$8.00 so far, without its pools' idle hours (`homeward ledger pools`); comparing cost $1.00, 2 legs"
        " unknown",
        "nothing yet, no request was answered at home",
        "kept by it needs an approval",
        "alert [6 %] were shed",
        "OBSERVED, nothing compares them: a, b",
    ):
        assert text in words


def test_without_shadow_the_stages_stay_and_the_rest_is_unknown() -> None:
    bare = Migrations([migration("triage", HOME)], "shadow does not tell: the stages are the ledger's")
    told = " ".join(shown(bare, None, 80).split())
    assert "the stages are the ledger's" in told
    assert "triage HOME verdict unknown saved unknown, ClickHouse does not tell" in told
    assert documents(Migrations(None, "nobody tells"), {}) is None
    assert "nobody tells" in shown(Migrations(None, "nobody tells"), {}, 80)


def test_json_has_days_and_money() -> None:
    told = documents(Migrations(ALL), {"triage": saved()})
    rows = {row["workload"]: row for row in json.loads(json.dumps(told))}
    assert rows["minutes"]["days_left"] == 3
    assert rows["new"]["days_left"] is None
    assert rows["triage"]["saved"]["nanos"] == 8 * USD
    assert rows["triage"]["saved"]["cloud_nanos_per_request"] == USD // 100
    assert rows["mails"]["saved"]["nanos"] == 0
    nothing = documents(Migrations(ALL), None)
    assert nothing is not None
    assert nothing[0]["saved"]["nanos"] is None


def test_money_has_its_sign_before_the_dollar() -> None:
    assert [usd(8 * USD), usd(-USD // 2), usd(0)] == ["$8.00", "-$0.50", "$0.00"]
