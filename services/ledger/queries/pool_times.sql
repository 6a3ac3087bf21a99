-- When a pool's legs were under way in a period.
SELECT toUnixTimestamp64Micro(start_time) AS start_us, toInt64(latency_us) AS latency
FROM homeward.legs
WHERE pool = {pool:String}
    AND start_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
    AND start_time < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
    AND start_us + latency > {start_us:Int64}
    AND price_source != 'not_billed'
    AND entry_id <= {upto:UInt64}
ORDER BY start_time
