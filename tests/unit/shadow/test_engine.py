"""The engine on a real store, with a router that does as it is told and a clock that is set."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.words import Purpose, Target
from services.shadow import engine as engine_module
from services.shadow.adapters.router import ROUTER_AWAY, LegFailed, Reply
from services.shadow.adapters.store import Finished, Store
from services.shadow.core.answers import answer
from services.shadow.core.examples import DAY_US, Keeping, Reader
from services.shadow.core.experiment import Experiment, registered
from services.shadow.core.verdict import windows
from services.shadow.engine import Engine
from services.shadow.examples import ExampleShelf
from services.shadow.home_models import MAX_ASKED, MAX_SERVED, HomeModels
from services.shadow.scoring import Encodes
from services.shadow.translate import timestamp
from tests.support.experiments import wanted

SECOND = 10**6
NOW = 1_000 * SECOND
WANTED = wanted("ticket-triage", strata=("tools",))
WAIT_S = 10.0
SECRET = "hw-reader"
READERS = {hashlib.sha256(SECRET.encode()).digest(): Reader("reader", frozenset({"ticket-triage"}))}
KEEPING = Keeping({"ticket-triage": 7}, {"ticket-triage": "public", "hr-cases": "public"})
Said = str | LegFailed | None
"""An answer, a failure, or silence."""


@dataclass
class Router:
    """Answers by target and purpose; what is not told otherwise says `bug`."""

    says: dict[tuple[Target, Purpose], list[Said]] = field(default_factory=dict)
    """What comes next; the last one stays."""
    asked: list[tuple[bytes, str, str, str]] = field(default_factory=list)
    home: str = "llama-8b"
    """The model at home."""

    async def ask(
        self, chat: chat_pb2.Chat, *, target: Target, purpose: Purpose, sample_id: bytes, **more: Any
    ) -> Reply:
        self.asked.append((sample_id, purpose.name, target.name, more["traceparent"]))
        told = self.says.get((target, purpose), ["bug"])
        said = told.pop(0) if len(told) > 1 else told[0]
        if said is None:
            await asyncio.Event().wait()
        if isinstance(said, LegFailed):
            raise said
        assert isinstance(said, str)
        model = self.home if target is Target.SOVEREIGN else "model"
        return Reply(answer(said), b"l" * 16, model, 5)


@dataclass
class Spend:
    """What is spent, as told."""

    nanos: int | None = 0
    legs: int = 0

    def spent_today_nanos(self, workload: str) -> int | None:
        return self.nanos

    def asked(self, workload: str) -> None:
        self.legs += 1


@dataclass
class Bench:
    """An engine and all that it works with."""

    store: Store
    router: Router
    spend: Spend
    experiment: Experiment
    now: int = NOW
    engine: Engine = field(init=False)

    @property
    def rows(self) -> list[Finished]:
        return [row for _, row in self.store.all_finished(0)]

    @property
    def losses(self) -> dict[tuple[str, str], int]:
        return dict(self.store.funnel(self.experiment.experiment_id, self.experiment.epoch).losses)

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while not condition():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.005)


@asynccontextmanager
async def bench(
    tmp_path: Path,
    router: Router | None = None,
    *,
    cap: int = 0,
    control: float = 0.0,
    in_flight: int = 4,
    keeping: Keeping | None = None,
    scorer: str = WANTED.scorer,
    encoder: Encodes | None = None,
) -> AsyncIterator[Bench]:
    store = Store(tmp_path / "shadow.sqlite", 100)
    experiment = store.current("ticket-triage") or registered(
        replace(WANTED, daily_cost_cap_nanos=cap, scorer=scorer),
        None,
        experiment_id=b"e" * 16,
        salt=b"s" * 16,
        now_unix_us=NOW,
    )
    store.add_experiment(experiment, b"r" * 16)
    made = Bench(store, router or Router(), Spend(), experiment)
    made.engine = Engine(
        store,
        made.router,
        encoder,
        made.spend,
        lambda: made.now,
        in_flight=in_flight,
        control_share=control,
        examples=ExampleShelf(store, keeping, READERS, lambda: made.now) if keeping else None,
    )
    made.engine.start()
    try:
        yield made
    finally:
        await made.engine.stop(0)
        store.close()


def request(
    number: int = 1, at: int = NOW, said: str = "bug", **fields: Any
) -> shadow_pb2.SubmitSampleRequest:
    made = shadow_pb2.SubmitSampleRequest(
        sample_id=number.to_bytes(16, "big"),
        experiment_id=b"e" * 16,
        epoch=1,
        request_time=timestamp(at),
        answer=text(said),
        leg_id=b"a" * 16,
        cluster=number.to_bytes(16, "big"),
        traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01",
        target=leg_pb2.TARGET_CLOUD,
        workload="ticket-triage",
        input_tokens=12,
        chat=chat_pb2.Chat(model="m", messages=[text("The total of the invoice is wrong.")]),
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def text(said: str) -> chat_pb2.Message:
    return chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text=said)])


def failed(reason: str = "upstream_timeout") -> LegFailed:
    return LegFailed(reason, counts=True)


def away() -> LegFailed:
    return LegFailed(ROUTER_AWAY, counts=False, passing=True)


def no_table() -> LegFailed:
    return LegFailed("workload_not_found", counts=False, tries=2)


SHADOW_HOME = (Target.SOVEREIGN, Purpose.SHADOW)
SHADOW_CLOUD, NOISE_CLOUD = (Target.CLOUD, Purpose.SHADOW), (Target.CLOUD, Purpose.NOISE)
ONE, NONE = 1_000_000, None


async def test_which_models_answered_at_home_outlives_a_restart(tmp_path: Path) -> None:
    answered: list[tuple[str, str]] = [
        ("m", "llama-8b"),
        ("m", "llama-8b"),
        ("m2", "llama-3b"),
        ("m", "llama-3b"),
    ]
    for number, (asked, home) in enumerate(answered, 1):
        async with bench(tmp_path, Router(home=home)) as made:
            chat = chat_pb2.Chat(model=asked, messages=[text("Well?")])
            sample = request(number)
            sample.chat.CopyFrom(chat)
            await made.engine.submit(sample)
            await made.until(lambda made=made, number=number: len(made.rows) == number)
    async with bench(tmp_path) as made:
        assert made.engine.home_models(made.experiment) == {"m": ["llama-8b", "llama-3b"], "m2": ["llama-3b"]}
        assert made.engine.home_models(replace(made.experiment, epoch=2)) == {}


async def test_how_many_models_at_home_are_kept_is_bounded(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        known, epoch = HomeModels(made.store), (b"e" * 16, 1)
        for number in range(100):
            known.add(epoch, "m", f"home-{number}")
            known.add(epoch, f"m{number}", "home")
        known.add(epoch, "m", "")
        kept = known.of(epoch)
        assert (len(kept), list(kept["m"])) == (MAX_ASKED, [f"home-{number}" for number in range(MAX_SERVED)])


@pytest.mark.parametrize(
    ("says", "fields", "lane", "sovereign", "noise", "reason"),
    [
        ({}, {}, "", ONE, ONE, ""),
        ({SHADOW_HOME: ["other"]}, {}, "", 0, ONE, ""),
        ({NOISE_CLOUD: ["other"]}, {}, "", ONE, 0, ""),
        ({SHADOW_HOME: [failed()]}, {}, "", NONE, ONE, "upstream_timeout"),
        ({SHADOW_HOME: [" "]}, {}, "", 0, ONE, "empty"),
        ({NOISE_CLOUD: [failed(), "bug"]}, {}, "", ONE, ONE, ""),
        ({NOISE_CLOUD: [failed()]}, {}, "", ONE, NONE, "noise_upstream_timeout"),
        ({SHADOW_HOME: [away(), away(), "bug"]}, {}, "", ONE, ONE, ""),
        ({SHADOW_HOME: [no_table(), "bug"]}, {}, "", ONE, ONE, ""),
        ({}, {"target": leg_pb2.TARGET_SOVEREIGN}, "after", ONE, ONE, ""),
        ({SHADOW_CLOUD: ["other"]}, {"target": leg_pb2.TARGET_SOVEREIGN}, "after", 0, 0, ""),
        ({}, {"reversed": True}, "after", ONE, ONE, ""),
        ({}, {"sovereign_failed": True}, "after", 0, ONE, "sovereign_failed"),
    ],
)
async def test_a_sample_becomes_a_triplet(
    tmp_path: Path,
    says: dict[tuple[Target, Purpose], list[Said]],
    fields: dict[str, Any],
    lane: str,
    sovereign: int | None,
    noise: int | None,
    reason: str,
) -> None:
    async with bench(tmp_path, Router({key: list(value) for key, value in says.items()})) as made:
        await made.engine.submit(request(**fields))
        await made.until(lambda: made.rows)
        (row,) = made.rows
        assert (row.lane, row.sovereign_millionths, row.noise_millionths) == (lane, sovereign, noise)
        assert (row.reason, row.stratum, row.language, row.input_tokens) == (reason, "no-tools", "en", 12)
        assert row.trace_id == "ab" * 16
        assert row.arrival_unix_us == NOW
        assert made.store.waiting() == 0
        assert all(traceparent.endswith("-01") for *_, traceparent in made.router.asked)
        if sovereign_failed := fields.get("sovereign_failed"):
            assert sovereign_failed
            assert [target for _, _, target, _ in made.router.asked] == ["CLOUD"]


@pytest.mark.parametrize(
    ("says", "fields", "reason"),
    [
        ({NOISE_CLOUD: [LegFailed("budget_exhausted", counts=False)]}, {}, "budget_exhausted"),
        ({NOISE_CLOUD: [no_table()]}, {}, "workload_not_found"),
        (
            {SHADOW_CLOUD: [failed("breaker_open")]},
            {"target": leg_pb2.TARGET_SOVEREIGN},
            "no_reference_breaker_open",
        ),
    ],
)
async def test_what_is_no_fault_of_the_model_is_a_loss_and_no_vote(
    tmp_path: Path, says: dict[tuple[Target, Purpose], list[Said]], fields: dict[str, Any], reason: str
) -> None:
    async with bench(tmp_path, Router({key: list(value) for key, value in says.items()})) as made:
        await made.engine.submit(request(**fields))
        await made.until(lambda: made.losses)
        assert made.losses == {("lost", reason): 1}
        assert made.rows == []


async def test_the_close_of_a_window_is_final(tmp_path: Path) -> None:
    """One sample hangs at home, one is done, one waits for the router, and one never gets its turn."""
    router = Router({SHADOW_HOME: [None]})
    async with bench(tmp_path, router, in_flight=1) as made:
        await made.engine.submit(request(1))
        await made.until(lambda: len(router.asked) == 2)
        await made.engine.submit(request(2, NOW + 1))
        made.now = NOW + 15 * SECOND
        await made.until(lambda: made.rows)
        (row,) = made.rows
        assert (row.sovereign_millionths, row.noise_millionths) == (None, ONE)
        assert (row.reason, row.arrival_unix_us) == ("late", None)
        assert made.losses == {("late", "late"): 1, ("lost", "not_asked"): 1}
        await made.engine.submit(request(3))  # of the window that has closed
        assert made.losses[("lost", "late")] == 1
        assert [window.n for window in made.engine.evidence(made.experiment)] == [1]
        assert made.engine.discordance(made.experiment) == 1.0


async def test_the_discordance_is_the_mean_square_of_the_votes(tmp_path: Path) -> None:
    async with bench(tmp_path, in_flight=1) as made:
        assert made.engine.discordance(made.experiment) is None
        for number, said in ((1, "bug"), (2, "feature"), (3, "bug"), (4, "feature")):
            made.router.says = {SHADOW_HOME: [said], NOISE_CLOUD: ["bug"]}
            cluster = min(number, 3).to_bytes(16, "big")  # the last two have one vote
            await made.engine.submit(request(number, said="bug", cluster=cluster))
            await made.until(lambda: made.store.waiting() == 0)
        made.now = NOW + 15 * SECOND
        await made.until(lambda: made.engine.evidence(made.experiment))
        assert made.engine.discordance(made.experiment) == pytest.approx((1 + 0.25) / 3)


async def test_a_router_that_is_away_to_the_end_is_no_failure_of_the_model(tmp_path: Path) -> None:
    router = Router({SHADOW_HOME: [away()], NOISE_CLOUD: [away()]})
    async with bench(tmp_path, router) as made:
        await made.engine.submit(request())
        await made.until(lambda: len(router.asked) >= 4)
        made.now = NOW + 15 * SECOND
        await made.until(lambda: made.losses)
        assert made.losses == {("lost", "router_away"): 1}
        assert made.rows == []
        await made.until(lambda: made.engine.in_hand == 0)


async def test_an_answer_that_came_in_time_counts_though_the_noise_is_late(tmp_path: Path) -> None:
    async with bench(tmp_path, Router({NOISE_CLOUD: [None]})) as made:
        await made.engine.submit(request())
        await made.until(lambda: len(made.router.asked) == 2)
        await asyncio.wrap_future(made.engine._scoring.threads.submit(int))  # what was to be scored is scored
        await made.until(lambda: made.engine._hands[request().sample_id].inquiry._agreements)  # type: ignore[union-attr]  # it is in hand
        made.now = NOW + 15 * SECOND
        await made.until(lambda: made.rows)
        assert made.rows[0].sovereign_millionths == ONE
        assert made.rows[0].reason == "noise_late"
        assert made.rows[0].triplet.difference(NOW + 15 * SECOND) == 0


async def test_the_cap_loses_samples_and_an_unknown_spend_keeps_them(tmp_path: Path) -> None:
    async with bench(tmp_path, cap=100) as made:
        made.spend.nanos = None
        await made.engine.submit(request(1))
        await made.engine.submit(request(2))
        await asyncio.wait_for(made.engine._take_up(), WAIT_S)
        assert (made.router.asked, made.losses) == ([], {})
        made.spend.nanos = 100
        made.engine.wake()
        await made.until(lambda: made.losses)
        await made.until(lambda: made.losses == {("lost", "cap"): 2})
        made.spend.nanos = 99
        await made.engine.submit(request(3))
        await made.until(lambda: made.rows)
        assert made.spend.legs == 1  # the noise; a leg at home costs no more


async def test_the_controls(tmp_path: Path) -> None:
    """Answers differ from request to request: the degraded lane sees it, the cloud's own does not."""
    async with bench(tmp_path, control=1.0, in_flight=1) as made:
        for number, said in ((1, "bug"), (2, "feature"), (3, "feature")):
            made.router.says = {key: [said] for key in (SHADOW_HOME, NOISE_CLOUD)}
            await made.engine.submit(request(number, said=said))
            await made.until(lambda: made.store.waiting() == 0)
        scores = {
            lane: [row.sovereign_millionths for row in made.rows if row.lane == lane]
            for lane in ("", "cloud", "degraded")
        }
        assert scores == {"": [ONE] * 3, "cloud": [ONE] * 3, "degraded": [0, ONE]}


