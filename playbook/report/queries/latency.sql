-- How long answers took at each target, in microseconds, within 1 % of the exact percentile. `sampled`: requests that
-- were compared, so that both targets had the same ones; `production`: what applications waited for. The time to the
-- first token is that of streamed answers.
SELECT
    kind, workload, target,
    count() AS legs,
    countIf(isNotNull(ttft)) AS streamed_legs,
    quantilesDD(0.01, 0.5, 0.95, 0.99)(took)[1] AS p50_us,
    quantilesDD(0.01, 0.5, 0.95, 0.99)(took)[2] AS p95_us,
    quantilesDD(0.01, 0.5, 0.95, 0.99)(took)[3] AS p99_us,
    if(streamed_legs = 0, NULL, quantilesDDIf(0.01, 0.5, 0.95)(ifNull(ttft, 0), isNotNull(ttft))[1]) AS ttft_p50_us,
    if(streamed_legs = 0, NULL, quantilesDDIf(0.01, 0.5, 0.95)(ifNull(ttft, 0), isNotNull(ttft))[2]) AS ttft_p95_us
FROM
(
    SELECT
        arrayJoin(arrayFilter(one -> one != '', [
            if(purpose = 'production', 'production', ''),
            if(sample_id != '' AND purpose IN ('production', 'shadow', 'noise'), 'sampled', '')
        ])) AS kind,
        workload, target, latency_us AS took, if(streamed, ttft_us, NULL) AS ttft
    FROM homeward.legs
    WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
        AND outcome = 'ok' AND workload != ''
        AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
)
GROUP BY kind, workload, target
ORDER BY kind, workload, target
