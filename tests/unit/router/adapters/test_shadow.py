"""The router and a shadow that takes, refuses, hangs, is away, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.sampling import Sampling
from services.common.words import Target
from services.router.adapters import shadow as adapter
from services.router.adapters.shadow import ShadowAdapter
from services.router.core.sampling import Bar, BarredError, Origin, Sample, Step
from services.router.submission import submission
from tests.support.router_leg import LEG
from tests.support.shadow_recorder import Behaviour, ShadowRecorder, stall, take
from tests.support.stack import until

ORIGIN = Origin("triage", Sampling(b"e" * 16, 3, 10_000, bytes(16)), 1_700_000_000_123_456_789)
WAITING = 4
AT_HOME = replace(LEG, target=Target.SOVEREIGN)


async def full() -> None:
    raise DomainError(Reason.QUEUE_FULL, "full")


async def unknown() -> None:
    raise DomainError(Reason.EXPERIMENT_NOT_FOUND, "none", experiment_id="e")


async def unwritable() -> None:
    raise DomainError(Reason.STORAGE_UNAVAILABLE, "disk full", store="s", detail="d")


def sample(number: int = 1, **fields: object) -> Sample:
    return Sample(
        origin=ORIGIN,
        request_id=number.to_bytes(16, "big"),
        leg_id=b"l" * 16,
        document={"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields},
        request_bytes=100,
        answer=orjson.dumps({"choices": [{"index": 0, "message": {"content": "Hello"}}]}),
        streamed=False,
        conversation=b"",
        key_name="crm",
        traceparent="00-x",
        target=Target.CLOUD,
        sovereign_failed=False,
        input_tokens=7,
    )


def turned(item: Sample) -> shadow_pb2.SubmitSampleRequest:
    return submission(item, sample_bytes=1000)


@pytest.fixture
async def shadow() -> AsyncIterator[ShadowRecorder]:
    made = ShadowRecorder()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def router(shadow: ShadowRecorder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ShadowAdapter]:
    monkeypatch.setattr(adapter, "REPORT_S", 0.02)
    monkeypatch.setattr(adapter, "RETRY_S", 0.02)
    monkeypatch.setattr(adapter, "MAX_RETRY_S", 0.05)
    monkeypatch.setattr(adapter, "SUBMIT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(adapter, "REPORT_TIMEOUT_S", 0.3)
    made = ShadowAdapter(shadow.address, WAITING, turned)
    yield made
    await made.close()


async def counted(shadow: ShadowRecorder, **expected: int) -> None:
    wanted = {key.replace("__", "/"): value for key, value in expected.items()}

    async def there() -> bool:
        return shadow.counts() == wanted

    try:
        await until(there, "the counts")
    except AssertionError:
        assert shadow.counts() == wanted
        raise


async def test_a_sample_arrives_with_all_that_shadow_needs(
    shadow: ShadowRecorder, router: ShadowAdapter
) -> None:
    router.add(sample())
    await counted(shadow, eligible=1, sampled=1, sent=1)
    (got,) = shadow.samples
    assert got == turned(sample())
    assert (got.experiment_id, got.epoch, got.workload, got.key_name) == (b"e" * 16, 3, "triage", "crm")
    assert got.request_time.ToNanoseconds() == ORIGIN.request_unix_ns
    assert (got.input_tokens, got.target, got.stratum) == (7, Target.CLOUD, "")
    (report, *_) = shadow.reports.values()
    assert report.samplings[0].minute_time.seconds == 1_700_000_000 - 1_700_000_000 % 60


async def test_what_can_not_be_carried_is_ineligible_and_not_sampled(
    shadow: ShadowRecorder, router: ShadowAdapter
) -> None:
    router.add(sample(1, functions=[{"name": "look"}]))
    router.add(sample(3))
    await counted(shadow, eligible=1, sampled=1, sent=1, ineligible__shape=1)


@pytest.mark.parametrize(
    ("sample_bytes", "fits"),
    [(99, False), (105, False), (1000, True)],
    ids=["the question alone", "with the answer", "fits"],
)
def test_question_and_answer_together_have_a_limit(sample_bytes: int, fits: bool) -> None:
    if fits:
        assert submission(sample(), sample_bytes).sample_id
        return
    with pytest.raises(BarredError) as caught:
        submission(sample(), sample_bytes)
    assert caught.value.bar is Bar.SIZE


@pytest.mark.parametrize("refuses", [full, unknown])
async def test_what_shadow_refuses_is_shed_at_once(
    shadow: ShadowRecorder, router: ShadowAdapter, refuses: Behaviour
) -> None:
    shadow.on_sample = refuses
    router.add(sample())
    await counted(shadow, eligible=1, sampled=1, shed__refused=1)
    assert shadow.asked == 1
    assert not router.away


@pytest.mark.parametrize("fails", [stall, unwritable])
async def test_a_sample_waits_for_a_shadow_that_fails_and_is_taken_then(
    shadow: ShadowRecorder, router: ShadowAdapter, fails: Behaviour
) -> None:
    shadow.on_sample = fails
    router.add(sample())

    async def tried_again() -> bool:
        return shadow.asked >= 2

    await until(tried_again, "a second try")
    shadow.on_sample = take
    await counted(shadow, eligible=1, sampled=1, sent=1)


async def test_while_shadow_is_away_the_oldest_make_room(
    shadow: ShadowRecorder, router: ShadowAdapter
) -> None:
    await shadow.stop()
    total = WAITING + 5
    for number in range(total):
        router.add(sample(number))

    async def away() -> bool:
        return router.away

    await until(away, "away")
    # One more finds the queue full, so that nothing depends on when the others came.
    router.add(sample(total))

    async def settled() -> bool:
        return len(router._waiting) <= WAITING and not router._raw

    await until(settled, "all are turned")
    await shadow.start()

    async def all_told() -> bool:
        found = shadow.counts()
        ends = sum(found.get(step, 0) for step in ("sent", "shed/away", "shed/queue"))
        return ends == found.get("sampled") == total + 1

    await until(all_told, "what became of all")
    assert shadow.counts()["sent"] >= WAITING
    assert shadow.samples[-1].sample_id == total.to_bytes(16, "big")
    assert not router.away


async def test_a_slow_shadow_sheds_the_newest(
    shadow: ShadowRecorder, router: ShadowAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "SUBMIT_TIMEOUT_S", 30)
    go = asyncio.Event()

    async def slowly() -> None:
        await go.wait()

    shadow.on_sample = slowly
    router.add(sample(0))

    async def asked() -> bool:
        return shadow.asked == 1

    await until(asked, "the first is asked")
    for number in range(1, WAITING + 4):
        router.add(sample(number))
    await counted(shadow, eligible=8, sampled=8, shed__queue=3)
    go.set()
    await counted(shadow, eligible=8, sampled=8, shed__queue=3, sent=5)
    assert [int.from_bytes(item.sample_id, "big") for item in shadow.samples] == list(range(WAITING + 1))


async def test_a_sample_that_waits_too_long_is_shed(
    shadow: ShadowRecorder, router: ShadowAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "GIVE_UP_S", 0.0)
    shadow.on_sample = unwritable
    router.add(sample())
    await counted(shadow, eligible=1, sampled=1, shed__away=1)


async def test_a_burst_beyond_what_can_be_turned_is_shed(
    shadow: ShadowRecorder, router: ShadowAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "RAW_SAMPLES", 2)
    for number in range(5):
        router.add(sample(number))
    await counted(shadow, eligible=5, sampled=5, sent=2, shed__queue=3)


async def test_a_report_is_told_once_however_often_it_is_sent(
    shadow: ShadowRecorder, router: ShadowAdapter
) -> None:
    # The recorder keeps it and the router does not hear of that; and it checks that it comes unchanged.
    shadow.on_report = unwritable
    router.count(ORIGIN, Step.ELIGIBLE)

    async def sent() -> bool:
        return bool(shadow.reports)

    await until(sent, "a report")
    router.count(ORIGIN, Step.ELIGIBLE)
    router.count(ORIGIN, Step.INELIGIBLE, Bar.API)
    shadow.on_report = take
    await counted(shadow, eligible=2, ineligible__api=1)
    assert sorted(sequence for _, sequence in shadow.reports) == [1, 2]


async def test_a_report_that_shadow_refuses_does_not_stop_the_others(
    shadow: ShadowRecorder, router: ShadowAdapter
) -> None:
    shadow.on_report = unknown
    router.count(ORIGIN, Step.ELIGIBLE)

    async def refused() -> bool:
        return router._report is None and bool(shadow.reports)

    await until(refused, "the report is given up")
    shadow.on_report = take
    router.count(ORIGIN, Step.INELIGIBLE, Bar.API)
    await counted(shadow, eligible=1, ineligible__api=1)


async def test_without_samples_and_counts_nobody_is_called(
    shadow: ShadowRecorder, router: ShadowAdapter
) -> None:
    for _ in range(5):
        await router._send_report()
    assert not shadow.reports


async def test_legs_of_long_ago_are_not_told_as_the_last_minutes(
    shadow: ShadowRecorder, router: ShadowAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shadow.stop()
    router.leg(AT_HOME)
    router.count(ORIGIN, Step.ELIGIBLE)

    async def in_hand() -> bool:
        return router.away and router._report is not None

    await until(in_hand, "a report that nobody takes")
    # One that is in the report, one that waits for the next; and both are as of long ago.
    router.leg(AT_HOME)
    router.count(ORIGIN, Step.INELIGIBLE, Bar.API)
    monkeypatch.setattr(adapter, "STALE_S", 0.0)
    await router._send_report()
    monkeypatch.setattr(adapter, "STALE_S", 3600.0)
    await shadow.start()
    await counted(shadow, eligible=1, ineligible__api=1)
    assert shadow.legs() == {}
    router.leg(AT_HOME)

    async def told() -> bool:
        return shadow.legs() == {("triage", Target.SOVEREIGN): (1, 0, 0)}

    await until(told, "the leg of now")


async def test_legs_of_a_short_absence_are_told(shadow: ShadowRecorder, router: ShadowAdapter) -> None:
    await shadow.stop()
    router.leg(AT_HOME)

    async def in_hand() -> bool:
        return router.away and router._report is not None

    await until(in_hand, "a report that nobody takes")
    await shadow.start()

    async def told() -> bool:
        return shadow.legs() == {("triage", Target.SOVEREIGN): (1, 0, 0)}

    await until(told, "the leg")


async def test_a_quiet_hour_is_no_absence(
    shadow: ShadowRecorder, router: ShadowAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    router._taken_s -= 3600
    await router._send_report()
    router.leg(AT_HOME)

    async def told() -> bool:
        return shadow.legs() == {("triage", Target.SOVEREIGN): (1, 0, 0)}

    await until(told, "the leg")


async def test_a_defect_is_logged_without_what_it_says(
    shadow: ShadowRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(item: Sample) -> shadow_pb2.SubmitSampleRequest:
        raise ValueError("SECRET")

    router = ShadowAdapter(shadow.address, WAITING, breaks)
    router.add(sample())
    await router.close()
    assert shadow.counts() == {"ineligible/shape": 1}
    assert "a defect: a sample can't be turned into a message: ValueError" in caplog.text
    assert "SECRET" not in caplog.text


async def test_closing_hands_over_what_waits(shadow: ShadowRecorder) -> None:
    router = ShadowAdapter(shadow.address, 10, turned)
    for number in range(3):
        router.add(sample(number))
    await router.close()
    assert shadow.counts() == {"eligible": 3, "sampled": 3, "sent": 3}
