import hashlib
from dataclasses import replace

import pytest

from services.common.errors import DomainError, Reason
from services.router.core.keys import Key, KeyRing


def key(name: str, secret: str, **fields: object) -> Key:
    return replace(Key(name, hashlib.sha256(secret.encode()).digest()), **fields)


CRM, OPS = key("crm", "hw-crm-secret"), key("ops", "hw-ops-secret")
RING = KeyRing([CRM, OPS])


@pytest.mark.parametrize(("secret", "expected"), [("hw-crm-secret", CRM), ("hw-ops-secret", OPS)])
def test_a_secret_opens_its_own_key(secret: str, expected: Key) -> None:
    assert RING.authenticate(secret) == expected


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (None, Reason.KEY_MISSING),
        ("", Reason.KEY_MISSING),
        ("hw-crm-secre", Reason.KEY_INVALID),
        ("hw-crm-secret ", Reason.KEY_INVALID),
        ("HW-CRM-SECRET", Reason.KEY_INVALID),
        ("crm", Reason.KEY_INVALID),
        (CRM.sha256.hex(), Reason.KEY_INVALID),
        # As HTTP servers decode headers that are not UTF-8.
        ("\udcff", Reason.KEY_INVALID),
    ],
)
def test_nothing_else_does(secret: str | None, reason: Reason) -> None:
    with pytest.raises(DomainError) as caught:
        RING.authenticate(secret)
    assert caught.value.reason is reason
    assert not secret or secret == "crm" or secret not in caught.value.message


def test_a_digest_that_only_begins_alike_is_another_key() -> None:
    alike = replace(CRM, name="alike", sha256=CRM.sha256[:4] + bytes(28))
    assert KeyRing([alike, CRM]).authenticate("hw-crm-secret") == CRM
    with pytest.raises(DomainError):
        KeyRing([alike]).authenticate("hw-crm-secret")


def test_no_keys_open_nothing() -> None:
    with pytest.raises(DomainError):
        KeyRing([]).authenticate("hw-crm-secret")


@pytest.mark.parametrize(
    ("workloads", "may"), [(None, True), (frozenset({"triage"}), True), (frozenset({"other"}), False)]
)
def test_a_key_may_use_the_workloads_that_it_lists_or_all(
    workloads: frozenset[str] | None, may: bool
) -> None:
    assert key("crm", "s", workloads=workloads).may_use("triage") is may
