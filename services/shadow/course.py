"""The course of one workload: what shadow remembers of its migration from one look to the next.

What must outlive a restart is in the store: how long the workload has been at its place, what was answered at
home there, who approved its next move, the cloud's latency, what probes found, the alarm. The policy is not:
that is the ledger's, and the truth.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.settings import Cutover, Workload
from services.common.words import Stage
from services.shadow.adapters.ledger import Row
from services.shadow.adapters.store import Store
from services.shadow.core.breakers import Breakers, Legs, Limits, Trip, counted
from services.shadow.core.experiment import Experiment
from services.shadow.core.gate import Capability, FixedParts, Need, Use, blocks, languages, needs, unknown
from services.shadow.core.lanes import AFTER, COMPARISON
from services.shadow.core.migration import Approval, Situation, Terms, mixed
from services.shadow.core.verdict import Window
from services.shadow.core.watch import Snapshot, Watch

ROWS_AT_ONCE = 1_000
"""Finished samples of one read."""
HOLD_US = 600 * 1_000_000
"""How long a fixed part stands before another takes its place: where each request has a schema of its own, a
probe must still be of use."""
MAX_PART_BYTES = 256 * 1024
"""Of a fixed part; larger ones are not kept, and not probed."""
MAX_FOUND = 8
"""Probes' results that are kept of an epoch for each capability: where tools change all the time, those of
what never does must stay."""
SAVE_BASELINE_US = 10 * 1_000_000
"""How often the cloud's latency is kept."""
_AFTER_CUTOVER = (Stage.CANARY, Stage.HOME)
_WATCHED = (*_AFTER_CUTOVER, Stage.ROLLED_BACK)
"""The last to show what the alarm saw."""


@dataclass(frozen=True, slots=True)
class Stay:
    """How long a workload has been where it is."""

    place: str = ""
    experiment: str = ""
    """Hexadecimal; empty for none."""
    epoch: int = 0
    since_unix_us: int = 0
    answered: int = 0
    """Production requests that the sovereign target answered since."""


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval. It is for one move, of one epoch, from one place: having been used, it fits nothing."""

    key: str
    place: str
    experiment: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a workload at a moment."""

    row: Row
    situation: Situation
    experiment: Experiment | None = None
    windows: Sequence[Window] = ()
    controls: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    capabilities: Sequence[Capability] = ()
    wanted: Sequence[Need] = ()
    """What is to be probed."""
    log_m: float | None = None
    trip: Trip | None = None


