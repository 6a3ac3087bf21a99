-- What GPU pools cost in their last 30 days with traffic up to a day, and the tokens that bore it.
WITH (SELECT max(period_start) FROM homeward.pool_periods WHERE toDate(period_start) <= {until:Date}) AS newest
SELECT
    pool,
    sum(cost_nanos) AS cost,
    sum(leg_cost_nanos) AS leg_cost,
    sum(input_tokens) AS input,
    sum(output_tokens) AS output,
    avgIf(output_nanos_per_mtok / input_nanos_per_mtok, input_nanos_per_mtok > 0) AS output_weight,
    min(period_start) AS first_time,
    max(period_start) AS last_time
FROM homeward.pool_periods FINAL
WHERE period_start > newest - INTERVAL 30 DAY AND toDate(period_start) <= {until:Date}
GROUP BY pool
HAVING leg_cost > 0 AND input + output > 0
ORDER BY pool