async def test_a_sample_from_before_the_start_has_no_vote(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.engine.submit(request(1, NOW - 1))
        await made.engine.submit(request(1, NOW - 1))
        assert made.losses == {("ineligible", "before_start"): 1}
        assert made.router.asked == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"epoch": 2}, Reason.EXPERIMENT_NOT_FOUND),
        ({"workload": "another"}, Reason.INVALID_REQUEST),
        ({"sample_id": b"short"}, Reason.INVALID_REQUEST),
    ],
)
async def test_what_can_not_be_taken_is_refused(
    tmp_path: Path, fields: dict[str, Any], reason: Reason
) -> None:
    async with bench(tmp_path) as made:
        with pytest.raises(DomainError) as caught:
            await made.engine.submit(request(**fields))
        assert caught.value.reason is reason


async def test_what_was_in_hand_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with bench(tmp_path, Router({SHADOW_HOME: [None]})) as made:
        for number in range(1, 4):
            await made.engine.submit(request(number))
        await made.until(lambda: made.engine.in_hand == 3 and len(made.router.asked) == 6)
    async with bench(tmp_path) as made:
        await made.engine.submit(request(1))  # the router never heard that it was taken
        await made.until(lambda: made.store.waiting() == 0)
        assert sorted(row.sample_id[-1] for row in made.rows if not row.lane) == [1, 2, 3]
        made.now = NOW + 15 * SECOND
        await made.until(lambda: made.engine.evidence(made.experiment))
        exported = made.store.triplets(made.experiment.experiment_id, 1)
        assert made.engine.evidence(made.experiment) == windows(exported, made.experiment.rules)


