"""A pool of replicas, as a machine: who is chosen, who never is, and what a refusal says."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from services.common.errors import DomainError, Reason
from services.router.core.sovereign import replicas
from services.router.core.sovereign.replicas import MAX_RETRY_AFTER_S, PREFIX_CHARS, Pool, Replica

QUEUE_TOKENS = 1000
SLACK = 2


def pool(count: int = 3, queue_tokens: int = QUEUE_TOKENS, slack: int = SLACK) -> Pool:
    return Pool("home", [Replica(f"r{number}") for number in range(count)], queue_tokens, slack)


@dataclass(frozen=True)
class InFlight:
    replica: Replica
    prompt_tokens: int
    tokens: int


class PoolMachine(RuleBasedStateMachine):
    """Requests come, end, are tried again; replicas die and come back."""

    in_flight = Bundle("in_flight")

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool()
        self.now_s = 0.0
        self.open: list[InFlight] = []
        self.at: dict[str, Replica] = {}

    @rule(
        target=in_flight,
        prompt=st.sampled_from(["", "short", "a" * 300, "b" * 300, "c" * 20_000]),
        prompt_tokens=st.integers(1, 900),
        max_tokens=st.integers(1, 900),
        tried=st.sets(st.sampled_from(["r0", "r1", "r2", "gone"])),
    )
    def request(self, prompt: str, prompt_tokens: int, max_tokens: int, tried: set[str]) -> object:
        tokens = self.pool.estimate(prompt_tokens, max_tokens)
        assert prompt_tokens < tokens <= prompt_tokens + max_tokens
        up = [each for each in self.pool.replicas if each.up and each.name not in tried]
        free = [each for each in up if not each.requests or each.tokens + tokens <= QUEUE_TOKENS]
        try:
            chosen = self.pool.choose(prompt, tokens, tried)
        except DomainError as error:
            assert not free
            self._expect_reason(error, up, tried)
            return multiple()
        assert any(chosen is each for each in free)
        least = min(each.requests for each in free)
        assert chosen.requests <= least + SLACK
        if len(prompt) < PREFIX_CHARS[0]:
            assert chosen.requests == least
        self._expect_affinity(prompt, chosen, free, least)
        self.pool.take(chosen, tokens)
        sent = InFlight(chosen, prompt_tokens, tokens)
        self.open.append(sent)
        return sent

    def _expect_reason(self, error: DomainError, up: list[Replica], tried: set[str]) -> None:
        if not up:
            assert error.reason is Reason.UPSTREAM_UNREACHABLE
            assert error.metadata == {"upstream": "home", "attempts": str(len(tried))}
            return
        assert error.reason is Reason.REPLICAS_BUSY
        assert error.retry_after_s is not None
        assert 1 <= error.retry_after_s <= MAX_RETRY_AFTER_S
        assert error.metadata["queued_tokens"] == str(sum(each.tokens for each in up))

    def _expect_affinity(self, prompt: str, chosen: Replica, free: list[Replica], least: int) -> None:
        # Whoever got the very same prompt last gets it again, unless it may not.
        last = self.at.get(prompt)
        if last is not None and any(last is each for each in free) and last.requests <= least + SLACK:
            assert chosen is last
        if len(prompt) >= PREFIX_CHARS[0]:
            self.at[prompt] = chosen

    @rule(
        sent=consumes(in_flight),
        whole=st.booleans(),
        answer_tokens=st.integers(0, 500),
        gap=st.floats(0, 1e6),
    )
    def end(self, sent: InFlight, whole: bool, answer_tokens: int, gap: float) -> None:
        self.pool.give_back(sent.replica, sent.tokens)
        self.open.remove(sent)
        self.now_s += gap
        if whole:
            self.pool.served(sent.prompt_tokens, answer_tokens, self.now_s)

    @rule(number=st.integers(0, 2))
    def die(self, number: int) -> None:
        replica = self.pool.replicas[number]
        replica.up = False
        self.pool.forget(replica)
        self.at = {prompt: knows for prompt, knows in self.at.items() if knows is not replica}

    @rule(number=st.integers(0, 2))
    def come_back(self, number: int) -> None:
        self.pool.replicas[number].up = True

    @invariant()
    def counts_are_those_of_the_requests_in_flight(self) -> None:
        for replica in self.pool.replicas:
            own = [sent for sent in self.open if sent.replica is replica]
            assert replica.requests == len(own)
            assert replica.tokens == sum(sent.tokens for sent in own)
            assert replica.requests <= 1 or replica.tokens <= QUEUE_TOKENS


PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestPool = PoolMachine.TestCase


def test_requests_without_a_beginning_in_common_are_spread_evenly() -> None:
    home = pool(3, queue_tokens=10**6)
    for number in range(30):
        home.take(home.choose(f"{number}" * 300, 10, ()), 10)
    assert [each.requests for each in home.replicas] == [10, 10, 10]


def test_of_those_with_as_many_requests_the_one_with_fewer_tokens_is_chosen() -> None:
    home = pool(2)
    for replica, tokens in zip(home.replicas, (500, 100), strict=True):
        home.take(replica, tokens)
    assert home.choose("", 10, ()).name == "r1"


@pytest.mark.parametrize("slack", [0, 1, 3])
def test_a_beginning_stays_where_it_is_known_as_far_as_the_slack_goes(slack: int) -> None:
    home = pool(2, queue_tokens=10**6, slack=slack)
    chosen = [home.choose("a" * 300, 10, ())]
    home.take(chosen[0], 10)
    while chosen[-1] is chosen[0]:
        chosen.append(home.choose("a" * 300 + str(len(chosen)), 10, ()))
        home.take(chosen[-1], 10)
    assert len(chosen) - 1 == slack + 1
    # The other one knows it now.
    assert home.choose("a" * 300, 10, ()) is chosen[-1]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("s" * 256 + "x", "s" * 256 + "y", True),
        ("s" * 255 + "x", "s" * 255 + "y", False),
        ("s" * 600 + "x", "s" * 600 + "y" * 9000, True),
        ("s" * 100, "s" * 100, False),
        ("x" + "s" * 600, "y" + "s" * 600, False),
    ],
)
def test_what_begins_alike_goes_to_one_replica(first: str, second: str, together: bool) -> None:
    home = pool(2, queue_tokens=10**6)
    replica = home.choose(first, 10, ())
    home.take(replica, 10)
    assert (home.choose(second, 10, ()) is replica) is together


def test_the_longest_beginning_decides() -> None:
    home = pool(2, queue_tokens=10**6)
    long, short = "s" * 1024, "s" * 256
    one = home.choose(long, 10, ())
    home.take(one, 10)
    # The short one is moved to the other replica, the long one stays.
    for _ in range(SLACK + 1):
        home.take(one, 10)
    other = home.choose(short + "x", 10, ())
    assert other is not one
    home.give_back(one, 10)
    home.give_back(one, 10)
    assert home.choose(long, 10, ()) is one


def test_a_replica_that_was_started_anew_knows_nothing() -> None:
    home = pool(2)
    one = home.choose("a" * 300, 10, ())
    home.take(one, 10)
    home.forget(one)
    assert home.choose("a" * 300, 10, ()) is not one


def test_what_is_known_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "KEPT_PREFIXES", 3)
    home = pool(2, queue_tokens=10**6)
    one = home.choose("a" * 300, 10, ())
    home.take(one, 10)
    assert home.choose("a" * 300, 10, ()) is one
    for letter in "bc":
        home.choose(letter * 300, 10, ())
    assert home.choose("a" * 300, 10, ()) is one  # which makes it the newest again
    for letter in "de":
        home.choose(letter * 300, 10, ())
    assert home.choose("a" * 300, 10, ()) is one
    for letter in "fgh":
        home.choose(letter * 300, 10, ())
    assert home.choose("a" * 300, 10, ()) is not one


def test_an_idle_replica_takes_what_is_larger_than_any_queue() -> None:
    home = pool(1)
    replica = home.choose("", 10 * QUEUE_TOKENS, ())
    home.take(replica, 10 * QUEUE_TOKENS)
    with pytest.raises(DomainError) as caught:
        home.choose("", 1, ())
    assert caught.value.reason is Reason.REPLICAS_BUSY
    home.give_back(replica, 10 * QUEUE_TOKENS)
    assert home.choose("", 1, ()) is replica


def test_one_that_was_tried_is_not_tried_again() -> None:
    home = pool(2)
    assert home.choose("", 10, ["r0"]).name == "r1"
    with pytest.raises(DomainError) as caught:
        home.choose("", 10, ["r1", "r0"])
    assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
    assert "r0, r1, which failed" in caught.value.message


@pytest.mark.parametrize(
    ("served", "over_tokens", "wait_s"),
    [
        ([], 300, 1),  # nothing is known of its pace
        ([(200, 100, 0.0)], 50, 5),  # 300 tokens in 30 s are 10 a second
        ([(200, 100, 0.0)], 1, 1),
        ([(200, 100, 0.0)], 900, 60),
        ([(200, 100, 0.0), (200, 100, 0.0)], 60, 3),
        ([(200, 100, 0.0), (200, 100, 1e9)], 50, 5),  # the older has faded
        ([(0, 0, 0.0)], 300, 1),
        ([(1, 0, 0.0), (0, 0, 22_000.0)], 300, 60),  # a pace that is as good as none
        ([(200, 100, 5.0), (200, 100, 0.0)], 60, 3),  # a clock that goes back
    ],
)
def test_retry_after_is_what_lies_over_the_limit_at_the_pace_of_late(
    served: list[tuple[int, int, float]], over_tokens: int, wait_s: int
) -> None:
    home = pool(1)
    home.take(home.replicas[0], QUEUE_TOKENS)
    for each in served:
        home.served(*each)
    with pytest.raises(DomainError) as caught:
        home.choose("", over_tokens, ())
    assert caught.value.retry_after_s == wait_s
    assert caught.value.metadata == {
        "upstream": "home",
        "replicas": "1",
        "queued_tokens": "1000",
        "retry_after_s": str(wait_s),
    }


def test_the_pace_is_shared_by_the_replicas() -> None:
    home = pool(2)
    for replica in home.replicas:
        home.take(replica, QUEUE_TOKENS)
    home.served(200, 100, 0.0)  # 10 tokens a second, 5 for each
    with pytest.raises(DomainError) as caught:
        home.choose("", 50, ())
    assert caught.value.retry_after_s == 10


def test_an_estimate_learns_how_long_answers_are() -> None:
    home = pool(1)
    assert home.estimate(10, 100) == 110
    assert home.estimate(10, 10**9) == 10 + 2 * replicas.FIRST_ANSWER_TOKENS
    for _ in range(200):
        home.served(10, 5, 0.0)
    assert home.estimate(10, 10**9) in (20, 21)
    assert home.estimate(10, 3) == 13
