"""`make run`: what it says, what it starts, how it stops, and what it does when something is in the way."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Run, query
from tests.support.places import free_places
from tests.support.stack import ROOT
from tools.screenshot import AT_HOME, UNNAMED, latest

GIB = 2**30


def test_it_tells_where_everything_is_to_people_and_to_programs(run: Run) -> None:
    here = run.endpoints()
    assert set(here) == {
        "openai_base_url",
        "api_key",
        "grpc",
        "traces_url",
        "clickhouse_url",
        "clickhouse_user",
        "clickhouse_password",
    }
    for value in here.values():
        assert value in run.output
    assert "a stand-in" in run.output


def test_the_printed_curl_line_answers(run: Run) -> None:
    line = next(line for line in run.output.splitlines() if line.strip().startswith("curl "))
    done = subprocess.run(["bash", "-c", f"{line} -sS"], capture_output=True, text=True, check=True)
    assert '"choices"' in done.stdout


@pytest.mark.parametrize("example", ["openai_chat", "anthropic_messages", "grpc_chat"])
def test_the_examples_answer(run: Run, example: str, tmp_path: Path) -> None:
    (tmp_path / ".homeward").symlink_to(run.folder)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{example}.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ledger" in done.stdout


def test_the_sample_conversations_are_named_priced_and_booked(run: Run) -> None:
    rows = query(
        run,
        "SELECT workload, count(), countIf(cost_nanos IS NULL) FROM homeward.legs"
        " WHERE trace_id IN (SELECT TraceId FROM otel.otel_traces WHERE ServiceName = 'tour')"
        " GROUP BY workload ORDER BY workload",
    )
    # What runs at home has no price yet, which is not zero.
    assert rows == "\t5\t0\nbank-intent\t5\t0\nmeeting-minutes\t2\t0\nvoice-domain\t3\t3"


def test_one_trace_crosses_every_service(run: Run) -> None:
    """Of a request that nobody named; the tour's own have its span before all others."""
    trace_id = latest(run.endpoints(), UNNAMED)
    services = query(run, f"SELECT DISTINCT ServiceName FROM otel.otel_traces WHERE TraceId = '{trace_id}'")
    assert set(services.splitlines()) - {"tour"} == {"classifier", "ledger", "router", "stand-in-cloud"}


def test_the_tours_traces_begin_with_the_tour(run: Run) -> None:
    roots = query(
        run,
        "SELECT ServiceName, count() FROM otel.otel_traces WHERE ParentSpanId = '' AND TraceId IN"
        " (SELECT TraceId FROM otel.otel_traces WHERE ServiceName = 'tour') GROUP BY ServiceName",
    )
    assert roots == "tour\t15"


def test_a_trace_goes_on_inside_triton(run: Run) -> None:
    """Router, Triton, compute and generate in one tree: each span's parent is there."""
    trace_id = latest(run.endpoints(), AT_HOME)
    rows = query(
        run,
        "SELECT ServiceName, SpanName, SpanId, ParentSpanId FROM otel.otel_traces"
        f" WHERE TraceId = '{trace_id}'",
    )
    spans = [row.split("\t") for row in rows.splitlines()]
    names = {span_id: (service, name) for service, name, span_id, _ in spans}
    edges = {(names[parent], (service, name)) for service, name, _, parent in spans if parent}
    triton = [("triton", name) for name in ("InferRequest", "tensorrt_llm", "compute", "generate")]
    assert {
        (("router", "chat small-llama"), triton[0]),
        (triton[0], triton[1]),
        (triton[1], triton[2]),
        (triton[1], triton[3]),
    } <= edges


def test_the_analysts_user_can_only_read(run: Run) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        query(run, "TRUNCATE TABLE homeward.legs")
    assert "ACCESS_DENIED" in refused.value.read().decode()


def test_the_whole_stack_stays_below_two_gib(run: Run) -> None:
    assert run.rss_bytes() < 2 * GIB


def test_a_second_run_in_the_same_folder_is_refused_in_one_line(run: Run) -> None:
    other = Run(run.folder, free_places())
    other.start()
    assert other.exit_code() == 1
    assert "another `make run`" in other.output
    assert len(other.output.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_parts_and_the_next_run_goes_on(stopped_run: Run, number: int) -> None:
    run = stopped_run.start()
    key, before = run.endpoints()["api_key"], int(query(run, "SELECT count() FROM homeward.legs"))
    parts = run.children()
    assert len(parts) == 8
    assert run.stop(number) == 0
    assert not any(psutil.pid_exists(process.pid) for process in parts.values())
    assert not (run.folder / "endpoints.json").exists()

    run.start(HOMEWARD_LOCAL__TOUR="false")
    assert run.endpoints()["api_key"] == key
    assert int(query(run, "SELECT count() FROM homeward.legs")) == before


def test_a_killed_supervisor_leaves_no_process(stopped_run: Run) -> None:
    run = stopped_run.start(HOMEWARD_LOCAL__TOUR="false")
    parts = run.children()
    run.stop(signal.SIGKILL)
    gone, alive = psutil.wait_procs(list(parts.values()), timeout=30)
    assert len(gone) == 8
    assert not alive


def test_a_part_that_dies_is_restarted_and_said(stopped_run: Run) -> None:
    run = stopped_run.start(HOMEWARD_LOCAL__TOUR="false")
    run.children()["services.ledger"].kill()
    run.wait_for("ledger is back")
    assert "ledger died (killed by SIGKILL): restarting it" in run.output


def test_a_port_that_is_taken_is_one_clear_line(stopped_run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stopped_run.start(HOMEWARD_CLASSIFIER__GRPC=f"127.0.0.1:{port}")
        assert stopped_run.exit_code() == 1
    assert f"port {port} is taken, and classifier needs it" in stopped_run.output
    assert "HOMEWARD_CLASSIFIER__GRPC" in stopped_run.output


def test_a_mistake_in_the_settings_is_said_before_anything_starts(stopped_run: Run) -> None:
    stopped_run.start(HOMEWARD_LIMITS__BODY_BYTES="many")
    assert stopped_run.exit_code() == 1
    assert stopped_run.output.startswith("homeward.toml: limits.body_bytes: ")


def test_with_a_cloud_of_ones_own_there_is_no_stand_in_and_an_unknown_price_is_unknown(
    stopped_run: Run,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local.cloud"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as cloud:
        assert cloud.stdout is not None
        base_url = f"http://127.0.0.1:{json.loads(cloud.stdout.readline())['port']}/v1"
        try:
            run = stopped_run.start(HOMEWARD_CLOUD_BASE_URL=base_url, HOMEWARD_CLOUD_API_KEY="sk-mine")
            assert "deploy.local.cloud" not in run.children()
            assert f"The cloud behind it is {base_url}." in run.output
            # Nobody lists a price of OpenAI's for the model that served.
            sql = "SELECT count(), countIf(cost_nanos IS NULL) FROM homeward.legs WHERE provider = 'openai'"
            assert query(run, sql) == "12\t12"
            assert run.stop() == 0
        finally:
            cloud.terminate()
