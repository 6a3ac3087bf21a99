"""What awaits an experiment that is not yet registered: volume, discordance, and a forecast."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from homeward.shadow.v1 import shadow_pb2

from deploy.local.config import Local
from playbook.clickhouse_client import UNREACHABLE, connect, read_store
from playbook.forecast import SHARES, Forecast, forecast, guess
from playbook.standing import length, window_s
from services.common.sampling import PPM
from services.common.settings import ClickHouse, Section, load

QUERY = Path(__file__).parent / "queries" / "volume.sql"
DAY_S = 86_400
VOLUME_DAYS = 7
LEAST_SPAN_S = 3_600
"""Shortest time over which a volume is averaged: the book counts by the hour."""
LEAST_DISCORDANCE = 0.001
"""What is taken if none was measured: not one is no proof that there is none."""


class _Config(Section):
    """What must be known of the settings."""

    clickhouse: ClickHouse = ClickHouse()
    local: Local = Local()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What awaits an experiment."""

    requests_per_day: float | None
    """Answered in production; None is unknown."""
    discordance: float
    """The mean square of votes."""
    measured: bool
    """False: the discordance is a guess."""
    forecast: Forecast | None
    why_unknown: str = ""
    """Why there is no forecast."""


def outlook(wanted: shadow_pb2.Experiment, discordance: float | None, settings: Path) -> Outlook:
    """Looks up the volume, and draws experiments.

    Args:
        wanted: with workload, scorer, margin, alpha, epoch, window, min_windows and rate_ppm.
        discordance: as measured; None if it was not.
        settings: say where ClickHouse is.

    Raises:
        SettingsError: they are wrong.
    """
    measured = discordance is not None
    share = guess(wanted.scorer) if discordance is None else max(discordance, LEAST_DISCORDANCE)
    config = load(_Config, *_Config.model_fields, path=settings, environment=os.environ)
    per_day, why = _volume(wanted.workload, config)
    if per_day is None:
        return Outlook(None, share, measured, None, why)
    votes = round(per_day * window_s(wanted) / DAY_S * wanted.rate_ppm / PPM)
    if not votes:
        return Outlook(per_day, share, measured, None, "that is less than one sample a window")
    found = forecast(
        votes,
        share,
        margin=wanted.margin,
        alpha=wanted.alpha,
        epoch=wanted.epoch,
        min_windows=wanted.min_windows,
        window_s=window_s(wanted),
    )
    return Outlook(per_day, share, measured, found)


def _volume(workload: str, config: _Config) -> tuple[float | None, str]:
    """Answered requests a day, of the last days or of as many as there are; or why that is unknown."""
    store = read_store(config.clickhouse, config.local.state_dir)
    try:
        with closing(connect(store)) as client:
            found = client.query(QUERY.read_text(encoding="utf-8"), parameters={"workload": workload})
            (row,) = found.named_results()
    except UNREACHABLE:
        return None, f"ClickHouse at {store.url} does not tell its volume"
    if not row["requests"]:
        return None, f"the book has no request of it in the last {VOLUME_DAYS} days"
    since = (datetime.now(UTC) - row["first_hour"].replace(tzinfo=UTC)).total_seconds()
    return row["requests"] * DAY_S / min(VOLUME_DAYS * DAY_S, max(LEAST_SPAN_S, since)), ""


def document(item: Outlook, experiment: shadow_pb2.Experiment) -> Mapping[str, Any]:
    """As JSON: null is unknown, or more than a year."""
    found = item.forecast
    spans = {name: found.seconds(name, window_s(experiment)) if found else None for name in SHARES}
    return {
        "requests_per_day": item.requests_per_day,
        "discordance": item.discordance,
        "discordance_measured": item.measured,
        "votes_per_window": found.votes_per_window if found else None,
        "windows": dict(found.windows) if found else None,
        "days": {name: None if span is None else span / DAY_S for name, span in spans.items()},
        "why_unknown": item.why_unknown or None,
    }


def words(item: Outlook, experiment: shadow_pb2.Experiment) -> str:
    """For people."""
    if item.forecast is None:
        return f"Forecast: unknown; {item.why_unknown}."
    found = item.forecast

    def span(name: str) -> str:
        value, count = found.seconds(name, window_s(experiment)), found.windows[name]
        if value is None:
            return "longer than forecasts reach"
        return f"{length(value)} ({count} window{'' if count == 1 else 's'})"

    source = "measured so far" if item.measured else "a guess, since nothing is measured yet"
    more = "; each stratum needs as many for itself" if experiment.strata else ""
    return (
        f"Forecast, if the sovereign model is as good: {span('median')}; {span('p80')} in four of five cases,"
        f" {span('p95')} in nineteen of twenty. That is with {found.votes_per_window:,} samples a window,"
        f" whose D has a mean square of {item.discordance:.2g} ({source}){more}."
    )
