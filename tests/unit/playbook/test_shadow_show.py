"""`homeward shadow list` and `show`, and the picture."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from homeward.shadow.v1 import shadow_pb2
from typer.testing import CliRunner, Result

from playbook.cli import app
from playbook.shadow_pictures import draw_picture
from services.common.stages import CANARIES, HOME, OBSERVED, ROLLED_BACK, SHADOWED
from tests.support.migrations import Shadow, evidence, migration, serving

APPROVAL = "the move from SHADOWED to CANARY 1% needs an approval"
COLLECTING = "the verdict is COLLECTING: 2 windows closed"


@pytest.fixture
def shadow(tmp_path: Path) -> Iterator[Shadow]:
    """Shadow, and settings that say where it is."""
    made = Shadow()
    with serving(made) as address:
        (tmp_path / "homeward.toml").write_text(
            f'[shadow]\ngrpc = "{address}"\n[local]\nstate_dir = "{tmp_path / "state"}"\n'
        )
        yield made


def run(folder: Path, *arguments: str) -> Result:
    command = ["shadow", *arguments, "--settings", str(folder / "homeward.toml")]
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, command)


def test_the_list_has_every_workload_in_80_columns(tmp_path: Path, shadow: Shadow) -> None:
    shadow.migrations = [
        migration("contract-review", SHADOWED, [1.0, 2.5], after=CANARIES[0]),
        migration("triage", CANARIES[2], [1.0, 123_456.0], "READY", after=CANARIES[3]),
        migration("x", OBSERVED),
    ]
    done = run(tmp_path, "list")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert ["contract-review", "SHADOWED", "COLLECTING", "200", "2.50", "3.69", "CANARY", "1%"] in lines
    assert ["x", "OBSERVED", "–", "–", "–", "–", "–"] in lines
    told = json.loads(run(tmp_path, "list", "--json").stdout)
    assert told["policy_version"] == 7
    assert [item["workload"] for item in told["migrations"]] == ["contract-review", "triage", "x"]


def test_the_page_has_it_all(tmp_path: Path, shadow: Shadow) -> None:
    item = migration(
        "triage",
        SHADOWED,
        [1.0, 2.5],
        after=CANARIES[0],
        blocks=[COLLECTING, APPROVAL],
        alerts=["[much] is lost"],
    )
    item.capabilities.add(name="tools", needed="12 % of requests", passed=False, found="it answers in prose")
    item.log_m = 0.5
    shadow.migrations = [migration("other", HOME), item]
    done = run(tmp_path, "show", "triage")
    assert done.exit_code == 0
    for text in (
        "triage  SHADOWED since 2026-10-01 00:00 UTC, then CANARY 1%",
        "Epoch 1 by exact_match@1: δ 0.05, α 0.05, windows of 1 day (2 at least), 10 % of requests",
        "COLLECTING  ▂▅  ln K 2.50 of 3.69, 200 votes",
        "2026-10-02 00:00:00    200  2.500",
        "cloud     COLLECTING, ln K 2.00",
        "Funnel, epoch: 12,040 eligible → 1,204 sampled → 1,200 sent → 1,190 answered → 1,180 scored",
        "10 failed: timeout (a leg gave no answer: a vote, as a failure)",
        "4 shed: queue (drawn, and not handed to shadow: no vote)",
        "tools: lacks it: it answers in prose (needed: 12 % of requests)",
        f"What keeps it from CANARY 1%:\n  - {COLLECTING}\n  - {APPROVAL}",
        "Alarm after the cutover: ln M 0.50; it rolls back at ln 100,000 = 11.51.",
        "alert: [much] is lost",
        f"Picture: {tmp_path}/state/pictures/shadow-triage.png",
        "Next: ",
    ):
        assert text in done.stdout
    assert size(tmp_path / "state" / "pictures" / "shadow-triage.png")[0] == 1000


def size(file: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    head = file.read_bytes()[:24]
    assert head[1:4] == b"PNG"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


@pytest.mark.parametrize(
    ("item", "said"),
    [
        pytest.param(migration("w", OBSERVED), "homeward shadow start w", id="observed"),
        pytest.param(migration("w", ROLLED_BACK), "homeward shadow start w", id="rolled back"),
        pytest.param(
            migration("w", SHADOWED, [], after=CANARIES[0]), "let its requests come", id="no window"
        ),
        pytest.param(
            migration("w", SHADOWED, [1.0], blocks=[COLLECTING, APPROVAL], after=CANARIES[0]),
            "wait, the evidence grows",
            id="an approval alone would not help",
        ),
        pytest.param(
            migration("w", SHADOWED, [9.0], "READY", blocks=[APPROVAL], after=CANARIES[0]),
            "`homeward cutover w --approve`: only people keep it from CANARY 1%",
            id="only the approval",
        ),
        pytest.param(
            migration("w", SHADOWED, [-9.0], "REJECTED", after=CANARIES[0]), "new epoch", id="rejected"
        ),
        pytest.param(
            migration("w", CANARIES[0], [9.0], "READY", blocks=["it has lasted 1 h"], after=CANARIES[1]),
            "wait, it goes to CANARY 5% by itself",
            id="canary",
        ),
        pytest.param(migration("w", HOME, [9.0], "READY"), "`homeward status` watches it", id="home"),
    ],
)
def test_every_page_ends_with_a_next_step_that_fits(
    tmp_path: Path, shadow: Shadow, item: shadow_pb2.Migration, said: str
) -> None:
    shadow.migrations = [item]
    done = run(tmp_path, "show", "w")
    assert done.exit_code == 0
    assert said in done.stdout.splitlines()[-1]
    assert done.stdout.splitlines()[-1].startswith("Next: ")


def test_a_degraded_lane_that_passes_is_told_loudly(tmp_path: Path, shadow: Shadow) -> None:
    item = migration("w", SHADOWED, [9.0], "READY")
    item.controls[1].evidence.CopyFrom(evidence([4.0, 9.0], "READY"))
    shadow.migrations = [item]
    assert "wrong: trust no verdict of this experiment" in run(tmp_path, "show", "w").stdout


def test_json_draws_only_where_it_is_told_to(tmp_path: Path, shadow: Shadow) -> None:
    shadow.migrations = [migration("triage", SHADOWED, [1.0, 2.5])]
    told = json.loads(run(tmp_path, "show", "triage", "--json").stdout)
    assert (told["workload"], told["evidence"]["verdict"]) == ("triage", "COLLECTING")
    assert not (tmp_path / "state").exists()
    run(tmp_path, "show", "triage", "--json", "--picture", str(tmp_path / "p" / "x.png"))
    assert size(tmp_path / "p" / "x.png")[0] == 1000


def test_an_unknown_workload_and_a_strange_picture_are_told(tmp_path: Path, shadow: Shadow) -> None:
    done = run(tmp_path, "show", "nobody")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "homeward workload list" in done.stderr
    assert run(tmp_path, "show", "nobody", "--picture", "x.jpg").exit_code == 2


@pytest.mark.parametrize(
    ("log_ks", "verdict"),
    [
        ([0.5], "COLLECTING"),
        ([0.0, -900.0], "REJECTED"),
        ([float(number) for number in range(200)], "READY"),
        ([0.0] * 14 + [4.0], "READY"),
    ],
)
@pytest.mark.parametrize("window_s", [5, 86_400])
def test_pictures_of_all_kinds_can_be_drawn(
    tmp_path: Path, log_ks: list[float], verdict: str, window_s: int
) -> None:
    item = migration("w", SHADOWED, log_ks, verdict, window_s=window_s)
    draw_picture(item, tmp_path / "a.png")
    assert size(tmp_path / "a.png") == (1000, 680)
    del item.controls[:]
    draw_picture(item, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
