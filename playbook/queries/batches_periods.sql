-- The periods of pools as they were closed last.
SELECT pool, toUnixTimestamp(period_start) AS start_unix_s, entry_id, cost_nanos, leg_cost_nanos, idle_nanos
FROM homeward.pool_periods FINAL
