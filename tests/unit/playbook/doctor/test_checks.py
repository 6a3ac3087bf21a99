"""What the facts mean: each case is one thing that can be wrong, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.doctor import checks, checks_services, checks_upstreams
from playbook.doctor.checks import Here
from playbook.doctor.checks_clickhouse import clickhouse
from playbook.doctor.facts import (
    Capabilities,
    Capability,
    ClickHouse,
    Clock,
    Disk,
    Home,
    Journal,
    Machine,
    Process,
    Queue,
    Replica,
    Service,
    Upstream,
    clock,
)
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import GIB, Limits

HERE = Here("0.2.0", "aa", "homeward.toml")
LIMITS = Limits()
RIGHT = Clock(0.0, 0.001)
PROCESS = Process(0, 1, "0.2.0", "aa", RIGHT, 60.0, policy_version=7)
LEDGER = Service("ledger", "127.0.0.1:8084", processes=[PROCESS])
ROUTER = Service("router", "127.0.0.1:8081", processes=[PROCESS], http="127.0.0.1:8080")
DISK = Disk("ledger.state_dir", "/data", 80 * GIB, 100 * GIB)
MIGRATIONS = {1: "one", 2: "two"}
NAMES = {1: "0001_legs", 2: "0002_traces"}
BOOK = ClickHouse(
    "http://127.0.0.1:8123",
    "homeward",
    version="26.7.2.1",
    clock=RIGHT,
    disks=[DISK],
    migrations=MIGRATIONS,
    tokens=True,
    windows={"legs": 10_000},
    most_parts=5,
    stuck_mutations=0,
    analyst="analyst",
    analyst_writes=False,
)
CLOUD = Upstream("openai", "cloud", "https://api.openai.com/v1", "us", "set", status=200, clock=RIGHT)
REPLICA = Replica("gpu:8001", version="2.51.0", ready=True, states={"1": "READY"}, mute={"1": ""})
HOME = Home("home", "eu", "tensorrt_llm", {"llama": "1"}, "models/llama", replicas=[REPLICA])


def said(findings: list[Finding], check: str) -> tuple[State, str]:
    """The state of a check, and all that is said of it."""
    (item,) = [item for item in findings if item.check == check]
    return item.state, f"{item.found} {item.todo}"


def services(*found: Service, limits: Limits = LIMITS) -> list[Finding]:
    return checks_services.services(found, HERE, limits)


def test_a_healthy_house_has_nothing_to_do() -> None:
    book = clickhouse(BOOK, MIGRATIONS, NAMES, HERE, LIMITS)
    found = [
        *services(LEDGER, ROUTER),
        *book,
        *checks_upstreams.upstream(CLOUD, LIMITS),
        *checks_upstreams.home(HOME),
        *checks.machine(Machine((3, 11, 7), [DISK], ""), LIMITS),
        *checks.settings([], [], "homeward.toml"),
    ]
    assert [(item.part, item.check) for item in found if item.state is not State.OK] == []
    assert not any(item.todo for item in found)


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (80 * GIB, 100 * GIB, State.OK),
        (5 * GIB - 1, 10 * GIB, State.WARNING),
        (GIB - 1, 10 * GIB, State.FAILED),
        # A tenth of a small disk is little, of a large one a lot.
        (6 * GIB, 100 * GIB, State.WARNING),
        (51 * GIB, 2_000 * GIB, State.OK),
        (0, 0, State.UNKNOWN),
    ],
)
def test_a_disk_is_judged_by_what_is_free(free: int, total: int, expected: State) -> None:
    assert checks.disk("ledger", replace(DISK, free_bytes=free, total_bytes=total), LIMITS).state is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Clock(0.9, 0.0), State.OK),
        (Clock(-1.1, 0.0), State.WARNING),
        (Clock(61.0, 0.0), State.FAILED),
        # What the measurement itself may be off is not held against a clock.
        (Clock(2.0, 1.5), State.OK),
        (Clock(62.0, 1.5), State.FAILED),
    ],
)
def test_a_clock_is_judged_by_more_than_its_measurement_may_be_off(found: Clock, expected: State) -> None:
    assert checks.clock("ledger", found, LIMITS).state is expected


@given(
    skew_ns=st.integers(-(10**12), 10**12),
    there_ns=st.integers(0, 10**9),
    back_ns=st.integers(0, 10**9),
)
def test_a_clock_is_measured_within_the_error_that_is_told(skew_ns: int, there_ns: int, back_ns: int) -> None:
    sent_ns = 1_700_000_000 * 10**9
    found = clock(sent_ns, sent_ns + there_ns + skew_ns, sent_ns + there_ns + back_ns)
    assert abs(found.ahead_s - skew_ns / 1e9) <= found.error_s + 1e-6


@given(skew_ns=st.integers(-(10**11), 10**11), part_ns=st.integers(0, 10**9 - 1))
def test_a_header_of_whole_seconds_is_off_by_half_of_one(skew_ns: int, part_ns: int) -> None:
    sent_ns = 1_700_000_000 * 10**9 + part_ns
    told_ns = (sent_ns + skew_ns) // 10**9 * 10**9
    found = clock(sent_ns, told_ns, sent_ns, step_s=1.0)
    assert abs(found.ahead_s - skew_ns / 1e9) <= found.error_s + 1e-6


@pytest.mark.parametrize(
    ("service", "check", "state", "words"),
    [
        (replace(ROUTER, problem="nothing answers"), "answers", State.FAILED, "python -m services.router"),
        (replace(ROUTER, http_problem="nothing answers"), "HTTP door", State.FAILED, "127.0.0.1:8080"),
        (replace(ROUTER, processes=[], silent="older"), "version", State.WARNING, "restart it"),
        (replace(ROUTER, processes=[], silent="key_missing"), "version", State.UNKNOWN, "HOMEWARD_API_KEY"),
        (replace(ROUTER, processes=[], silent="key_invalid"), "version", State.UNKNOWN, "know the key"),
        (replace(ROUTER, expected=2), "processes", State.UNKNOWN, "1 of 2"),
    ],
    ids=["down", "door shut", "older", "no key", "another's key", "one of two"],
)
def test_a_service_that_tells_little(service: Service, check: str, state: State, words: str) -> None:
    found, text = said([item for item in services(LEDGER, service) if item.part == "router"], check)
    assert found is state
    assert words in text


@pytest.mark.parametrize(
    ("process", "check", "state", "words"),
    [
        (replace(PROCESS, version="0.1.0"), "version", State.WARNING, "0.1.0; this command is 0.2.0"),
        (replace(PROCESS, contract="bb"), "version", State.WARNING, "another contract"),
        (replace(PROCESS, clock=Clock(90.0, 0.1)), "clock", State.FAILED, "by NTP"),
        (replace(PROCESS, restricted=True), "disk and queues", State.UNKNOWN, "approvals"),
        (replace(PROCESS, disks=[DISK]), "disk: ledger.state_dir", State.OK, "80%"),
        (replace(PROCESS, queues=[Queue("legs", 1, 100, 0)]), "queue: legs", State.OK, "1 of 100"),
        (replace(PROCESS, queues=[Queue("legs", 10, 100, 0)]), "queue: legs", State.WARNING, "10 of 100"),
        (replace(PROCESS, queues=[Queue("legs", 90, 100, 0)]), "queue: legs", State.FAILED, "90 of 100"),
        (replace(PROCESS, queues=[Queue("legs", 0, 100, 3)]), "queue: legs", State.WARNING, "3 lost"),
        (replace(PROCESS, queues=[Queue("legs", None, 100, 0)]), "queue: legs", State.UNKNOWN, "counted"),
        (replace(PROCESS, policy_version=0), "policy", State.FAILED, "none"),
        (replace(PROCESS, policy_age_s=30), "policy", State.WARNING, "30 s ago"),
        (replace(PROCESS, policy_version=6), "policy", State.WARNING, "6; the ledger's is 7"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_process_that_tells_all(process: Process, check: str, state: State, words: str) -> None:
    found = services(LEDGER, replace(ROUTER, processes=[process]))
    told, text = said([item for item in found if item.part == "router"], check)
    assert told is state
    assert words in text


def test_without_workloads_in_the_settings_there_is_no_policy_and_nothing_fails() -> None:
    none = replace(PROCESS, policy_version=0)
    found = services(replace(LEDGER, processes=[none]), replace(ROUTER, processes=[none]))
    told = [item for item in found if item.check == "policy"]
    assert {(item.part, item.state) for item in told} == {
        ("ledger", State.WARNING),
        ("router", State.WARNING),
    }
    assert all("[workloads.NAME]" in item.todo for item in told)


def test_processes_that_share_an_address_each_have_their_lines() -> None:
    two = replace(ROUTER, expected=2, processes=[PROCESS, replace(PROCESS, index=1, policy_version=6)])
    found = services(LEDGER, two)
    assert said([item for item in found if item.part == "router 0"], "policy")[0] is State.OK
    assert said([item for item in found if item.part == "router 1"], "policy")[0] is State.WARNING


@pytest.mark.parametrize(("ledgers_s", "whose"), [(5.0, "this machine's"), (0.0, "its machine's")])
def test_a_clock_that_all_others_contradict_is_the_one_to_set(ledgers_s: float, whose: str) -> None:
    off = replace(ROUTER, processes=[replace(PROCESS, clock=Clock(5.2, 0.001))])
    ledger = replace(LEDGER, processes=[replace(PROCESS, clock=Clock(ledgers_s, 0.001))])
    found = [item for item in services(ledger, off) if item.part == "router"]
    assert f"set {whose} clock" in said(found, "clock")[1]


@pytest.mark.parametrize(
    ("journal", "state", "words"),
    [
        (None, State.UNKNOWN, "no ledger tells"),
        (Journal(problem="the disk is full"), State.FAILED, "the disk is full"),
        (Journal(), State.OK, "none yet"),
        (Journal(12, 3.0), State.OK, "the last is 12"),
        (Journal(12, 3.0, 1, 2.0), State.OK, "1 not yet in ClickHouse"),
        (Journal(12, 3.0, 1, 90.0), State.WARNING, "homeward ledger verify"),
    ],
    ids=["no ledger", "problem", "empty", "whole", "on its way", "stuck"],
)
def test_the_journal(journal: Journal | None, state: State, words: str) -> None:
    ledger = replace(LEDGER, processes=[replace(PROCESS, journal=journal)])
    found, text = said(checks_services.journal(ledger, LIMITS), "entries")
    assert found is state
    assert words in text


@pytest.mark.parametrize(
    ("book", "check", "state", "words"),
    [
        (replace(BOOK, problem="nothing answers"), "answers", State.FAILED, "[clickhouse] url"),
        (
            replace(BOOK, problem="Code: 516", refused=True),
            "answers",
            State.FAILED,
            "HOMEWARD_CLICKHOUSE__PASSWORD",
        ),
        (replace(BOOK, version="25.3.1"), "version", State.WARNING, "tested with 26.7"),
        (replace(BOOK, tokens=False), "version", State.FAILED, "upgrade it"),
        (replace(BOOK, version="head"), "version", State.WARNING, "head"),
        (replace(BOOK, migrations=None), "migrations", State.FAILED, "services.ledger homeward.toml"),
        (replace(BOOK, migrations={1: "one"}), "migrations", State.FAILED, "1 not applied: 0002_traces"),
        (replace(BOOK, migrations={**MIGRATIONS, 3: "x"}), "migrations", State.WARNING, "upgrade this"),
        (replace(BOOK, migrations={1: "one", 2: "x"}), "migrations", State.FAILED, "another text"),
        (replace(BOOK, disks=[], disks_problem="Code: 497"), "disk", State.UNKNOWN, "system.disks"),
        (replace(BOOK, windows={"legs": 0}), "batches count once", State.FAILED, "MODIFY SETTING"),
        (replace(BOOK, windows={}), "batches count once", State.UNKNOWN, "migrations first"),
        (replace(BOOK, most_parts=300), "parts", State.WARNING, "300"),
        (replace(BOOK, stuck_mutations=1), "mutations", State.FAILED, "system.mutations"),
        (replace(BOOK, analyst=""), "analyst", State.UNKNOWN, "only reads"),
        (replace(BOOK, analyst_writes=True), "analyst", State.FAILED, "REVOKE INSERT"),
        (replace(BOOK, analyst_writes=None), "analyst", State.UNKNOWN, "SHOW GRANTS"),
        (replace(BOOK, analyst_problem="Code: 516"), "analyst", State.FAILED, "GRANT SELECT"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_clickhouse(book: ClickHouse, check: str, state: State, words: str) -> None:
    found, text = said(clickhouse(book, MIGRATIONS, NAMES, HERE, LIMITS), check)
    assert found is state
    assert words in text


@pytest.mark.parametrize(
    ("upstream", "check", "state", "words"),
    [
        (replace(CLOUD, status=401), "answers", State.FAILED, "does not take the key"),
        (replace(CLOUD, status=403, key="none"), "answers", State.FAILED, "settings name none"),
        # Where its key is not set, this is not where the router runs.
        (replace(CLOUD, status=401, key="OPENAI_API_KEY"), "answers", State.UNKNOWN, "set OPENAI_API_KEY"),
        (
            replace(CLOUD, status=0, problem="nothing answers", key="OPENAI_API_KEY"),
            "answers",
            State.UNKNOWN,
            "the router runs elsewhere",
        ),
        (replace(CLOUD, status=0, problem="nothing answers"), "answers", State.FAILED, "firewall"),
        (replace(CLOUD, status=404), "answers", State.WARNING, "base_url"),
        (replace(CLOUD, status=429), "answers", State.WARNING, "limits"),
        (replace(CLOUD, status=503), "answers", State.FAILED, "503"),
        (replace(CLOUD, status=302), "answers", State.WARNING, "302"),
        (
            replace(CLOUD, listed=frozenset({"a"}), wanted=frozenset({"a", "b"})),
            "models",
            State.WARNING,
            "does not list b",
        ),
        (replace(CLOUD, listed=frozenset({"a"}), wanted=frozenset({"a"})), "models", State.OK, "all 1"),
        (replace(CLOUD, region=""), "region", State.WARNING, "set region"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_upstream(upstream: Upstream, check: str, state: State, words: str) -> None:
    found, text = said(checks_upstreams.upstream(upstream, LIMITS), check)
    assert found is state
    assert words in text


@pytest.mark.parametrize(
    ("home", "check", "state", "words"),
    [
        (replace(HOME, folder_here=False), "model's folder", State.UNKNOWN, "where the router runs"),
        (replace(HOME, folder_problem="no such file"), "model's folder", State.FAILED, "model_dir"),
        (
            replace(HOME, context_tokens=9_000, folder_tokens=8_000),
            "model's folder",
            State.WARNING,
            "lower context_tokens",
        ),
    ],
    ids=["elsewhere", "not a model's", "a context too long"],
)
def test_a_models_folder(home: Home, check: str, state: State, words: str) -> None:
    found, text = said(checks_upstreams.home(home), check)
    assert found is state
    assert words in text


@pytest.mark.parametrize(
    ("replica", "words"),
    [
        (replace(REPLICA, problem="nothing answers"), "start it"),
        (replace(REPLICA, states={}), "not in its repository"),
        (replace(REPLICA, states={"1": "READY", "2": "UNAVAILABLE"}), "version 2: UNAVAILABLE"),
        (replace(REPLICA, mute={"1": "a probe got no answer"}), "says ready and makes no token"),
        (replace(REPLICA, mute={"1": "a probe got no answer"}), "restart its container"),
        (replace(REPLICA, missing_inputs=["text_input"]), "lacks the inputs text_input"),
    ],
    ids=["down", "no model", "a version is not loaded", "a dead process", "its cure", "another contract"],
)
def test_a_replica_that_serves_nobody_fails(replica: Replica, words: str) -> None:
    found, text = said(checks_upstreams.home(replace(HOME, replicas=[replica])), "replica gpu:8001")
    assert found is State.FAILED
    assert words in text


def test_a_replica_that_can_not_be_asked_from_here_is_unknown() -> None:
    replica = replace(REPLICA, unasked="tls_dir /certs: No such file or directory")
    found, text = said(checks_upstreams.home(replace(HOME, replicas=[replica])), "replica gpu:8001")
    assert found is State.UNKNOWN
    assert "where the router runs" in text


@pytest.mark.parametrize(
    ("found", "check", "state", "words"),
    [
        (Capabilities(), "probes", State.UNKNOWN, "--probe"),
        (Capabilities(at_home=False), "probes", State.OK, "no model at home"),
        (Capabilities(problem="shadow is away"), "probes", State.UNKNOWN, "shadow is away"),
        (Capabilities([Capability("triage", "tools", True, "", 60.0)]), "triage", State.OK, "tools"),
        (
            Capabilities([Capability("triage", "tools", True, "", 8 * 86_400.0)]),
            "triage",
            State.WARNING,
            "8 d ago",
        ),
        (
            Capabilities([Capability("llama", "tools", False, "it called none", 0.0)], probed=True),
            "llama: tools",
            State.WARNING,
            "it called none",
        ),
        (
            Capabilities([Capability("llama", "probes", None, "that key may not", 0.0)], probed=True),
            "llama: probes",
            State.UNKNOWN,
            "experiments",
        ),
    ],
    ids=[
        "never probed",
        "nothing to probe",
        "no shadow",
        "probed",
        "probed long ago",
        "lacking",
        "not allowed",
    ],
)
def test_capabilities(found: Capabilities, check: str, state: State, words: str) -> None:
    told, text = said(checks_upstreams.capabilities(found, LIMITS), check)
    assert told is state
    assert words in text


clocks = st.builds(Clock, st.floats(-1e4, 1e4), st.floats(0, 10))
words = st.sampled_from(["", "it is away"])
counted = st.integers(0, 10**7)
disks = st.builds(Disk, st.just("d"), st.just("/d"), counted, counted, words)
queues = st.builds(Queue, st.just("q"), st.none() | counted, counted, counted)
journals = st.builds(
    Journal, counted, st.none() | st.floats(-1e3, 1e6), counted, st.none() | st.floats(-1e3, 1e6), words
)
processes = st.builds(
    Process,
    counted,
    counted,
    st.sampled_from(["", "0.2.0", "0.1.0"]),
    st.sampled_from(["aa", "bb"]),
    clocks,
    st.floats(0, 1e6),
    st.booleans(),
    st.lists(disks, max_size=2),
    st.lists(queues, max_size=2),
    st.none() | counted,
    counted,
    st.none() | journals,
)
any_service = st.builds(
    Service,
    st.sampled_from(["router", "ledger", "shadow"]),
    st.just("127.0.0.1:1"),
    words,
    st.lists(processes, max_size=3),
    st.integers(1, 4),
    st.sampled_from(["", "older", "key_missing", "key_invalid", "odd"]),
    st.sampled_from(["", "127.0.0.1:2"]),
    words,
)
any_book = st.builds(
    ClickHouse,
    st.just("http://c"),
    st.just("u"),
    words,
    st.booleans(),
    st.sampled_from(["", "26.7.1", "head", "27"]),
    st.none() | clocks,
    st.lists(disks, max_size=2),
    words,
    st.none() | st.dictionaries(st.integers(1, 4), st.sampled_from(["one", "two"])),
    words,
    st.none() | st.booleans(),
    st.dictionaries(st.sampled_from(["legs", "corrections"]), counted),
    st.none() | counted,
    st.none() | counted,
    st.sampled_from(["", "analyst"]),
    words,
    st.none() | st.booleans(),
)
any_upstream = st.builds(
    Upstream,
    st.just("u"),
    st.sampled_from(["cloud", "sovereign"]),
    st.just("http://u"),
    words,
    st.sampled_from(["set", "none", "KEY"]),
    words,
    st.sampled_from([0, 200, 302, 401, 403, 404, 429, 500]),
    st.none() | clocks,
    st.none() | st.frozensets(st.sampled_from("ab")),
    st.frozensets(st.sampled_from("abc")),
)


@given(st.lists(any_service, max_size=4), any_book, any_upstream)
def test_whatever_is_found_what_is_not_well_comes_with_what_to_do(
    found: list[Service], book: ClickHouse, upstream: Upstream
) -> None:
    ledger = next((item for item in found if item.name == "ledger"), None)
    told = [
        *services(*found),
        *checks_services.journal(ledger, LIMITS),
        *clickhouse(book, MIGRATIONS, NAMES, HERE, LIMITS),
        *checks_upstreams.upstream(upstream, LIMITS),
    ]
    assert told
    for item in told:
        assert item.found
        assert bool(item.todo) is (item.state is not State.OK)