async def test_what_a_process_had_in_hand_that_came_back_too_late_failed(tmp_path: Path) -> None:
    async with bench(tmp_path, Router({SHADOW_HOME: [None]})) as made:
        await made.engine.submit(request(1))
        await made.until(lambda: len(made.router.asked) == 2)
    async with bench(tmp_path, Router({SHADOW_HOME: [None], NOISE_CLOUD: [None]})) as made:
        made.now = NOW + 15 * SECOND
        await made.until(lambda: made.rows)
        assert (made.rows[0].sovereign_millionths, made.rows[0].reason) == (None, "late")


async def test_an_answer_that_breaks_its_scorer_gains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path, Router({SHADOW_HOME: ["poison"]})) as made:
        known = made.engine._scoring.named("exact_match@1")
        whole = known.agree

        def agree(a: Any, b: Any, schema: Any = None) -> Any:
            if a.text == "poison":
                raise RecursionError
            return whole(a, b, schema)

        monkeypatch.setattr(known, "agree", agree)
        await made.engine.submit(request())
        await made.until(lambda: made.rows)
        assert (made.rows[0].sovereign_millionths, made.rows[0].reason) == (0, "unscorable")


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def examples(made: Bench, **fields: Any) -> shadow_pb2.ListExamplesResponse:
    ask = shadow_pb2.ListExamplesRequest(**{"workload": "ticket-triage", **fields})
    return await made.engine.examples.page(ask, SECRET)


