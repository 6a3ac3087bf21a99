-- How long answers took at each target, in microseconds, within 1 % of the exact percentile. `sampled`: requests that
-- were compared and answered at both targets, by all of their calls; `production`: what applications waited for. The time
-- to the first token is that of streamed answers. A percentile of fewer calls than it needs is unknown.
WITH
    compared AS
    (
        SELECT DISTINCT sample_id
        FROM homeward.legs
        WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')} AND sample_id != ''
            AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
    ),
    answered AS
    (
        SELECT
            purpose, workload, target, latency_us AS took, if(streamed, ttft_us, NULL) AS ttft,
            -- A compared request of an application has the same id as its sample, with hyphens.
            if(purpose = 'production', replaceAll(toString(request_id), '-', ''), sample_id) AS sample,
            sample IN (SELECT sample_id FROM compared) AS is_compared
        FROM homeward.legs
        WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
            AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
            AND outcome = 'ok' AND workload != '' AND purpose IN ('production', 'shadow', 'noise')
            AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
    ),
    side_by_side AS
    (
        SELECT sample FROM answered WHERE is_compared GROUP BY sample HAVING uniqExact(target) = 2
    )
SELECT
    kind, workload, target,
    count() AS legs,
    if(kind = 'production', legs, uniqExactIf(sample, kind = 'sampled')) AS requests,
    countIf(isNotNull(ttft)) AS streamed_legs,
    quantilesDD(0.01, 0.5, 0.95, 0.99)(took) AS percentiles,
    quantilesDDIf(0.01, 0.5, 0.95)(ifNull(ttft, 0), isNotNull(ttft)) AS ttft_percentiles,
    percentiles[1] AS p50_us,
    if(legs < 20, NULL, percentiles[2]) AS p95_us,
    if(legs < 100, NULL, percentiles[3]) AS p99_us,
    if(streamed_legs = 0, NULL, ttft_percentiles[1]) AS ttft_p50_us,
    if(streamed_legs < 20, NULL, ttft_percentiles[2]) AS ttft_p95_us
FROM
(
    SELECT
        workload, target, took, ttft, sample,
        arrayJoin(arrayFilter(one -> one != '', [
            if(purpose = 'production', 'production', ''),
            if(is_compared AND sample IN (SELECT sample FROM side_by_side), 'sampled', '')
        ])) AS kind
    FROM answered
)
GROUP BY kind, workload, target
ORDER BY kind, workload, target
