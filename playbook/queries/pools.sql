-- What each GPU pool cost in the periods of the last days that are closed, and who bore it.
SELECT
    pool,
    count() AS periods,
    min(period_start) AS first_time,
    max(period_start + period_s) AS until_time,
    sum(toInt64(period_s)) AS seconds,
    sum(busy_us) AS busy_us,
    sum(cost_nanos) AS cost,
    sum(leg_cost_nanos) AS leg_cost,
    sum(idle_nanos) AS idle,
    sum(leg_count) AS legs,
    sum(unknown_count) AS unknown_legs,
    sum(input_tokens) AS input,
    sum(output_tokens) AS output,
    -- Over the tokens of the periods: an hour with few tokens weighs little.
    sum(toInt256(input_tokens) * input_nanos_per_mtok) AS input_rate_by_tokens,
    sum(toInt256(output_tokens) * output_nanos_per_mtok) AS output_rate_by_tokens
FROM homeward.pool_periods FINAL
WHERE period_start >= toDateTime(toDate(now('UTC')) - {days:UInt16} + 1, 'UTC')
GROUP BY pool
ORDER BY pool