@pytest.mark.parametrize(
    ("says", "fields", "keeping", "kept"),
    [
        ({SHADOW_HOME: ["feature"]}, {}, KEEPING, True),
        ({SHADOW_HOME: ["feature"]}, {}, Keeping({"ticket-triage": 0}), False),
        ({SHADOW_HOME: ["feature"]}, {}, Keeping({"another": 7}), False),
        ({SHADOW_HOME: ["feature"]}, {}, None, False),
        ({}, {}, KEEPING, False),
        ({SHADOW_HOME: ["feature"], NOISE_CLOUD: ["other"]}, {}, KEEPING, False),
        ({SHADOW_HOME: [failed()]}, {}, KEEPING, False),
        ({SHADOW_HOME: ["feature"], NOISE_CLOUD: [failed()]}, {}, KEEPING, False),
        ({}, {"sovereign_failed": True}, KEEPING, False),
    ],
    ids=["apart", "no-days", "another", "no-class", "agree", "noise", "failed", "no-noise", "stepped-in"],
)
async def test_only_a_disagreement_of_a_class_that_allows_it_leaves_texts(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    says: dict[tuple[Target, Purpose], list[Said]],
    fields: dict[str, Any],
    keeping: Keeping | None,
    kept: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    router = Router({key: list(value) for key, value in says.items()})
    async with bench(tmp_path, router, keeping=keeping) as made:
        await made.engine.submit(request(**fields))
        await made.until(lambda: made.rows)
        found = made.store.examples("ticket-triage", 0, NOW, offset=0, limit=9, with_deleted=True)
        assert len(found) == kept
        if kept:
            (told,) = (await examples(made)).examples
            assert [(turn.speaker, turn.text) for turn in told.texts.turns] == [
                ("user", "The total of the invoice is wrong.")
            ]
            assert (told.texts.cloud.text, told.texts.sovereign.text) == ("bug", "feature")
            assert (told.agreement_sovereign, told.agreement_noise, told.lane) == (0, 1, "")
            assert (told.sample_id, told.trace_id) == (made.rows[0].sample_id, "ab" * 16)
            assert told.expire_time.seconds - told.keep_time.seconds == 7 * 86_400
            assert hashlib.sha256(found[0].texts or b"").digest() == told.texts_sha256
        made.store.forget()
        assert (b"invoice" in content(tmp_path)) is kept
    assert "invoice" not in caplog.text


async def test_what_was_answered_at_home_is_kept_as_well(tmp_path: Path) -> None:
    router = Router({SHADOW_CLOUD: ["bug"], NOISE_CLOUD: ["bug"]})
    async with bench(tmp_path, router, keeping=KEEPING) as made:
        await made.engine.submit(request(said="feature", target=leg_pb2.TARGET_SOVEREIGN))
        await made.until(lambda: made.rows)
        (told,) = (await examples(made)).examples
        assert (told.lane, told.texts.cloud.text, told.texts.sovereign.text) == ("after", "bug", "feature")


async def test_examples_end_with_their_time_and_with_their_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "SWEEP_S", 0.01)
    monkeypatch.setattr(engine_module, "FORGET_S", 0.01)
    router = Router({SHADOW_HOME: ["feature"]})

    def left() -> bool:
        return b"invoice" in content(tmp_path)

    async with bench(tmp_path, router, keeping=KEEPING) as made:
        await made.engine.submit(request(1))
        await made.until(lambda: made.store.waiting() == 0)
        assert left()
        made.now = NOW + 7 * DAY_US
        await made.until(lambda: not left())
        assert not (await examples(made)).examples
        (told,) = (await examples(made, with_deleted=True)).examples
        assert (told.delete_reason, len(told.texts_sha256), told.HasField("texts")) == ("expired", 32, False)
        await made.engine.submit(request(2, at=made.now))
        await made.until(lambda: made.store.waiting() == 0)
        assert left()
    # The data class keeps none any more: it is gone before anything else happens.
    async with bench(tmp_path, router, keeping=Keeping({}, {"ticket-triage": "strict"})) as made:
        page = await examples(made, with_deleted=True)
        assert [item.delete_reason for item in page.examples] == ["expired", "settings"]
        assert (page.data_class, page.keep_days) == ("strict", 0)
        await made.until(lambda: not left())


