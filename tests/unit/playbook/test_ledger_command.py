"""`homeward ledger verify` reads the journal and can't write to it; what it says of a real book is in
tests/integration/test_ledger_verify.py."""

from __future__ import annotations

from contextlib import closing

import pytest
from typer.testing import CliRunner

from playbook.cli import app
from playbook.commands.ledger import dollars, read_only
from services.common.errors import DomainError, Reason
from services.ledger.adapters.journal.database import Database, JournalAddressError
from services.ledger.adapters.journal.entries import Entries
from tests.support.journal import simple_draft


def test_the_journal_is_opened_for_reading_only(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        Entries(database).append(simple_draft("one"), now_unix_us=1)
    with closing(Database(read_only(database_url))) as database:
        entries = Entries(database)
        assert [checked.problem for checked in entries.check()] == [None]
        with pytest.raises(Exception, match=r"(?i)read.?only"):
            entries.append(simple_draft("two"), now_unix_us=2)


def test_a_journal_that_is_not_there_is_not_made(tmp_path: object) -> None:
    with pytest.raises(DomainError) as refused:
        Database(read_only(f"sqlite:///{tmp_path}/a strange?name%.sqlite"))
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE


def test_an_address_that_is_none_is_not_repeated() -> None:
    with pytest.raises(JournalAddressError) as refused:
        read_only("no address with a s3cret")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("noted", ["short", "g" * 64, "0" * 63])
def test_a_noted_hash_is_64_digits(noted: str) -> None:
    assert CliRunner().invoke(app, ["ledger", "verify", "--noted", noted]).exit_code == 2


@pytest.mark.parametrize(
    ("amount_nanos", "shown"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (1_234_567_890_123_456_789, "1,234,567,890.123456789"),
    ],
)
def test_dollars_are_shown_to_the_nano_dollar(amount_nanos: int, shown: str) -> None:
    assert dollars(amount_nanos) == shown
