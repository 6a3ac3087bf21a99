"""What several test files of the router need."""

from collections.abc import Callable
from typing import Any

import pytest

from services.common.errors import DomainError, Reason
from services.common.words import Target
from services.router.core import catalog

JUNK: list[Any] = [None, True, 0, -7, 1.5, "", "x", [], [None], {}, {"a": 1}]


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(deeper for key, item in pairs for deeper in _places(item, (*place, key)))]


def _replaced(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    copy = value.copy()
    copy[place[0]] = _replaced(value[place[0]], place[1:], junk)
    return copy


@pytest.fixture(scope="session")
def harm() -> Callable[..., list[tuple[Any, Exception]]]:
    """Puts another type of thing in each place of a JSON document in turn, and has it read.

    Returns the documents that raised something else than a DomainError with the expected reason, and what
    they raised.
    """

    def found(document: Any, read: Callable[[Any], object], reason: Reason) -> list[tuple[Any, Exception]]:
        harmful: list[tuple[Any, Exception]] = []
        for place in _places(document)[1:]:
            for junk in JUNK:
                variant = _replaced(document, place, junk)
                try:
                    read(variant)
                except Exception as error:
                    if not isinstance(error, DomainError) or error.reason is not reason:
                        harmful.append((variant, error))
        return harmful

    return found


@pytest.fixture(scope="session")
def upstream() -> Callable[..., catalog.Upstream]:
    """Makes an upstream; what is not said is ordinary."""

    def make(name: str = "openai", **fields: Any) -> catalog.Upstream:
        ordinary: dict[str, Any] = {
            "target": Target.CLOUD,
            "protocol": catalog.OPENAI,
            "base_url": "https://api.openai.com/v1",
            "provider": "openai",
            "region": "",
            "models": (),
            "apis": frozenset({catalog.CHAT}),
            "stream_usage": True,
        }
        return catalog.Upstream(name, **{**ordinary, **fields})

    return make