class Encoder:
    """One that no test of calls asks."""

    def encode(self, texts: Sequence[str]) -> Any:
        raise AssertionError(texts)


@pytest.mark.parametrize(
    ("scorer", "millionths"), [("tool_calls@2", 500_000), ("tool_calls@1", ONE), ("exact_match@1", ONE)]
)
async def test_of_parallel_calls_a_scorer_sees_what_it_was_registered_with(
    tmp_path: Path, scorer: str, millionths: int
) -> None:
    calls = [(name, '{"city": "Rome"}') for name in ("weather", "hotels", "trains")]

    class Calling(Router):
        async def ask(self, chat: chat_pb2.Chat, *, target: Target, **_: Any) -> Reply:
            """The cloud makes all calls again, the model at home only the first."""
            found = answer("", calls if target is Target.CLOUD else calls[:1])
            return Reply(found, b"l" * 16, "model", 5)

    given = chat_pb2.Message(
        tool_calls=[chat_pb2.ToolCall(name=name, arguments_json=arguments) for name, arguments in calls]
    )
    asked = request()
    asked.answer.CopyFrom(given)
    async with bench(tmp_path, Calling(), scorer=scorer, encoder=Encoder()) as made:
        await made.engine.submit(asked)
        await made.until(lambda: made.rows)
        (row,) = made.rows
        assert (row.sovereign_millionths, row.noise_millionths, row.scorer) == (millionths, ONE, scorer)


