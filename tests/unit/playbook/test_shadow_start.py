"""`homeward shadow start`: what it fixes, what it asks, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from homeward.shadow.v1 import shadow_pb2
from typer.testing import CliRunner, Result

from playbook.cli import app
from services.common.errors import DomainError, Reason
from services.common.stages import CANARIES, HOME, OBSERVED, ROLLED_BACK, SHADOWED, Place
from tests.support.migrations import Shadow, experiment, migration, serving

SETTINGS = """
[shadow]
grpc = "{address}"

[classifier]
grpc = "127.0.0.1:9"

[clickhouse]
url = "http://127.0.0.1:9"

[local]
state_dir = "{folder}/state"

[workloads.triage]
owner = "care"
task_type = "classification"

[workloads.essays]
owner = "care"
task_type = "open_ended"

[workloads.unknown]
owner = "care"
"""
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def shadow(tmp_path: Path) -> Iterator[Shadow]:
    """Shadow, and settings that say where it is."""
    made = Shadow()
    with serving(made) as address:
        (tmp_path / "homeward.toml").write_text(SETTINGS.format(address=address, folder=tmp_path))
        yield made


def run(folder: Path, *arguments: str, typed: str | None = None) -> Result:
    command = ["shadow", "start", *arguments, "--settings", str(folder / "homeward.toml")]
    return CliRunner(env={"COLUMNS": "100", "HOMEWARD_API_KEY": "hw-boss"}).invoke(app, command, input=typed)


def registered(shadow: Shadow) -> shadow_pb2.Experiment:
    """What was asked for."""
    (found,) = [item for item in shadow.asked if isinstance(item, shadow_pb2.RegisterExperimentRequest)]
    assert len(found.request_id) == 16
    return found.experiment


def test_the_defaults_are_those_of_weekly_traffic_and_of_the_task_type(
    tmp_path: Path, shadow: Shadow
) -> None:
    done = run(tmp_path, "triage", "--yes")
    assert done.exit_code == 0, done.output
    asked = registered(shadow)
    assert (asked.workload, asked.scorer, asked.margin, asked.alpha) == (
        "triage",
        "exact_match@1",
        0.02,
        0.05,
    )
    assert (asked.window.ToSeconds(), asked.watermark.ToSeconds(), asked.min_windows) == (604_800, 3600, 2)
    assert (asked.rate_ppm, asked.reverse_rate_ppm, asked.daily_cost_cap_nanos) == (100_000, 10_000, 0)
    assert (asked.cluster_by, list(asked.strata)) == ("conversation", [])
    assert shadow.keys == ["Bearer hw-boss"]
    for text in (
        "Fixed for good",
        "0.05 over all epochs; ln K must reach 3.69 in this one",
        "7 days each, 2 at least",
        "Forecast: unknown; ClickHouse at http://127.0.0.1:9 does not tell its volume.",
        "Registered: epoch 1, whose votes count from 2026-10-01 00:00:00 UTC",
        "Next: let its requests come.",
    ):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        (["--scorer", "token_f1@1"], "scorer", "token_f1@1"),
        (["--scorer", "judge@1:gpt-4o"], "scorer", "judge@1:gpt-4o"),
        (["--margin", "0.1"], "margin", 0.1),
        (["--alpha", "0.01"], "alpha", 0.01),
        (["--rate", "0.5"], "rate_ppm", 500_000),
        (["--rate", "1"], "rate_ppm", 1_000_000),
        (["--reverse-rate", "0"], "reverse_rate_ppm", 0),
        (["--cap-usd", "2.5"], "daily_cost_cap_nanos", 2_500_000_000),
        (["--cluster-by", "tenant"], "cluster_by", "tenant"),
        (["--min-windows", "5"], "min_windows", 5),
        (["--cycle", "day"], "min_windows", 14),
        (["--stratum", "language", "--stratum", "tools"], "strata", ["language", "tools"]),
        (["--stratum", "key", "--stratum-value", "crm"], "stratum_values", ["crm"]),
    ],
)
def test_every_option_arrives(
    tmp_path: Path, shadow: Shadow, options: list[str], field: str, value: object
) -> None:
    assert run(tmp_path, "triage", "--yes", *options).exit_code == 0
    found: Any = getattr(registered(shadow), field)
    assert (list(found) if isinstance(value, list) else found) == value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--window", "1d"], "does not span the traffic's cycle"),
        (["--cycle", "none"], "needs a --window"),
        (["--rate", "0"], "--rate must be above 0"),
        (["--margin", "1.5"], "margin must be above 0 and below 1"),
        (["--alpha", "0.7"], "alpha must be above 0"),
        (["--watermark", "later"], "no length of time"),
        (["--stratum", "mood"], "--stratum mood: there are language"),
        (["--stratum-value", "de"], "needs a --stratum"),
        (["--json"], "--json needs --yes"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_registered(
    tmp_path: Path, shadow: Shadow, options: list[str], said: str
) -> None:
    confirmed = [] if options == ["--json"] else ["--yes"]
    done = run(tmp_path, "triage", *confirmed, *options)
    assert done.exit_code == 2
    assert said in done.output
    assert not shadow.keys


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ("essays", "open_ended, which has no scorer of its own"),
        ("unknown", "task type of unknown is unknown"),
        ("nobody", "no workload 'nobody' is registered (there are: essays, triage, unknown)"),
    ],
)
def test_without_a_scorer_that_fits_one_must_be_named(
    tmp_path: Path, shadow: Shadow, workload: str, said: str
) -> None:
    done = run(tmp_path, workload, "--yes")
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Next: " in done.stderr
    assert ("name one by --scorer: judge@1:MODEL" in done.stderr) is (workload != "nobody")
    assert run(tmp_path, workload, "--yes", "--scorer", "text_overlap@1").exit_code == 0
    assert registered(shadow).scorer == "text_overlap@1"


def test_a_no_registers_nothing(tmp_path: Path, shadow: Shadow) -> None:
    done = run(tmp_path, "triage", typed="n\n")
    assert done.exit_code == 1
    assert "Register it and begin?" in done.stderr
    assert not shadow.keys
    assert run(tmp_path, "triage", typed="y\n").exit_code == 0
    assert len(shadow.keys) == 1


def test_a_later_epoch_is_as_the_one_before_but_for_what_is_named(tmp_path: Path, shadow: Shadow) -> None:
    before = migration("triage", ROLLED_BACK, [1.0])
    before.experiment.CopyFrom(
        experiment("triage", epoch=3, margin=0.07, window_s=120, strata=["tools"], daily_cost_cap_nanos=10**9)
    )
    shadow.migrations = [before]
    done = run(tmp_path, "triage", "--yes", "--scorer", "json_fields@1", "--rate", "0.3")
    assert done.exit_code == 0, done.output
    asked, last = registered(shadow), before.experiment
    assert (asked.scorer, asked.rate_ppm) == ("json_fields@1", 300_000)
    for name in ("margin", "alpha", "window", "watermark", "min_windows", "strata", "daily_cost_cap_nanos"):
        assert getattr(asked, name) == getattr(last, name), name
    assert "triage, epoch 4" in done.stdout
    assert "each tools must pass" in done.stdout


def test_json_has_the_experiment_and_the_forecast(tmp_path: Path, shadow: Shadow) -> None:
    shadow.migrations = [migration("triage", SHADOWED, [1.0])]
    told = json.loads(run(tmp_path, "triage", "--yes", "--json").stdout)
    assert told["experiment"]["epoch"] == 2
    found = told["forecast"]
    assert (found["discordance"], found["discordance_measured"]) == (0.12, True)
    assert found["days"] == {"median": None, "p80": None, "p95": None}
    assert "does not tell its volume" in found["why_unknown"]


@pytest.mark.parametrize(
    ("others", "said", "each"),
    [
        ([], None, 0.05),
        ([("new", OBSERVED), ("old", ROLLED_BACK), ("triage", SHADOWED)], None, 0.05),
        (
            [("mails", SHADOWED)],
            "1 other workload is compared or at home: a promise of 0.05 over all 2",
            0.025,
        ),
        (
            [("mails", SHADOWED), ("minutes", CANARIES[0]), ("calls", HOME), ("old", ROLLED_BACK)],
            "3 other workloads are compared or at home: a promise of 0.05 over all 4 needs --alpha 0.013",
            0.0125,
        ),
    ],
    ids=["alone", "none runs", "one", "three"],
)
def test_what_a_promise_over_the_fleet_needs_is_told(
    tmp_path: Path, shadow: Shadow, others: list[tuple[str, Place]], said: str | None, each: float
) -> None:
    shadow.migrations = [migration(name, place) for name, place in others]
    shown = run(tmp_path, "triage", typed="n\n").stdout
    if said is None:
        assert "a promise of" not in shown
    else:
        assert said in shown
    told = json.loads(run(tmp_path, "triage", "--yes", "--json").stdout)
    assert told["fleet"]["alpha_each"] == pytest.approx(each)


def test_another_margin_is_refused_by_the_service_and_told(tmp_path: Path, shadow: Shadow) -> None:
    shadow.error = DomainError(Reason.EXPERIMENT_FIXED, "margin is 0.02 in all its epochs, not 0.05")
    done = run(tmp_path, "triage", "--yes", "--margin", "0.05")
    assert done.exit_code == 1
    assert "margin is 0.02 in all its epochs, not 0.05" in done.stderr
