-- The latest period of a pool that is closed.
SELECT toUnixTimestamp(period_start) AS start_s, period_s
FROM homeward.pool_periods FINAL
WHERE pool = {pool:String}
ORDER BY period_start DESC
LIMIT 1
