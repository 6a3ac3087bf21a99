-- The closed periods of a pool that a time touches.
SELECT toUnixTimestamp(period_start) AS start_s, start_s + period_s AS end_s
FROM homeward.pool_periods FINAL
WHERE pool = {pool:String} AND start_s < {to_s:Int64} AND end_s > {from_s:Int64}
ORDER BY start_s
