-- Legs of one workload that ran where its data class does not allow it; an empty list of regions allows any.
SELECT
    count() AS legs,
    countIf(NOT has({targets:Array(String)}, toString(target))
        OR (notEmpty({regions:Array(String)}) AND NOT has({regions:Array(String)}, toString(region)))) AS outside_legs
FROM homeward.legs
WHERE workload = {workload:String}
    AND start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
    AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
