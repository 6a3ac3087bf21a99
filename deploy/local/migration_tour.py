"""The end of the tour: two workloads are compared, one moves home and back again, one stays in the cloud.

It uses what any user has: the OpenAI-compatible door, ShadowService with the demo key, the journal's list of
decisions, and Triton's repository API. Nothing is staged: the verdicts are those of the models' own answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc import aio
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tritonclient.utils import InferenceServerException

from deploy.local import degraded, story
from deploy.local.plans import PLANS
from deploy.local.traffic import BANK, VOICE, Seen, Traffic
from services.common.ids import uuid7
from services.common.policy_rows import sampling_from_proto
from services.common.sampling import is_sampled
from services.common.stages import HOME, OBSERVED, ROLLED_BACK, SHADOWED, Place
from services.common.words import Stage

DEADLINE_S = 600.0
"""Of the whole. It takes two to five minutes on two cores; a slower machine may take longer."""
POLL_S = 0.5
CALL_S = 10.0
SETTLE_S = 5.0
"""How long it stays at home before the bad release comes."""
BACKLOG_S = 3.0
"""Seconds' worth of samples that may wait for their legs; with more the traffic slows down, or their answers
would come after their windows."""
SLOW = 0.25
"""Share of the pace until they are fewer."""
REJECTED_PER_S = 1.0
"""Requests of a workload that has its verdict: enough to see that they are answered."""
TARGETS = {Stage.CANARY: "sovereign", Stage.HOME: "sovereign"}
"""Which target shows that a stage is in force; elsewhere it is the cloud."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is."""

    base_url: str
    api_key: str
    model: str
    shadow: str
    ledger: str
    triton: str
    traces_url: str
    """Empty: the embedded ClickHouse, which has the page, is not there."""
    good_model: Path
    bad_model: Path
    """A folder that is written anew."""


@dataclass(slots=True)
class Waiting:
    """A decision whose first request has not been seen."""

    workload: str
    target: str
    policy_version: int
    compared: bool = False
    """Only a request that is compared will do, whose trace has the comparison's legs."""


