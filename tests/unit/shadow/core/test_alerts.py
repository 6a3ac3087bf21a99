"""The alerts: when each is on, and that each is told twice: when it begins and when it ends."""

from __future__ import annotations

import pytest

from services.common.words import Stage
from services.shadow.core.alerts import Facts, Told, alerts
from services.shadow.core.funnel import Funnel, Span
from services.shadow.core.verdict import Verdict

HALF = 500_000


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (Facts(Stage.OBSERVED), []),
        (Facts(Stage.SHADOWED, HALF, span=Span(Funnel(eligible=10))), ["still"]),
        (Facts(Stage.SHADOWED, HALF, span=Span(Funnel(eligible=9))), []),
        (Facts(Stage.SHADOWED, HALF, span=Span(Funnel(eligible=10, scored=1))), []),
        (Facts(Stage.HOME, HALF, hour=Funnel(losses={("ineligible", "api"): 100})), ["barred"]),
        (Facts(Stage.SHADOWED, HALF, epoch=Funnel(sampled=100, losses={("shed", "queue"): 6})), ["bias"]),
        (Facts(Stage.SHADOWED, HALF, epoch=Funnel(sampled=100, losses={("lost", "cap"): 6})), ["bias"]),
        (Facts(Stage.SHADOWED, HALF, epoch=Funnel(sampled=100, losses={("shed", "queue"): 5})), []),
        (Facts(Stage.SHADOWED, HALF, recent=Funnel(losses={("shed", "queue"): 1})), ["shedding"]),
        (Facts(Stage.SHADOWED, controls={"degraded": Verdict.READY}), ["control degraded"]),
        (Facts(Stage.SHADOWED, controls={"cloud": Verdict.REJECTED}), ["control cloud"]),
        (Facts(Stage.SHADOWED, controls={"cloud": Verdict.READY, "degraded": Verdict.REJECTED}), []),
        (
            Facts(
                Stage.SHADOWED, HALF, epoch=Funnel(sampled=100, losses={("lost", "judge_serves_an_arm"): 1})
            ),
            ["judge_serves_an_arm"],
        ),
        (
            Facts(Stage.SHADOWED, HALF, epoch=Funnel(sent=6, losses={("lost", "judge_not_allowed"): 6})),
            ["bias", "judge_not_allowed"],
        ),
        (Facts(Stage.SHADOWED, sleeping_breaker="it sleeps"), []),
        (Facts(Stage.CANARY, sleeping_breaker="it sleeps"), ["breaker"]),
        (Facts(Stage.HOME, experiment_known=False), ["experiment"]),
        (Facts(Stage.SHADOWED, mixed="two of them"), ["models"]),
    ],
)
def test_which_are_on(facts: Facts, names: list[str]) -> None:
    assert list(alerts(facts)) == names


def test_each_is_told_when_it_begins_and_when_it_ends() -> None:
    told = Told()
    assert told.changes("triage", {"still": "nothing is scored"}) == ["triage: nothing is scored"]
    # The same alert with other figures is no other alert.
    assert told.changes("triage", {"still": "nothing is scored still"}) == []
    assert told.changes("summaries", {}) == []
    assert told.changes("", {"ledger": "it is away"}) == ["it is away"]
    assert told.changes("triage", {}) == ["triage: no longer: nothing is scored still"]
    assert told.changes("triage", {}) == []
    assert told.changes("", {}) == ["no longer: it is away"]