async def test_a_sample_that_breaks_the_engine_scores_0_and_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking(Router):
        async def ask(self, chat: chat_pb2.Chat, **_: Any) -> Reply:
            raise ValueError(chat.messages[0].content[0].text)

    async with bench(tmp_path, Breaking()) as made:
        await made.engine.submit(request())
        await made.until(lambda: made.rows)
        assert (made.rows[0].sovereign_millionths, made.rows[0].reason) == (None, "defect")
    assert "a sample breaks the engine: ValueError" in caplog.text
    assert "invoice" not in caplog.text


async def test_an_example_that_breaks_changes_no_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("The total of the invoice")

    monkeypatch.setattr(ExampleShelf, "of", broken)
    async with bench(tmp_path, Router({SHADOW_HOME: ["feature"]}), keeping=KEEPING) as made:
        await made.engine.submit(request())
        await made.until(lambda: made.rows)
        assert (made.rows[0].sovereign_millionths, made.rows[0].reason) == (0, "")
    assert "an example can't be made: ValueError" in caplog.text
    assert "invoice" not in caplog.text


@pytest.mark.parametrize(
    ("secret", "fields", "reason"),
    [
        ("", {}, Reason.KEY_MISSING),
        ("hw-another", {}, Reason.PURPOSE_FORBIDDEN),
        (SECRET, {"workload": ""}, Reason.INVALID_REQUEST),
        (SECRET, {"workload": "hr-cases"}, Reason.WORKLOAD_FORBIDDEN),
        (SECRET, {"page_size": 101}, Reason.INVALID_REQUEST),
        (SECRET, {"page_token": "x"}, Reason.INVALID_REQUEST),
        (SECRET, {"page_token": "9" * 30}, Reason.INVALID_REQUEST),
    ],
)
async def test_who_may_not_read_examples_gets_none(
    tmp_path: Path, secret: str, fields: dict[str, Any], reason: Reason
) -> None:
    async with bench(tmp_path, keeping=KEEPING) as made:
        ask = shadow_pb2.ListExamplesRequest(**{"workload": "ticket-triage", **fields})
        with pytest.raises(DomainError) as caught:
            await made.engine.examples.page(ask, secret)
        assert caught.value.reason is reason


async def test_examples_come_page_by_page(tmp_path: Path) -> None:
    async with bench(tmp_path, Router({SHADOW_HOME: ["feature"]}), keeping=KEEPING) as made:
        for number in range(1, 6):
            await made.engine.submit(request(number))
        await made.until(lambda: made.store.waiting() == 0)
        found, token = [], ""
        for _ in range(3):
            page = await examples(made, page_size=2, page_token=token)
            found += [int.from_bytes(item.sample_id, "big") for item in page.examples]
            token = page.next_page_token
        assert (found, token) == ([1, 2, 3, 4, 5], "")