class MigrationTour:
    """One run of it."""

    def __init__(self, at: Addresses, say: Say) -> None:
        self._at, self._say = at, say
        self._began_s = time.monotonic()
        self._told = {workload: story.Told() for workload in PLANS}
        self._waiting: list[Waiting] = []
        self._metadata = (("authorization", f"Bearer {at.api_key}"),)
        self._migrations: dict[str, shadow_pb2.Migration] = {}
        self._policy_version = 0
        self._went_bad = False

    async def run(self) -> None:
        """Runs to its end, or tells why it could not."""
        at = self._at
        rates = {workload: plan.per_second for workload, plan in PLANS.items()}
        try:
            async with (
                aio.insecure_channel(at.shadow) as shadow,
                aio.insecure_channel(at.ledger) as ledger,
                Traffic(at.base_url, at.api_key, at.model, rates) as self._traffic,
            ):
                self._shadow = shadow_pb2_grpc.ShadowServiceStub(shadow)
                self._ledger = ledger_pb2_grpc.LedgerServiceStub(ledger)
                await self._all()
        except aio.AioRpcError as error:
            self._tell(f"The migrations ended early: {error.details()}")
        except InferenceServerException as error:
            self._tell(f"The migrations ended early: Triton loads no model: {error}")
        # A stop needs none of it: Triton begins with the good model at each start.
        if self._went_bad:
            await degraded.load(at.triton, at.good_model)
            self._tell("Triton has loaded the good small-llama again")

    async def _all(self) -> None:
        await self._look()
        begun = [workload for workload in PLANS if await self._begin(workload)]
        await self._until(lambda: all(self._place(item) == SHADOWED for item in begun), "begins", CALL_S)
        if not await self._until(lambda: self._place(VOICE) in (HOME, ROLLED_BACK), "comes home"):
            return
        if self._place(VOICE) == HOME:
            await self._until(lambda: not self._waiting, "answers at home", SETTLE_S)
            await self._degrade()
            if not await self._until(lambda: self._place(VOICE) == ROLLED_BACK, "rolls back"):
                return
        await self._until(lambda: not self._waiting, "answers in the cloud again", CALL_S)
        await self._until(lambda: self._told[BANK].rejected, "has its verdict", workload=BANK)
        self._end()

    async def _begin(self, workload: str) -> bool:
        """Registers an experiment where no cutover is under way; else says what it found."""
        found = self._place(workload)
        if found not in (OBSERVED, SHADOWED, ROLLED_BACK):
            self._tell(f"{workload}: an earlier run left it at {found}; it goes on from there")
            return False
        answer = await self._shadow.RegisterExperiment(
            shadow_pb2.RegisterExperimentRequest(
                request_id=uuid7(time.time_ns()), experiment=PLANS[workload].experiment(workload)
            ),
            timeout=CALL_S,
            metadata=self._metadata,
        )
        self._tell(story.registration(answer.experiment))
        return True

    async def _until(
        self, done: Callable[[], bool], what: str, limit_s: float = DEADLINE_S, workload: str = VOICE
    ) -> bool:
        """Tells what happens until it is done; False if the time is up."""
        deadline = min(time.monotonic() + limit_s, self._began_s + DEADLINE_S)
        while True:
            try:
                await self._look()
                await self._approve()
            except aio.AioRpcError as error:
                # A part that died is restarted, and the story goes on.
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            if done():
                return True
            if time.monotonic() > deadline:
                if limit_s == DEADLINE_S:
                    found = self._migrations.get(workload)
                    blocks = "; ".join(found.blocks if found else ()) or "nothing is known to keep it"
                    self._tell(f"{workload}: no longer waited for until it {what}: {blocks}")
                return False
            await asyncio.sleep(POLL_S)

    async def _look(self) -> None:
        """Reads where the workloads stand, and tells what is new."""
        listed = await self._shadow.ListMigrations(
            shadow_pb2.ListMigrationsRequest(), timeout=CALL_S, metadata=self._metadata
        )
        first = not self._migrations
        self._policy_version = listed.policy_version
        self._migrations = {item.policy.workload: item for item in listed.migrations}
        for workload, told in self._told.items():
            decisions = await self._ledger.ListDecisions(
                ledger_pb2.ListDecisionsRequest(workload=workload, page_size=20), timeout=CALL_S
            )
            new = [item for item in decisions.decisions if item.decision_id > told.decision_id]
            told.decision_id = max([told.decision_id, *(item.decision_id for item in new)])
            if first:
                migration = self._migrations.get(workload)
                told.windows = len(migration.evidence.windows) if migration else 0
                continue
            for item in reversed(new):
                self._tell_decision(item)
            if workload in self._migrations:
                self._tell_evidence(self._migrations[workload], told)
            self._pace(workload)
        self._tell_traces()

    def _pace(self, workload: str) -> None:
        """Sends no more than this machine can compare in time."""
        plan, migration = PLANS[workload], self._migrations.get(workload)
        rate = REJECTED_PER_S if self._told[workload].rejected else plan.per_second
        allowed = BACKLOG_S * plan.per_second * plan.rate_ppm / 1e6
        if migration is not None and story.waiting(migration.funnel_epoch) > allowed:
            rate *= SLOW
        self._traffic.rates[workload] = rate

    def _tell_evidence(self, migration: shadow_pb2.Migration, told: story.Told) -> None:
        workload = migration.policy.workload
        if note := story.alarm(migration, told):
            self._tell(note)
        if migration.approved or story.place(migration.policy).stage is Stage.CANARY:
            for block in story.new_blocks(migration, told):
                self._more(f"{workload} waits: {block}")
        # After a verdict more windows say no more, and after the cutover other samples count.
        if told.rejected or told.ready or story.place(migration.policy) != SHADOWED:
            return
        if told.windows > len(migration.evidence.windows):
            told.windows = 0
        for line in story.windows(migration, told):
            self._tell(line)
        if story.is_verdict(migration, "REJECTED"):
            told.rejected = True
            self._tell(story.rejection(migration))
            self._traffic.forget(workload)

    def _tell_decision(self, item: ledger_pb2.Decision) -> None:
        first, *rest = story.decision(item)
        self._tell(first)
        for line in rest:
            self._more(line)
        after = story.place(item.after)
        target = TARGETS.get(after.stage, "cloud")
        compared = after == SHADOWED and item.after.sampling.rate_ppm > 0
        self._waiting.append(Waiting(item.workload, target, item.policy_version, compared=compared))

    def _tell_traces(self) -> None:
        """Shows the first request under each new policy, once it has been answered."""
        for waiting in tuple(self._waiting):
            found = self._traffic.seen(waiting.workload, waiting.target, waiting.policy_version)
            seen = next((item for item in found if not waiting.compared or self._is_compared(item)), None)
            if seen is None:
                continue
            self._waiting.remove(waiting)
            link = f"{self._at.traces_url}#{seen.trace_id}" if self._at.traces_url else seen.trace_id
            self._more(f"{seen.workload}: its first answer by {seen.target} since then: {link}")

    def _is_compared(self, seen: Seen) -> bool:
        migration = self._migrations.get(seen.workload)
        if migration is None or seen.asked_unix_s * 1e9 < migration.experiment.start_time.ToNanoseconds():
            return False
        sampling = sampling_from_proto(migration.policy)
        return sampling is not None and is_sampled(sampling, seen.request_id)

    async def _approve(self) -> None:
        """Approves the move out of SHADOWED once nothing else keeps it, as a person with the key would."""
        migration = self._migrations.get(VOICE)
        if migration is None or story.place(migration.policy) != SHADOWED or migration.approved:
            return
        if not story.is_verdict(migration, "READY"):
            return
        self._told[VOICE].ready = True
        self._tell(f"{VOICE}: READY. Its first move needs an approval; the demo key gives it")
        self._more(f"homeward cutover {VOICE} --approve")
        tracer = trace.get_tracer("homeward.tour")
        with tracer.start_as_current_span(f"approve {VOICE}"):
            carrier: dict[str, str] = {}
            TraceContextTextMapPropagator().inject(carrier)
            await self._shadow.CutOver(
                shadow_pb2.CutOverRequest(request_id=uuid7(time.time_ns()), workload=VOICE, approve=True),
                timeout=4 * CALL_S,
                metadata=(*self._metadata, *carrier.items()),
            )
        await self._look()

    async def _degrade(self) -> None:
        at = self._at
        await asyncio.to_thread(degraded.prepare, at.bad_model, at.good_model)
        self._went_bad = True
        began = time.monotonic()
        await degraded.load(at.triton, at.bad_model)
        self._tell(
            f"A bad release: Triton loads a worse small-llama in place ({time.monotonic() - began:.1f} s)."
            " Its answers still fit the schema, but half of them are wrong"
        )

    def _end(self) -> None:
        counts = self._traffic.counts
        answered = {name: dict(sorted(item.answered.items())) for name, item in counts.items()}
        failed = sum(item.failed for item in counts.values())
        problems = "; ".join(f"{name}: {item.problem}" for name, item in counts.items() if item.failed)
        parts = [
            f"{name} " + " and ".join(f"{count} from {target}" for target, count in by_target.items())
            for name, by_target in answered.items()
        ]
        fate = f"{failed} failed, the last by {problems}" if failed else "none failed"
        self._tell(f"Done. Requests answered: {'; '.join(parts)}; {fate}")
        self._more(f"homeward status · homeward shadow show {VOICE} · homeward ledger verify")

    def _place(self, workload: str) -> Place:
        migration = self._migrations.get(workload)
        return story.place(migration.policy) if migration else OBSERVED

    def _tell(self, line: str) -> None:
        seconds = int(time.monotonic() - self._began_s)
        self._say(f"  {seconds // 60}:{seconds % 60:02d}  {line}.")

    def _more(self, line: str) -> None:
        self._say(f"        {line}")
