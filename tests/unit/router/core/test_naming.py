"""Which workload a request belongs to, from what its caller and its fixed parts say."""

from dataclasses import replace

import pytest

from services.common.errors import DomainError, Reason
from services.common.words import Evidence, TaskType
from services.router.core.keys import Key
from services.router.core.naming import EMPTY_TABLE, Name, Table, by_fingerprint, declared

TABLE = Table(
    3,
    {"ticket-triage": TaskType.CLASSIFICATION, "invoices": TaskType.EXTRACTION},
    {b"t" * 16: "ticket-triage"},
)
ANY = Key("crm", bytes(32))
ONLY_INVOICES = replace(ANY, workloads=frozenset({"invoices"}))


def by_default(key: Key, workload: str) -> Key:
    return replace(key, default_workload=workload)


@pytest.mark.parametrize(
    ("workload", "key", "name"),
    [
        ("ticket-triage", ANY, "ticket-triage"),
        ("invoices", ONLY_INVOICES, "invoices"),
        ("", by_default(ANY, "invoices"), "invoices"),
        # What is declared is stronger than the default.
        ("ticket-triage", by_default(ANY, "invoices"), "ticket-triage"),
        # The operator chose the default, so it needs no other permission.
        ("", by_default(ONLY_INVOICES, "ticket-triage"), "ticket-triage"),
    ],
)
def test_a_declared_workload_or_the_keys_default_names_a_request(workload: str, key: Key, name: str) -> None:
    assert declared(workload, key, TABLE) == Name(name, Evidence.DECLARED, TABLE.task_types[name], 1.0)


@pytest.mark.parametrize(
    ("key", "table"), [(ANY, TABLE), (by_default(ANY, "gone"), TABLE), (by_default(ANY, "a"), EMPTY_TABLE)]
)
def test_who_declares_nothing_is_not_named(key: Key, table: Table) -> None:
    assert declared("", key, table) is None


@pytest.mark.parametrize(
    ("workload", "nearest"),
    [("ticket-triag", "ticket-triage"), ("invoice", "invoices"), ("xyz", ""), ("x" * 100, "")],
)
def test_a_workload_that_is_not_registered_is_refused_with_the_nearest(workload: str, nearest: str) -> None:
    with pytest.raises(DomainError) as caught:
        declared(workload, ANY, TABLE)
    assert caught.value.reason is Reason.WORKLOAD_NOT_FOUND
    assert caught.value.metadata == {"workload": workload[:63], "nearest": nearest}
    assert ("did you mean" in caught.value.message) is bool(nearest)


def test_a_workload_that_the_key_may_not_use_is_refused() -> None:
    with pytest.raises(DomainError) as caught:
        declared("ticket-triage", ONLY_INVOICES, TABLE)
    assert caught.value.reason is Reason.WORKLOAD_FORBIDDEN
    assert caught.value.metadata == {"key": "crm", "workload": "ticket-triage"}


@pytest.mark.parametrize(
    ("digest", "key", "name"),
    [
        (b"t" * 16, ANY, Name("ticket-triage", Evidence.FINGERPRINT, TaskType.CLASSIFICATION, 1.0)),
        (b"t" * 16, ONLY_INVOICES, None),
        (b"u" * 16, ANY, None),
        (b"", ANY, None),
    ],
)
def test_a_registered_fingerprint_names_a_request_if_the_key_may_use_it(
    digest: bytes, key: Key, name: Name | None
) -> None:
    assert by_fingerprint(digest, key, TABLE) == name
