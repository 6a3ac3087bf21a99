-- Where each leg ran, whatever it was for: not a sample, all of them.
SELECT
    workload, purpose, target, provider, upstream, region,
    count() AS legs,
    countIf(outcome IN ('rejected', 'unreachable')) AS unserved_legs,
    toString(min(start_time)) AS first_time,
    toString(max(start_time)) AS last_time
FROM homeward.legs
WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
    AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
GROUP BY workload, purpose, target, provider, upstream, region
ORDER BY workload, target, purpose, provider, upstream, region
