-- Triplets of an epoch and lane after a place, in the order of their requests.
SELECT
    toUnixTimestamp64Micro(request_time) AS request_unix_us,
    sample_id,
    toUnixTimestamp64Micro(arrival_time) AS arrival_unix_us,
    cluster,
    stratum,
    sovereign_millionths,
    noise_millionths
FROM homeward.triplets FINAL
WHERE experiment_id = {experiment_id:UUID} AND epoch = {epoch:UInt32} AND lane = {lane:String}
    AND (request_time, sample_id) > (fromUnixTimestamp64Micro({after_unix_us:Int64}, 'UTC'), {after_id:String})
ORDER BY request_time, sample_id
LIMIT {rows:UInt32}
