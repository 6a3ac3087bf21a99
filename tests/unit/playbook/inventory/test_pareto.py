"""The picture is a real file of its kind, the same for the same figures."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from playbook.inventory.gather import put_together
from playbook.inventory.lines import inventory
from playbook.inventory.pareto import draw
from playbook.inventory.saving import PUBLISHED
from playbook.inventory.spend import Group, Tokens

DAY = date(2026, 1, 1)
PRICED = Group(
    source="usage",
    workload="",
    fingerprint="",
    provider="openai",
    model="gpt-$4o$",
    who_kind="project",
    who="support & <bot>",
    models=("gpt-4o",),
    coarse=False,
    daily=((DAY, 1, 10),),
    requests=1,
    unknown_requests=0,
    tokens=Tokens(input=10),
    cost_nanos=10**12,
    priced_rows=1,
    unpriced_rows=0,
    unpriced_tokens=0,
    currencies=(),
    task_types={},
)


@pytest.mark.parametrize("groups", [[], [PRICED]], ids=["nothing", "something"])
def test_a_png_has_the_size_of_a_slide(tmp_path: Path, groups: list[Group]) -> None:
    """Also of nothing at all."""
    file = tmp_path / "pareto.png"
    draw(inventory(put_together(groups, [("usage", "openai", [DAY])]), {}, PUBLISHED), file)
    with Image.open(file) as picture:
        assert (picture.format, picture.size) == ("PNG", (1760, 1024))


def test_an_svg_is_the_same_twice_and_has_the_names_as_they_are(tmp_path: Path) -> None:
    """Dollar signs are no formulas, and angle brackets no tags."""
    found = inventory(put_together([PRICED], [("usage", "openai", [DAY])]), {}, PUBLISHED)
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        draw(found, file)
    first, second = (file.read_text(encoding="utf-8") for file in files)
    assert first == second
    assert "gpt-$4o$" in first
    assert "support &amp; &lt;bot&gt;" in first
