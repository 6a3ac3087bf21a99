-- All legs that began and ended in the period, and the first and last of them; an empty list of workloads means all. A
-- leg that is still open at the end is in no document that ends there, however late it is asked.
SELECT
    count() AS legs,
    countIf(purpose = 'production' AND outcome = 'ok') AS requests,
    countIf(purpose = 'production' AND outcome = 'ok' AND target = 'sovereign') AS home_requests,
    countIf(purpose != 'production') AS experiment_legs,
    if(legs = 0, NULL, toString(min(start_time))) AS first_time,
    if(legs = 0, NULL, toString(max(start_time))) AS last_time,
    if(legs = 0, NULL, dateDiff('second', min(start_time), max(start_time))) AS span_s
FROM homeward.legs
WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
    AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
