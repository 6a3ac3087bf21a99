"""What shadow's settings say of examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.settings import SettingsError
from services.shadow.config import load_shadow

SETTINGS = """
[shadow]
keep_examples_per_epoch = 5

[keys.boss]
sha256 = "{boss}"
scopes = ["approvals"]

[keys.lab]
sha256 = "{lab}"
scopes = ["experiments"]

[data_classes.public]
keep_examples_days = {days}

[data_classes.internal]
targets = ["cloud", "sovereign"]

[workloads.open]
owner = "ops"
data_class = "public"

[workloads.closed]
owner = "ops"
data_class = "internal"

[workloads.plain]
owner = "ops"
"""


def settings(folder: Path, days: int) -> Path:
    file = folder / "homeward.toml"
    file.write_text(SETTINGS.format(boss="1" * 64, lab="2" * 64, days=days))
    return file


def test_only_a_class_that_says_so_keeps_texts(tmp_path: Path) -> None:
    config = load_shadow(settings(tmp_path, 7), {})
    keeping = config.keeping()
    assert keeping.days == {"open": 7, "closed": 0, "plain": 0}
    assert keeping.classes == {"open": "public", "closed": "internal", "plain": "unrestricted"}
    assert keeping.per_epoch == 5
    assert config.experimenters() == {bytes.fromhex("2" * 64): "lab"}
    assert config.approvers() == {bytes.fromhex("1" * 64): "boss"}


@pytest.mark.parametrize("days", [-1, 91])
def test_no_text_is_kept_for_longer_than_a_quarter(tmp_path: Path, days: int) -> None:
    with pytest.raises(SettingsError, match="keep_examples_days"):
        load_shadow(settings(tmp_path, days), {})


@pytest.mark.parametrize(
    ("workloads", "default", "may"),
    [
        (["*"], "", {"open"}),
        (["*", "closed"], "", {"open", "closed"}),
        (["*"], "closed", {"open", "closed"}),
        (["closed"], "", {"closed"}),
        (["another"], "", set()),
    ],
)
def test_a_key_reads_what_it_may_ask_for(
    tmp_path: Path, workloads: list[str], default: str, may: set[str]
) -> None:
    """A workload that may not leave the house must be named, as for requests."""
    file = tmp_path / "homeward.toml"
    file.write_text(
        f"""
        [keys.lab]
        sha256 = "{"2" * 64}"
        scopes = ["experiments"]
        workloads = {workloads}
        default_workload = "{default}"
        [data_classes.house]
        targets = ["sovereign"]
        [workloads.open]
        owner = "us"
        [workloads.closed]
        owner = "us"
        data_class = "house"
        """
    )
    (reader,) = load_shadow(file, {}).readers().values()
    assert (reader.name, reader.workloads) == ("lab", may)
