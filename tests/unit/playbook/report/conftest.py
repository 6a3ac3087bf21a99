"""What was gathered of a run like `make run`'s tour, and the document of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from playbook.finance.risk import draws
from playbook.report import risk
from playbook.report.build import CASES, build, carried
from playbook.report.document import Document
from playbook.report.gathered import Gathered, loaded
from playbook.report.mappings import Law, read_laws
from playbook.report.pictures import style

_DRAWN: dict[str, Any] = {}
EXAMPLE = Path(__file__).with_name("example.json")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes a second each time and is looked at elsewhere: SVG, and draws of the same case."""

    def drawn(case: Any) -> Any:
        key = repr(sorted(case.items()))
        if key not in _DRAWN:
            _DRAWN[key] = draws(case)
        return _DRAWN[key]

    def blank(_canvas: Any) -> bytes:
        return b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"

    monkeypatch.setattr(style, "svg", blank)
    monkeypatch.setattr(risk, "draws", drawn)


@pytest.fixture
def example() -> Gathered:
    """Anew for each test, which may change it."""
    return loaded(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def laws() -> list[Law]:
    return read_laws()


@pytest.fixture(scope="session")
def whole(laws: list[Law]) -> tuple[Document, dict[str, Any]]:
    """The document of the example, and the facts that it carries; nobody may change them."""
    found = loaded(EXAMPLE.read_text(encoding="utf-8"))
    document = build(found, laws)
    return document, carried(document, found, CASES)
