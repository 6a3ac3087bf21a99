"""Names imported requests: a bounded sample of each group is shown to the classifier, and stands for it.

A group is the requests with the same system prompt, or, without one, of the same key. Only fingerprints and
names are kept; texts are in memory until the classifier has answered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import grpc
import pyarrow as pa
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc

from playbook.inventory.columns import constant
from playbook.inventory.pricing import codes
from services.classifier import translate
from services.common.fingerprint import shape_of
from services.common.seen import Seen, cut
from services.common.words import Evidence, TaskType, label

MAX_SAMPLES = 20
"""Requests of a group that are shown."""
MAX_GROUPS = 5_000
"""Groups that are told apart; of those beyond, nothing is asked."""
MIN_SHARE = 0.5
"""Share of a group's samples that must agree on a name, or on a kind of work."""
TIMEOUT_S = 10.0
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Name:
    """What a group is."""

    workload: str = ""
    task_type: str = ""
    evidence: str = ""


@dataclass(slots=True)
class _Group:
    seen: int = 0
    asked: int = 0
    workloads: Counter[tuple[str, str]] = field(default_factory=Counter)
    task_types: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)

    def name(self) -> Name:
        answers = sum(self.evidence.values())
        if not answers:
            return Name()
        task_type = _agreed(self.task_types, answers)
        (named, evidence), votes = self.workloads.most_common(1)[0] if self.workloads else (("", ""), 0)
        if votes >= MIN_SHARE * answers:
            return Name(named, task_type, evidence)
        return Name("", task_type, label(Evidence.TASK_TYPE) if task_type else label(Evidence.ABSTAINED))


class Namer:
    """Names the groups of a file. `observe` is given to the reader, `named` gets its blocks."""

    def __init__(self, service: classifier_pb2_grpc.ClassifierServiceStub | None) -> None:
        """`service` None asks nobody."""
        self._service = service
        self._groups: dict[tuple[str, str], _Group] = {}
        self._waiting: list[tuple[_Group, classifier_pb2.ClassifyRequest]] = []
        self._given: dict[tuple[str, str], Name] = {}
        self.problem = ""
        """Why the classifier was asked no more; empty if it answered."""

    @property
    def groups(self) -> int:
        """Groups that had text."""
        return len(self._groups)

    def observe(self, fingerprint: str, key_name: str, seen: Seen) -> None:
        """Takes a request into its group's sample: the first ten, then ever rarer ones."""
        place = (fingerprint, "" if fingerprint else key_name)
        group = self._groups.get(place)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                return
            group = self._groups[place] = _Group()
        group.seen += 1
        chosen = group.seen <= MAX_SAMPLES // 2 or group.seen & (group.seen - 1) == 0
        if not chosen or group.asked >= MAX_SAMPLES or self._service is None or self.problem:
            return
        group.asked += 1
        self._waiting.append((group, _request(seen, key_name)))
        if len(self._waiting) >= _AT_ONCE:
            self._ask()

    def named(self, table: pa.Table) -> pa.Table:
        """A block with its workloads, task types, and what they rest on."""
        self._ask()
        prints, print_names = codes(table, "fingerprint")
        keys, key_names = codes(table, "key_name")
        if not self._groups:
            for column in ("workload", "task_type", "evidence"):
                table = table.append_column(column, constant("", table.num_rows))
            return table
        places = [
            (print_names[a], "" if print_names[a] else key_names[b])
            for a, b in zip(prints.tolist(), keys.tolist(), strict=True)
        ]
        names = {place: self._name(place) for place in set(places)}
        self._given.update(names)
        for column in ("workload", "task_type", "evidence"):
            words = pa.array([getattr(names[place], column) for place in places], pa.string())
            table = table.append_column(column, words.dictionary_encode())
        return table

    def changed(self) -> dict[tuple[str, str], Name]:
        """Groups, by fingerprint and key, that turned out to be something else than their rows were given."""
        return {place: now for place, given in self._given.items() if (now := self._name(place)) != given}

    def _name(self, place: tuple[str, str]) -> Name:
        group = self._groups.get(place)
        return Name() if group is None else group.name()

    def _ask(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or self._service is None or self.problem:
            return
        calls = [
            (group, self._service.Classify.future(request, timeout=TIMEOUT_S)) for group, request in waiting
        ]
        for group, call in calls:
            try:
                answer = call.result()
            except grpc.RpcError as error:
                self.problem = self.problem or " ".join((error.details() or str(error.code())).split())[:200]
                continue
            evidence = label(Evidence(answer.evidence)) if answer.evidence else ""
            group.evidence[evidence] += 1
            if answer.workload:
                group.workloads[answer.workload, evidence] += 1
            if answer.task_type:
                group.task_types[label(TaskType(answer.task_type))] += 1


def _agreed(votes: Counter[str], answers: int) -> str:
    word, count = votes.most_common(1)[0] if votes else ("", 0)
    return word if count >= MIN_SHARE * answers else ""


def _request(whole: Seen, key_name: str) -> classifier_pb2.ClassifyRequest:
    """Without a request id: what is imported is no traffic of now."""
    request = translate.request(
        cut(
            whole.system_prompt,
            whole.turns,
            tool_names=whole.tool_names,
            response_schema=whole.response_schema,
        )
    )
    request.fingerprint.CopyFrom(translate.fingerprint(shape_of(whole)))
    request.key_name = key_name
    return request
