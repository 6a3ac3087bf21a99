"""What a page of findings says in the end."""

from __future__ import annotations

import pytest

from playbook.doctor.findings import Finding, State, counts, document, failed, next_step


def finding(part: str, state: State, todo: str = "mend it") -> Finding:
    return Finding(part, "answers", state, "found", "" if state is State.OK else todo)


OK = finding("router", State.OK)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([OK], False),
        ([OK, finding("router", State.WARNING), finding("shadow", State.UNKNOWN)], False),
        ([OK, finding("router", State.FAILED)], True),
    ],
    ids=["well", "warnings and unknowns", "a failure"],
)
def test_only_a_failure_makes_the_exit_code_1(findings: list[Finding], expected: bool) -> None:
    assert failed(findings) is expected
    assert document(findings, "0.1.0", "homeward.toml")["failed"] is expected


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([OK], "nothing is to be done"),
        # What others wait for comes first, however late it stands on the page.
        ([finding("router", State.FAILED), finding("ClickHouse", State.FAILED)], "ClickHouse, answers"),
        ([finding("cloud: openai", State.FAILED), finding("ledger", State.FAILED)], "ledger, answers"),
        # A failure before a warning, a warning before what is unknown.
        ([finding("settings", State.WARNING), finding("shadow", State.FAILED)], "shadow, answers"),
        ([finding("settings", State.UNKNOWN), finding("shadow", State.WARNING)], "shadow, answers"),
    ],
    ids=["well", "ClickHouse first", "the ledger before a cloud", "a failure first", "a warning first"],
)
def test_the_next_step_mends_the_cause(findings: list[Finding], expected: str) -> None:
    assert next_step(findings).startswith(expected)


def test_every_state_is_counted() -> None:
    findings = [OK, OK, finding("shadow", State.UNKNOWN)]
    assert counts(findings) == {State.OK: 2, State.WARNING: 0, State.FAILED: 0, State.UNKNOWN: 1}
