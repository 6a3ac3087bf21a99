"""What the shell offers for an argument: names of the settings, and those that the classifier knows in time.

Never an error: a shell would print it into the line that is being typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from services.common.settings import DEFAULT_FILE


def workloads(ctx: Any, incomplete: str) -> list[str]:
    """Registered workloads; several may be given, and none is offered twice."""
    # gRPC is loaded only to complete a workload.
    from playbook import known

    given = ctx.params.get("workloads") or ()
    return _offered(
        lambda: (name for name in known.workloads(_settings(ctx)) if name not in given), incomplete
    )


def data_classes(ctx: Any, incomplete: str) -> list[str]:
    """Data classes of the settings."""
    from playbook import known

    return _offered(lambda: known.data_classes(_settings(ctx)), incomplete)


def scorers(incomplete: str) -> list[str]:
    """What tells how far answers agree."""
    from services.shadow.core.scorers.registry import SCORER_NAMES

    return _offered(lambda: SCORER_NAMES, incomplete)


def scenarios(incomplete: str) -> list[str]:
    """What `homeward shadow replay --simulate` draws."""
    from services.shadow.core.simulate import SCENARIOS

    return _offered(lambda: SCENARIOS, incomplete)


def attributes(incomplete: str) -> list[str]:
    """What strata may be made of."""
    from services.shadow.core.experiment import ATTRIBUTES

    return _offered(lambda: ATTRIBUTES, incomplete)


def _settings(ctx: Any) -> Path:
    return Path(ctx.params.get("settings") or DEFAULT_FILE)


def _offered(names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except Exception:
        return []
