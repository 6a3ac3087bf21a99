"""Names of imported groups: a bounded sample is shown, the majority counts, and silence is survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2

from playbook.inventory.columns import table_of
from playbook.inventory.formats.request_log import rows as log_rows
from playbook.inventory.naming import MAX_SAMPLES, Namer
from playbook.inventory.reading import Reading
from playbook.inventory.rows import UsageRow
from playbook.inventory.stream import Stream
from services.common.seen import Seen

Answer = Callable[[classifier_pb2.ClassifyRequest], classifier_pb2.ClassifyResponse]


def triage(_: classifier_pb2.ClassifyRequest) -> classifier_pb2.ClassifyResponse:
    return classifier_pb2.ClassifyResponse(
        workload="triage",
        evidence=workload_pb2.EVIDENCE_FINGERPRINT,
        task_type=workload_pb2.TASK_TYPE_CLASSIFICATION,
    )


def by_turn(request: classifier_pb2.ClassifyRequest) -> classifier_pb2.ClassifyResponse:
    """Every third request is of another kind, and only the first has a name."""
    number = int(request.turns[0])
    odd = number % 3 == 2
    return classifier_pb2.ClassifyResponse(
        workload="first" if number == 0 else "",
        evidence=workload_pb2.EVIDENCE_EXAMPLES if number == 0 else workload_pb2.EVIDENCE_TASK_TYPE,
        task_type=workload_pb2.TASK_TYPE_CODE if odd else workload_pb2.TASK_TYPE_GENERATION,
    )


class _Service(classifier_pb2_grpc.ClassifierServiceServicer):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[classifier_pb2.ClassifyRequest] = []

    def Classify(
        self, request: classifier_pb2.ClassifyRequest, context: grpc.ServicerContext
    ) -> classifier_pb2.ClassifyResponse:
        self.asked.append(request)
        return self._answer(request)


@contextmanager
def namer(answer: Answer) -> Iterator[tuple[Namer, list[classifier_pb2.ClassifyRequest]]]:
    """A namer and what it has asked."""
    service = _Service(answer)
    server = grpc.server(ThreadPoolExecutor(2))
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Namer(classifier_pb2_grpc.ClassifierServiceStub(channel)), service.asked
    finally:
        server.stop(None).wait()


def seen(turn: str, system_prompt: str = "You triage.") -> Seen:
    return Seen(system_prompt=system_prompt, turns=(turn,), input_chars=len(turn))


@pytest.fixture
def two_rows(tmp_path: Path) -> list[UsageRow]:
    """A row of the fingerprint "f", and one of the key "k" without text."""
    path = tmp_path / "log"
    path.write_text(
        '{"time": "2025-05-01", "model": "gpt-4o", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n'
        '{"time": "2025-05-01", "model": "gpt-4o", "usage": {"prompt_tokens": 1, "completion_tokens": 1},'
        ' "key_name": "k"}\n'
    )
    with Stream(path) as stream:
        first, second = log_rows(stream, Reading())
    assert isinstance(first, UsageRow)
    assert isinstance(second, UsageRow)
    object.__setattr__(first, "fingerprint", "f")
    return [first, second]


def columns(named: Namer, rows: list[UsageRow]) -> list[tuple[str, str, str]]:
    table = named.named(table_of(rows))
    return [
        (row["workload"], row["task_type"], row["evidence"])
        for row in table.select(["workload", "task_type", "evidence"]).to_pylist()
    ]


def test_a_group_gets_the_name_of_its_sample_and_the_sample_is_bounded(two_rows: list[UsageRow]) -> None:
    with namer(triage) as (named, asked):
        for number in range(100_000):
            named.observe("f", "other", seen(str(number)))
        assert columns(named, two_rows) == [("triage", "classification", "fingerprint"), ("", "", "")]
        assert 10 <= len(asked) <= MAX_SAMPLES
        assert all(not request.request_id for request in asked)
        assert all(request.fingerprint.digest for request in asked)
        assert named.changed() == {}
        assert (named.groups, named.problem) == (1, "")


def test_most_of_the_sample_must_agree(two_rows: list[UsageRow]) -> None:
    with namer(by_turn) as (named, _):
        named.observe("f", "", seen("0"))
        assert columns(named, two_rows)[0] == ("first", "generation", "examples")
        for number in range(1, 6):
            named.observe("f", "", seen(str(number)))
        assert columns(named, two_rows)[0] == ("", "generation", "task_type")


def test_a_name_that_later_requests_change_is_told_at_the_end(two_rows: list[UsageRow]) -> None:
    with namer(by_turn) as (named, _):
        named.observe("", "k", seen("0", ""))
        assert columns(named, two_rows)[1][0] == "first"
        for number in range(1, 8):
            named.observe("", "k", seen(str(number), ""))
        named.named(table_of(two_rows[:1]))
        assert {place: name.workload for place, name in named.changed().items()} == {("", "k"): ""}


def test_without_a_classifier_the_import_goes_on_and_says_so(two_rows: list[UsageRow]) -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        named = Namer(classifier_pb2_grpc.ClassifierServiceStub(channel))
        for number in range(200):
            named.observe("f", "", seen(str(number)))
        assert columns(named, two_rows) == [("", "", "")] * 2
        assert named.problem


def test_nobody_is_asked_in_a_dry_run(two_rows: list[UsageRow]) -> None:
    named = Namer(None)
    named.observe("f", "", seen("x"))
    assert columns(named, two_rows) == [("", "", "")] * 2
    assert (named.problem, named.groups) == ("", 1)
