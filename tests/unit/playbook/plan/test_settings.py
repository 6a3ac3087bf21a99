"""What [plan] and [finance] may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook.plan.settings import PlanConfig
from services.common.settings import SettingsError, load


def loaded(folder: Path, text: str, environment: dict[str, str] | None = None) -> PlanConfig:
    file = folder / "homeward.toml"
    file.write_text(text)
    return load(PlanConfig, *PlanConfig.model_fields, path=file, environment=environment or {})


def test_figures_may_be_known_or_a_range(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        "[plan]\nrenewal = 2028-02-29\n[finance]\nrenewal_change = { low = -0.1, high = 0.2 }\n"
        'engineering_usd = { value = 60000, note = "quote" }',
        {"HOMEWARD_PLAN__APPROVAL_WEEKS": "6"},
    )
    assert str(found.plan.renewal) == "2028-02-29"
    assert found.plan.approval_weeks == 6
    assert found.finance.renewal_change is not None
    assert found.finance.renewal_change.value is None
    assert found.finance.engineering_usd is not None
    assert found.finance.engineering_usd.note == "quote"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[plan]\nphase_weeks_low = 4", "phase_weeks_high: expected 4 or more, got 3"),
        ("[plan]\nrenewal = 0027-03-31", "renewal: expected a day from 2000 to 2200"),
        ("[plan]\nrenewal = 2027-02-29", "not valid TOML"),
        ('[plan]\nworkloads = ["a", "b", "a"]', "workloads: expected each name once, got a again"),
        ("[finance]\nengineering_usd = { note = 'x' }", "expected a value, or low and high"),
        ("[finance]\nengineering_usd = { low = 1 }", "expected a value, or low and high"),
        ("[finance]\nengineering_usd = { value = 1, low = 2 }", "expected low, value and high in this order"),
        ("[finance]\nengineering_usd = { value = nan }", "finite"),
        ("[finance]\nengineering_usd = { value = -1 }", "engineering_usd: expected 0 or more, got -1"),
        ("[finance]\nshare_that_moves = { value = 70 }", "share_that_moves: expected 0 to 1, got 70"),
        ("[finance]\nrenewal_change = { value = -1.5 }", "renewal_change: expected -1 or more"),
        ("[finance]\nwages = { value = 1 }", "finance.wages: unknown key"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        loaded(tmp_path, text)
