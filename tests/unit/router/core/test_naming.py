"""Which workload a request belongs to, from what its caller and its fixed parts say, and who may say so."""

from dataclasses import replace

import pytest

from services.common.errors import DomainError, Reason
from services.common.fingerprint import Hit
from services.common.words import Evidence, Target, TaskType
from services.router.core.data_classes import DataClass, DataClasses
from services.router.core.keys import Key
from services.router.core.naming import (
    ABSTAINED,
    EMPTY_TABLE,
    Name,
    Registered,
    Rules,
    Table,
    by_classifier,
    by_fixed_parts,
    declared,
)

HOME = DataClass("patients", frozenset({Target.SOVEREIGN}))
EU = DataClass("eu-home", frozenset({Target.SOVEREIGN}), frozenset({"eu"}))
OPEN = DataClass("unrestricted")
TABLE = Table(
    3,
    {
        "ticket-triage": Registered(TaskType.CLASSIFICATION),
        "invoices": Registered(TaskType.EXTRACTION, "unrestricted"),
        "letters": Registered(TaskType.GENERATION, "patients"),
        "reports": Registered(TaskType.SUMMARIZATION, "eu-home"),
        "unknown-class": Registered(TaskType.CODE, "gone"),
    },
)
RULES = Rules(TABLE, DataClasses([HOME, EU]))
ANY = Key("crm", bytes(32))


def listing(*names: str, all_others: bool = False) -> Key:
    return replace(ANY, workloads=None if all_others else frozenset(names), named=frozenset(names))


def by_default(key: Key, workload: str) -> Key:
    return replace(key, default_workload=workload, named=key.named | {workload})


ONLY_INVOICES = listing("invoices")


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
        ("letters", listing("letters"), "letters"),
        ("letters", listing("letters", all_others=True), "letters"),
        ("", by_default(ANY, "letters"), "letters"),
        # Which then says that it does not know the class.
        ("unknown-class", ANY, "unknown-class"),
    ],
)
def test_a_declared_workload_or_the_keys_default_names_a_request(workload: str, key: Key, name: str) -> None:
    wanted = Name(name, Evidence.DECLARED, TABLE.workloads[name].task_type, 1.0, certain=True)
    assert declared(workload, key, RULES) == wanted


@pytest.mark.parametrize(
    ("key", "table"), [(ANY, TABLE), (by_default(ANY, "gone"), TABLE), (by_default(ANY, "a"), EMPTY_TABLE)]
)
def test_who_declares_nothing_is_not_named(key: Key, table: Table) -> None:
    assert declared("", key, replace(RULES, table=table)) is None


@pytest.mark.parametrize(
    ("workload", "nearest"),
    [("ticket-triag", "ticket-triage"), ("invoice", "invoices"), ("xyz", ""), ("x" * 100, "")],
)
def test_a_workload_that_is_not_registered_is_refused_with_the_nearest(workload: str, nearest: str) -> None:
    with pytest.raises(DomainError) as caught:
        declared(workload, ANY, RULES)
    assert caught.value.reason is Reason.WORKLOAD_NOT_FOUND
    assert caught.value.metadata == {"workload": workload[:63], "nearest": nearest}
    assert ("did you mean" in caught.value.message) is bool(nearest)


@pytest.mark.parametrize(
    ("workload", "key", "hint"),
    [
        ("ticket-triage", ONLY_INVOICES, ""),
        ("letters", ONLY_INVOICES, ""),
        ("letters", ANY, "list it in [keys.crm] workloads"),
        ("letters", listing("reports", all_others=True), "list it in [keys.crm] workloads"),
    ],
)
def test_a_workload_that_the_key_may_not_use_is_refused(workload: str, key: Key, hint: str) -> None:
    with pytest.raises(DomainError) as caught:
        declared(workload, key, RULES)
    assert caught.value.reason is Reason.WORKLOAD_FORBIDDEN
    assert caught.value.metadata == {"key": "crm", "workload": workload}
    assert hint in caught.value.message
    assert ("list it" in caught.value.message) is bool(hint)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("workload", "key", "named"),
    [
        ("ticket-triage", ANY, True),
        ("ticket-triage", ONLY_INVOICES, False),
        ("letters", ANY, False),
        ("letters", listing("letters"), True),
        ("unknown-class", ANY, True),
    ],
)
def test_fixed_parts_and_resemblance_name_a_request_if_the_key_may_use_the_workload(
    workload: str, key: Key, named: bool, exact: bool
) -> None:
    hit = Hit(workload, exact, 1.0 if exact else 0.99)
    task_type = TABLE.workloads[workload].task_type
    name = Name(workload, Evidence.FINGERPRINT, task_type, hit.confidence, certain=exact)
    assert by_fixed_parts(hit, key, RULES) == (name if named else None)
    guess = Name(workload, Evidence.EXAMPLES, task_type, 0.98)
    unnamed = replace(ABSTAINED, task_type=task_type)
    assert by_classifier(guess, key, RULES) == (guess if named else unnamed)


def test_what_nothing_names_stays_unnamed() -> None:
    assert by_fixed_parts(None, ANY, RULES) is None
    kind = Name("", Evidence.TASK_TYPE, TaskType.CODE, 0.9)
    assert by_classifier(kind, ANY, RULES) == kind
    # The classifier's table may be newer than the router's.
    newer = Name("newer", Evidence.EXAMPLES, TaskType.CODE, 0.9)
    assert by_classifier(newer, ANY, RULES) == replace(ABSTAINED, task_type=TaskType.CODE)


DECLARED = Name("invoices", Evidence.DECLARED, confidence=1.0, certain=True)
GUESSED = Name("invoices", Evidence.EXAMPLES, confidence=0.99)
GONE = DataClass("gone", frozenset(), known=False)


@pytest.mark.parametrize(
    ("key", "name", "classes"),
    [
        (ANY, ABSTAINED, []),
        (ANY, GUESSED, [OPEN]),
        (ONLY_INVOICES, GUESSED, [OPEN]),
        (listing("letters"), ABSTAINED, [HOME]),
        (by_default(ANY, "letters"), ABSTAINED, [HOME]),
        (listing("letters", "invoices"), ABSTAINED, [HOME]),
        # Text can look like the open workload of a key that has a restricted one too.
        (listing("letters", "invoices"), GUESSED, [OPEN, HOME]),
        (listing("letters", "invoices"), DECLARED, [OPEN]),
        (listing("letters", all_others=True), GUESSED, [OPEN, HOME]),
        (listing("unknown-class"), ABSTAINED, [GONE]),
        # A classifier that lost its table does not know what it had restricted.
        (listing("nobody-registered-it"), ABSTAINED, [HOME, EU]),
        (by_default(ANY, "nobody-registered-it"), ABSTAINED, [HOME, EU]),
    ],
)
def test_a_name_that_text_can_change_opens_nothing_that_the_keys_workloads_close(
    key: Key, name: Name, classes: list[DataClass]
) -> None:
    assert RULES.binding(key, name) == classes


def test_all_restricted_classes_of_a_key_bind_its_unnamed_requests() -> None:
    classes = RULES.binding(listing("letters", "reports", "invoices"), ABSTAINED)
    assert sorted(item.name for item in classes) == ["eu-home", "patients"]


@pytest.mark.parametrize(("key", "bound"), [(ANY, False), (ONLY_INVOICES, True)])
def test_until_a_table_has_come_any_workload_that_a_key_lists_may_be_restricted(
    key: Key, bound: bool
) -> None:
    assert replace(RULES, table=EMPTY_TABLE).binding(key, ABSTAINED) == ([HOME, EU] if bound else [])
