-- Answered requests of applications by target, in steps of the period.
SELECT
    workload, target,
    toString(toStartOfInterval(start_time, toIntervalSecond({step_s:UInt32}))) AS step_time,
    count() AS requests
FROM homeward.legs
WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
    AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
    AND purpose = 'production' AND outcome = 'ok' AND workload != ''
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
GROUP BY workload, target, step_time
ORDER BY workload, target, step_time
