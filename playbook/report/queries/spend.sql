-- What each workload cost at each target, by purpose: legs at the cost at which they were booked, and what corrections
-- have changed about it since. A cost of which nothing is known is NULL, and no sum has it.
SELECT
    workload, target, purpose,
    sum(legs_) AS legs,
    sum(ok_) AS ok_legs,
    sum(failed_) AS failed_legs,
    toInt64(sum(unknown_)) AS unknown_legs,
    sum(input_) AS all_input_tokens,
    sum(output_) AS all_output_tokens,
    if(unknown_legs >= toInt64(legs), NULL, sum(nanos_)) AS known_nanos,
    -- Were all of the unknown ones answered: never too cheap.
    if(toInt64(ok_legs) <= unknown_legs, NULL, known_nanos / (toInt64(ok_legs) - unknown_legs)) AS nanos_per_request
FROM
(
    SELECT
        workload, target, purpose,
        count() AS legs_,
        countIf(outcome = 'ok') AS ok_,
        countIf(outcome NOT IN ('ok', 'cancelled')) AS failed_,
        toInt64(countIf(isNull(cost_nanos))) AS unknown_,
        sum(ifNull(input_tokens, 0) + ifNull(cached_input_tokens, 0) + ifNull(cache_write_tokens, 0)) AS input_,
        sum(ifNull(output_tokens, 0) + ifNull(reasoning_tokens, 0)) AS output_,
        sum(ifNull(cost_nanos, 0)) AS nanos_
    FROM homeward.legs
    WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
        AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
        AND workload != '' AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
    GROUP BY workload, target, purpose
    UNION ALL
    SELECT workload, target, purpose, 0, 0, 0, -toInt64(countIf(found)), 0, 0, sum(cost_nanos)
    FROM homeward.corrections
    WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
        AND workload != '' AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
    GROUP BY workload, target, purpose
)
GROUP BY workload, target, purpose
ORDER BY workload, target, purpose
