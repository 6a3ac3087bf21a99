"""`homeward shadow replay` on files as an auditor may have them, and the forecast."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from playbook.cli import app
from playbook.replay import duration_us, read_triplets

START = datetime(2026, 10, 1, tzinfo=UTC)
COLUMNS = (
    "request_time", "arrival_time", "cluster", "stratum", "epoch", "agreement_sovereign", "agreement_noise",
)  # fmt: skip


def rows(days: int = 15, per_day: int = 100, sovereign: str = "0.98") -> list[dict[str, Any]]:
    found = []
    for day in range(days):
        for number in range(per_day):
            time = START + timedelta(days=day, seconds=number * 600)
            arrival = time + timedelta(seconds=3)
            values = (time.isoformat(), arrival.isoformat(), "", "", "1", sovereign, "0.98")
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return found


def written(file: Path, items: list[dict[str, Any]], columns: tuple[str, ...] = COLUMNS) -> Path:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(items)
    return file


def replayed(file: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["shadow", "replay", "--triplets", str(file), "--json", *options])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_parity_over_fifteen_days_is_ready(tmp_path: Path) -> None:
    found = replayed(written(tmp_path / "t.csv", rows()), "--margin", "0.02", "--alpha", "0.05")
    assert found["verdict"] == "READY"
    assert [item["verdict"] for item in found["windows"]] == ["COLLECTING"] * 13 + ["READY"] * 2
    first = found["windows"][0]
    assert (first["start"], first["n"], first["epoch"]) == ("2026-10-01T00:00:00Z", 100, 1)
    assert {"log_k", "lower_bound", "upper_bound", "histogram_sha256"} <= first.keys()


def test_the_example_of_the_auditors_page_comes_out(tmp_path: Path) -> None:
    page = Path("docs/verdict.md").read_text(encoding="utf-8")
    file = tmp_path / "two.csv"
    file.write_text(page.partition("printf '")[2].partition("' >")[0].replace("\\n", "\n"))
    (window,) = replayed(file, "--margin", "0.5", "--alpha", "0.05")["windows"]
    assert f"`log_k` is {window['log_k']:.4f}" in page
    assert window["n"] == 2


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    items = rows(3, 20)
    table = pa.table(
        {
            "request_time": [datetime.fromisoformat(item["request_time"]) for item in items],
            "arrival_time": [datetime.fromisoformat(item["arrival_time"]) for item in items],
            "cluster": ["" for _ in items],
            "stratum": [None for _ in items],
            "epoch": [1 for _ in items],
            "agreement_sovereign": [float(item["agreement_sovereign"]) for item in items],
            "agreement_noise": [float(item["agreement_noise"]) for item in items],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert replayed(tmp_path / "t.parquet") == replayed(written(tmp_path / "t.csv", items))


CELLS = {
    "request_time": st.integers(0, 40).map(lambda hour: START + timedelta(hours=hour)),
    "arrival_time": st.none() | st.integers(0, 70).map(lambda hour: START + timedelta(hours=hour)),
    "epoch": st.integers(1, 2),
    "agreement_sovereign": st.none() | st.integers(0, 1000).map(lambda value: value / 1000),
    "agreement_noise": st.none() | st.integers(0, 1000).map(lambda value: value / 1000),
}
LABELS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "texts": (pa.string(), st.sampled_from(["", "0", "a", "nan", None])),
    "whole numbers": (pa.int64(), st.sampled_from([0, 1, 2, None])),
    "numbers": (pa.float64(), st.sampled_from([0.0, 1.0, math.nan, None])),
    "short numbers": (pa.float32(), st.sampled_from([0.5, 1.5, math.nan, None])),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("number", [pa.float64(), pa.float32()], ids=str)
@given(data=st.data())
def test_the_same_rows_as_csv_and_as_parquet_are_the_same_triplets(
    tmp_path_factory: pytest.TempPathFactory, kind: str, number: pa.DataType, data: st.DataObject
) -> None:
    label, labels = LABELS[kind]
    cells = st.fixed_dictionaries({**CELLS, "cluster": labels, "stratum": labels})
    items = data.draw(st.lists(cells, min_size=1, max_size=8))
    folder = tmp_path_factory.mktemp("same")
    types = {"cluster": label, "stratum": label, "epoch": pa.float64()}
    types |= dict.fromkeys(("agreement_sovereign", "agreement_noise"), number)
    columns = {name: pa.array([item[name] for item in items], types.get(name)) for name in COLUMNS}
    pq.write_table(pa.table(columns), folder / "t.parquet")
    texts = [{name: as_text(value) for name, value in item.items()} for item in items]
    file = written(folder / "t.csv", texts)
    assert list(read_triplets(folder / "t.parquet")) == list(read_triplets(file))


def as_text(value: Any) -> str:
    """A cell of a CSV."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def test_windows_of_seconds_serve_a_demo(tmp_path: Path) -> None:
    items = rows(1, 60)
    found = replayed(
        written(tmp_path / "t.csv", items), "--window", "10m", "--watermark", "30s", "--min-windows", "2"
    )
    assert len(found["windows"]) == 60


