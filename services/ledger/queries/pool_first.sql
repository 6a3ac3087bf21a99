-- When the first leg of a pool began.
SELECT count(), toUnixTimestamp(min(start_time))
FROM homeward.legs
WHERE pool = {pool:String} AND entry_id <= {upto:UInt64}
    AND start_time >= toDateTime({since_s:UInt32}, 'UTC') AND start_time < toDateTime({until_s:UInt32}, 'UTC')