class Course:
    """One workload's. Counting and approving happen in the event loop, looking in a thread."""

    def __init__(self, workload: str, store: Store, settings: Workload | None) -> None:
        """Goes on from what the store has. `settings` are None for a workload that they do not have."""
        self.workload = workload
        self.system_prompts: Sequence[str] = settings.system_prompts if settings is not None else ()
        cutover = settings.cutover if settings is not None else Cutover()
        self.approvers: Sequence[str] = cutover.approvers
        self.terms = Terms(Approval(cutover.approval), cutover.step_s, cutover.step_requests)
        self.limits = Limits(
            cutover.error_rate_max,
            cutover.invalid_rate_max,
            cutover.latency_factor_max,
            cutover.breaker_requests,
        )
        self.stage = Stage.OBSERVED
        self.lock = asyncio.Lock()
        """Held while something is decided about it."""
        self.look: Look | None = None
        """The last one."""
        self.alerts: Mapping[str, str] = {}
        self.probing: asyncio.Task[None] | None = None
        self.probed_unix_us = 0
        self.failures: Mapping[str, str] = {}
        """By a need's name, why it could not be probed."""
        self._store = store
        self._saved: dict[str, bytes] = {}
        stay, approved = self._load("stage"), self._load("approval")
        self.stay = Stay(**json.loads(stay)) if stay else Stay()
        self.approved = Approved(**json.loads(approved)) if approved else None
        parts = self._load("parts")
        self._parts = ((b"", 0), FixedParts.from_json(parts) if parts else FixedParts())
        self._parts_unix_us: dict[str, int] = {}
        self._raw_parts: dict[str, bytes] = {}
        baseline = self._load("baseline")
        self.breakers = Breakers(_legs(baseline) if baseline else None)
        self._baseline_unix_us = 0
        self._epoch: tuple[bytes, int] = (b"", 0)
        self.found: tuple[Capability, ...] = ()
        """What probes found in this epoch."""
        self._use = Use()
        self._read_rows: dict[str, int] = {}
        self._watch: Watch | None = None

    @property
    def epoch(self) -> tuple[bytes, int]:
        """The experiment and its epoch that was looked at last; `(b"", 0)` before."""
        return self._epoch

    @property
    def parts(self) -> FixedParts:
        """The fixed parts of the epoch's requests."""
        return self._parts[1]

    def count(self, item: shadow_pb2.LegCount, now_unix_us: int) -> None:
        """Takes a router's count of production legs."""
        legs = counted(
            item.leg_count,
            min(item.failed_count, item.leg_count),
            min(item.invalid_count, item.leg_count),
            item.latency_us,
        )
        if item.target == leg_pb2.TARGET_SOVEREIGN:
            self.breakers.add_home(legs, now_unix_us)
            self.stay = replace(self.stay, answered=self.stay.answered + legs.legs - legs.failed)
        elif item.target == leg_pb2.TARGET_CLOUD:
            # At home the cloud's legs are those that it stepped in for: no picture of its latency.
            usual = self.stage in (Stage.SHADOWED, Stage.CANARY)
            self.breakers.add_cloud(legs, now_unix_us, baseline=usual)

    def saw(self, request: shadow_pb2.SubmitSampleRequest, now_unix_us: int) -> None:
        """Notes the fixed parts of a request of the epoch; those of another may come late."""
        epoch, parts = self._parts
        if epoch != (request.experiment_id, request.epoch):
            return
        chat = request.chat
        tools = chat_pb2.Chat(tools=chat.tools)
        if self._takes("tools", tools, now_unix_us):
            parts = replace(parts, tools=json.dumps(_document(tools)["tools"]))
        form = chat.response_format
        if form.WhichOneof("format") == "json_schema" and self._takes("response_format", form, now_unix_us):
            parts = replace(parts, response_format=json.dumps(_document(form)))
        if self._takes("stop", chat_pb2.SamplingParameters(stop=chat.sampling.stop), now_unix_us):
            parts = replace(parts, stop=tuple(chat.sampling.stop))
        parts = replace(
            parts,
            model=chat.model or parts.model,
            max_tokens=max(parts.max_tokens, chat.sampling.max_tokens),
            streamed=parts.streamed or request.streamed,
        )
        self._parts = (epoch, parts)

    def arrive(self, row: Row, now_unix_us: int) -> None:
        """Notices where the workload stands."""
        if row.place.stage in _AFTER_CUTOVER and self.stage not in _AFTER_CUTOVER:
            self.breakers.begin(now_unix_us)
        self.stage = row.place.stage
        if row.sampling is not None:
            self._compare((row.sampling.experiment_id, row.sampling.epoch))
        experiment, epoch = _epoch_of(row)
        if (self.stay.place, self.stay.experiment, self.stay.epoch) != (str(row.place), experiment, epoch):
            self.stay = Stay(str(row.place), experiment, epoch, now_unix_us)

    def approve(self, row: Row, key: str) -> None:
        """Approves the next move, for good."""
        self.approved = Approved(key, str(row.place), *_epoch_of(row))
        self._save("approval", json.dumps(asdict(self.approved)).encode())

    def approved_by(self, row: Row) -> str:
        """The key that approved the move from there; empty for none."""
        given = self.approved
        if given is None or (given.place, given.experiment, given.epoch) != (str(row.place), *_epoch_of(row)):
            return ""
        return given.key

    def see(
        self,
        row: Row,
        experiment: Experiment | None,
        lanes: Mapping[str, Sequence[Window]],
        trip: Trip | None,
        now_unix_us: int,
        newer_epoch: int = 0,
        home_models: Mapping[str, Sequence[str]] | None = None,
    ) -> Look:
        """Puts together what is known. Reads the store; call it in a thread."""
        if experiment is not None:
            self._read(row, experiment)
        windows = lanes.get(COMPARISON, ())
        controls = {lane: found for lane, found in lanes.items() if lane != COMPARISON and found}
        watching = self._watch is not None and row.place.stage in _AFTER_CUTOVER
        found = self.found
        situation = Situation(
            place=row.place,
            now_unix_us=now_unix_us,
            since_unix_us=self.stay.since_unix_us,
            verdict=windows[-1].verdict if windows else None,
            closed_windows=len(windows),
            min_windows=experiment.min_windows if experiment is not None else 1,
            newer_epoch=newer_epoch,
            mixed=mixed(home_models or {}),
            controls={lane: items[-1].verdict for lane, items in controls.items()},
            gate=blocks(self._use, self.parts, found, now_unix_us, self.failures),
            approved_by=self.approved_by(row),
            answered_at_home=self.stay.answered,
            alarm=self._watch.alarm if self._watch is not None and watching else "",
            breaker=trip.sentence if trip is not None else "",
        )
        wanted = needs(self._use, self.parts)
        return Look(
            row=row,
            situation=situation,
            experiment=experiment,
            windows=windows,
            controls=controls,
            capabilities=(*_latest(found, wanted), *languages(self._use, now_unix_us)),
            wanted=wanted,
            trip=trip,
            log_m=self._watch.detector.log_m
            if self._watch is not None and self._watch.detector.votes
            else None,
        )

    def to_probe(self, look: Look) -> list[Need]:
        """The needs that no probe has passed."""
        passed = [item for item in self.found if item.passed]
        return unknown(look.wanted, passed)

    def keep(
        self,
        found: Iterable[Capability],
        failures: Mapping[str, str],
        epoch: tuple[bytes, int],
        now_unix_us: int,
    ) -> None:
        """Keeps what a round of probes found, and why others could not be made. Writes to the store; call it
        in a thread, with the lock held.

        Args:
            found: what was found.
            failures: by a need's name.
            epoch: the one in which the round began. In another it says nothing: a new epoch may be another
                model's.
            now_unix_us: the time.
        """
        if epoch != self._epoch:
            return
        self.failures = failures
        kept: dict[str, dict[str, Capability]] = {}
        for item in (*self.found, *found):
            of_name = kept.setdefault(item.need.name, {})
            of_name.pop(item.need.digest, None)
            of_name[item.need.digest] = item
        self.found = tuple(item for of_name in kept.values() for item in [*of_name.values()][-MAX_FOUND:])
        self.probed_unix_us = now_unix_us
        if epoch[0]:
            content = [asdict(item) for item in self.found]
            self._save(f"gate:{_name_of(epoch)}", json.dumps(content).encode())

    def save(self) -> None:
        """Makes durable what has changed. Writes to the store; call it in a thread."""
        self._save("stage", json.dumps(asdict(self.stay)).encode())
        epoch, parts = self._parts
        self._save("parts", parts.to_json())
        if epoch[0]:
            self._save(f"parts:{_name_of(epoch)}", parts.to_json())
        if self._watch is not None:
            self._save(f"watch:{_name_of(self._epoch)}", self._watch.snapshot.to_json())

    def save_baseline(self, now_unix_us: int) -> None:
        """Makes the cloud's latency durable, now and then. Only from the event loop, which counts."""
        if now_unix_us - self._baseline_unix_us < SAVE_BASELINE_US:
            return
        self._baseline_unix_us = now_unix_us
        known = self.breakers.baseline()
        if known.legs:
            self._save("baseline", json.dumps(asdict(known)).encode())

    def _compare(self, epoch: tuple[bytes, int]) -> None:
        """Begins the fixed parts of an epoch, or goes on with them. What another epoch used says nothing of
        this one, but for the model: a judge must not be it, whether or not there are samples yet."""
        if epoch == self._parts[0]:
            return
        known = self._load(f"parts:{_name_of(epoch)}")
        if known is not None:
            parts = FixedParts.from_json(known)
        # A version that kept one for all epochs was in this one: they are its.
        elif (self.stay.experiment, self.stay.epoch) == (epoch[0].hex(), epoch[1]):
            parts = self.parts
        else:
            parts = FixedParts(model=self.parts.model)
        self._parts = (epoch, parts)
        self._raw_parts, self._parts_unix_us = {}, {}

    def _takes(self, name: str, message: Message, now_unix_us: int) -> bool:
        """Whether a part takes the place of the one that is kept."""
        raw = message.SerializeToString(deterministic=True)
        before = self._raw_parts.get(name)
        held = now_unix_us - self._parts_unix_us.get(name, 0) < HOLD_US and before is not None
        if not raw or raw == before or held or len(raw) > MAX_PART_BYTES:
            return False
        self._raw_parts[name], self._parts_unix_us[name] = raw, now_unix_us
        return True

    def _read(self, row: Row, experiment: Experiment) -> None:
        epoch = (experiment.experiment_id, experiment.epoch)
        if epoch != self._epoch:
            self._begin(experiment)
        for lane in (COMPARISON, AFTER):
            since = self._read_rows.get(lane, 0)
            while rows := self._store.finished(*epoch, lane, since, ROWS_AT_ONCE):
                self._use.take(item for _, item in rows)
                since = self._read_rows[lane] = rows[-1][0]
        if row.place.stage in _WATCHED and self._watch is not None:
            while rows := self._store.finished(*epoch, AFTER, self._watch.rowid, ROWS_AT_ONCE):
                self._watch.take(rows)

    def _begin(self, experiment: Experiment) -> None:
        self._epoch = (experiment.experiment_id, experiment.epoch)
        name = _name_of(self._epoch)
        self._use, self._read_rows = Use(), {}
        found = self._load(f"gate:{name}")
        self.found = tuple(_capability(item) for item in json.loads(found)) if found else ()
        self.failures, self.probed_unix_us = {}, 0
        snapshot = self._load(f"watch:{name}")
        self._watch = Watch(
            experiment.margin,
            experiment.window_us,
            Snapshot.from_json(snapshot) if snapshot else None,
        )

    def _load(self, name: str) -> bytes | None:
        value = self._store.get_state(self._name(name))
        if value is not None:
            self._saved[name] = value
        return value

    def _save(self, name: str, value: bytes) -> None:
        if self._saved.get(name) != value:
            self._store.set_state(self._name(name), value)
            self._saved[name] = value

    def _name(self, name: str) -> str:
        return name if ":" in name else f"{name}:{self.workload}"


def _name_of(epoch: tuple[bytes, int]) -> str:
    return f"{epoch[0].hex()}:{epoch[1]}"


def _document(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return document


def _epoch_of(row: Row) -> tuple[str, int]:
    return (row.sampling.experiment_id.hex(), row.sampling.epoch) if row.sampling is not None else ("", 0)


def _latest(found: Iterable[Capability], wanted: Sequence[Need]) -> list[Capability]:
    names = {(need.name, need.digest) for need in wanted}
    return [item for item in found if (item.need.name, item.need.digest) in names]


def _capability(document: Mapping[str, Any]) -> Capability:
    return Capability(**{**document, "need": Need(**document["need"])})


def _legs(content: bytes) -> Legs:
    document = json.loads(content)
    return Legs(
        **{**document, "latencies": {int(key): value for key, value in document["latencies"].items()}}
    )