def test_only_the_three_columns_are_needed(tmp_path: Path) -> None:
    file = written(tmp_path / "t.csv", rows(2, 5), ("request_time", "agreement_sovereign", "agreement_noise"))
    assert replayed(file)["windows"][-1]["n"] == 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"request_time": "yesterday"}, "line 3: request_time: 'yesterday'"),
        ({"request_time": ""}, "line 3: request_time"),
        ({"agreement_sovereign": "1.2"}, "line 3: agreement_sovereign"),
        ({"agreement_noise": "much"}, "line 3: agreement_noise"),
        ({"epoch": "0"}, "line 3: epoch"),
        ({"epoch": "2000"}, "line 3: epoch"),
        ({"epoch": "1.7"}, "line 3: epoch"),
        ({"arrival_time": "25:00"}, "line 3: arrival_time"),
        ({"gold_sovereign": "1"}, "line 3: gold_cloud: '': gold_sovereign and gold_cloud are both given or"),
        ({"gold_cloud": "2"}, "line 3: gold_cloud: '2': agreement lies in 0 to 1"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    items = rows(1, 3)
    items[1] |= changes
    file = written(tmp_path / "t.csv", items, (*COLUMNS, *GOLD))
    result = CliRunner().invoke(app, ["shadow", "replay", "--triplets", str(file)])
    assert result.exit_code == 1
    assert said in result.stderr.replace("\n", " ")


def test_a_line_that_was_cut_off_is_told_by_its_number_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("request_time,agreement_sovereign,agreement_noise\n\n2026-10-01T00:00:00Z,1\n")
    result = CliRunner().invoke(app, ["shadow", "replay", "--triplets", str(file)])
    assert result.exit_code == 1
    assert "line 3: agreement_noise" in result.stderr.replace("\n", " ")


def test_times_of_nanoseconds_are_read(tmp_path: Path) -> None:
    times = pa.array([1_790_000_000_000_000_123], pa.timestamp("ns", "UTC"))
    pq.write_table(
        pa.table({"request_time": times, "agreement_sovereign": [1.0], "agreement_noise": [1.0]}),
        tmp_path / "t.parquet",
    )
    assert replayed(tmp_path / "t.parquet")["windows"][0]["n"] == 1


def test_a_missing_column_or_file_is_told(tmp_path: Path) -> None:
    file = written(tmp_path / "t.csv", rows(1, 1), ("request_time", "agreement_noise"))
    for name, said in ((file, "agreement_sovereign"), (tmp_path / "none.csv", "No such file")):
        result = CliRunner().invoke(app, ["shadow", "replay", "--triplets", str(name)])
        assert result.exit_code == 1
        assert said in result.stderr


GOLD = ("gold_sovereign", "gold_cloud")


def test_gold_answers_are_told_beside_the_verdict(tmp_path: Path) -> None:
    """A model that says what the cloud says most, and is right less often: D does not see it."""
    items = rows(15, 100)
    for number, item in enumerate(items):
        # A tenth has a gold answer; of these, home is right in half, and the cloud in all but a fifth.
        told = (str(number // 10 % 2), "0.8") if number % 10 == 0 else ("", "")
        item.update(zip(GOLD, told, strict=True))
    file = written(tmp_path / "t.csv", items, (*COLUMNS, *GOLD))
    found = replayed(file)
    without = replayed(written(tmp_path / "without.csv", items))
    assert found["verdict"] == without["verdict"] == "READY"
    assert found["windows"] == without["windows"]
    assert without["gold"] is None
    gold = found["gold"]
    assert (gold["epoch"], gold["triplets"], gold["votes"]) == (1, 150, 150)
    assert (gold["mean_sovereign"], gold["mean_cloud"]) == pytest.approx((0.5, 0.8))
    assert gold["difference"] == pytest.approx(-0.3)
    assert gold["lower_bound"] < -0.3 < gold["upper_bound"] < 0
    result = CliRunner().invoke(app, ["shadow", "replay", "--triplets", str(file)])
    words = " ".join(result.stdout.split())
    assert "of 150 triplets of epoch 1 that have one, home agrees 0.500 with it and the cloud 0.800" in words


def test_gold_answers_of_a_cluster_have_one_vote_and_only_the_last_epoch_counts(tmp_path: Path) -> None:
    items = rows(2, 4)
    for number, item in enumerate(items):
        item.update(cluster="a" if number % 4 < 3 else "", epoch=str(1 + number // 4))
        item.update(zip(GOLD, ("0.5" if number < 4 else "1", "1"), strict=True))
    gold = replayed(written(tmp_path / "t.csv", items, (*COLUMNS, *GOLD)))["gold"]
    assert (gold["epoch"], gold["triplets"], gold["votes"], gold["difference"]) == (2, 4, 2, 0)


def test_the_table_ends_with_the_verdict_and_the_next_step(tmp_path: Path) -> None:
    file = written(tmp_path / "t.csv", rows())
    result = CliRunner().invoke(app, ["shadow", "replay", "--triplets", str(file)])
    assert result.exit_code == 0
    assert "READY: worse than" in result.stdout
    assert "Next:" in result.stdout.splitlines()[-1]


def test_a_simulation_tells_rates_with_exact_limits() -> None:
    arguments = [
        "shadow",
        "replay",
        "--simulate",
        "three-point",
        "--runs",
        "500",
        "--margin",
        "0.05",
        "--json",
    ]
    result = CliRunner().invoke(app, arguments)
    found = json.loads(result.stdout)
    assert found["runs"] == 500
    assert found["parity"]["ready"]["rate"] > 0.99
    assert found["margin"]["ready"]["low"] <= found["margin"]["ready"]["rate"] <= 0.05


def simulated(*options: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["shadow", "replay", "--json", "--simulate", *options])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_simulation_is_long_enough_for_its_windows() -> None:
    found = simulated("one in five", "--margin", "0.05", "--min-windows", "30", "--runs", "200")
    assert found["plan"]["days"] == 60
    assert found["parity"]["ready"]["rate"] > 0.9


def test_a_simulation_looks_when_its_windows_close() -> None:
    """Of traffic with a weekly rhythm: only windows of a week keep the promise."""
    common = ("weekly", "--margin", "0.05", "--runs", "2000")
    weeks = simulated(*common, "--window", "7d", "--min-windows", "2")
    days = simulated(*common, "--min-windows", "1")
    assert weeks["margin"]["ready"]["high"] <= 0.05 < days["margin"]["ready"]["low"]
    assert (weeks["plan"]["window_days"], days["plan"]["window_days"]) == (7, 1)
    late = simulated("three-point", "--window", "7d", "--min-windows", "5", "--runs", "10")
    assert late["plan"]["days"] == 70


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--simulate", "three-point", "--margin", "0.15"], "smaller one"),
        (["--simulate", "three-point", "--margin", "0.15"], "discordant"),
        (["--simulate", "continuous", "--margin", "0.9999"], "smaller one"),
        (["--simulate", "three-point", "--window", "36h"], "whole days"),
        (["--simulate", "three-point", "--min-windows", "500"], "choose fewer"),
        (["--simulate", "three-point", "--watermark", "2h"], "leave --triplets"),
        (["--simulate", "three-point", "--strata", "de"], "leave --triplets"),
        (["--simulate", "three-point", "--triplets", "t.csv"], "leave --triplets"),
        (["--simulate", "chess"], "three-point"),
        ([], "--triplets"),
        (["--simulate", "three-point", "--window", "1 day"], "1d"),
        (["--simulate", "three-point", "--margin", "2"], "margin"),
    ],
)
def test_wrong_usage_says_what_is_right(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["shadow", "replay", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_a_forecast_tells_days_and_a_faster_one_fewer() -> None:
    def told(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["shadow", "forecast", "--json", *arguments])
        assert result.exit_code == 0, result.output
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    slow = told("--requests-per-day", "2000", "--rate", "0.1", "--min-windows", "1")
    fast = told("--requests-per-day", "2000", "--rate", "0.5", "--min-windows", "1")
    assert slow["samples_per_day"] == 200
    assert fast["days"]["median"] < slow["days"]["median"] < slow["days"]["p95"]
    assert told("--requests-per-day", "1000000")["days"]["p95"] == 14
    assert told("--requests-per-day", "20")["days"]["median"] is None


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1d", 86_400)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert duration_us(text) == seconds * 10**6
