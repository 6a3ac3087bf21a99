"""Strata: the parts of a workload's traffic of which each must pass by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SEPARATOR = "/"
OTHER = "other"
"""The stratum of values that were not registered."""
UNKNOWN = "unknown"
"""The value of an attribute that could not be told."""


def stratum(attributes: Sequence[str], of_request: Mapping[str, str], registered: Sequence[str]) -> str:
    """The stratum of a request; empty where there are none.

    Args:
        attributes: the experiment's `strata`.
        of_request: the request's value of each.
        registered: the experiment's `stratum_values`; empty: every value is a stratum.
    """
    value = SEPARATOR.join(of_request.get(name) or UNKNOWN for name in attributes)
    return value if not attributes or not registered or value in registered else OTHER
