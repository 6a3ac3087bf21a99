-- Legs that were booked lately and began long ago, by the period in which they began.
SELECT
    intDiv(toUnixTimestamp64Micro(start_time), {period_us:Int64}) AS place,
    toUnixTimestamp(min(start_time)) AS first_s,
    intDiv(max(toUnixTimestamp64Micro(start_time) + least(toInt64(latency_us), {longest_us:Int64})), 1000000)
        AS last_s
FROM homeward.legs
WHERE pool = {pool:String} AND entry_id > {after:UInt64} AND entry_id <= {upto:UInt64}
    AND start_time < toDateTime({before_s:UInt32}, 'UTC')
GROUP BY place
ORDER BY place
