"""What the doctor makes of a server's tables."""

from __future__ import annotations

import pytest

from playbook.doctor.read_clickhouse import windows_of


@pytest.mark.parametrize(
    ("rows", "windows"),
    [
        ([["legs", "MergeTree", "10000"]], {"legs": 10_000}),
        ([["legs", "MergeTree", ""]], {"legs": 0}),
        ([["legs", "ReplicatedMergeTree", ""]], {"legs": 1_000}),
        ([["legs", "SharedMergeTree", "500"]], {"legs": 500}),
        # On a cluster legs is only a view of the shards.
        ([["legs", "Distributed", ""], ["legs_local", "ReplicatedMergeTree", "10000"]], {"legs": 10_000}),
        ([["legs", "Distributed", ""], ["legs_local", "MergeTree", ""]], {"legs": 0}),
        ([["legs", "Distributed", ""]], {}),
        ([["leg_costs", "View", ""]], {}),
    ],
)
def test_a_tables_window_is_that_of_where_its_rows_lie(
    rows: list[list[str]], windows: dict[str, int]
) -> None:
    assert windows_of(rows) == windows
