-- What each pool cost in its periods, and how busy it was: those that were surely closed by the end of the time.
SELECT
    pool,
    sum(toInt64(period_s)) AS seconds,
    sum(busy_us) / 1000000 / seconds AS utilisation,
    sum(cost_nanos) AS cost,
    sum(leg_cost_nanos) AS leg_cost,
    sum(idle_nanos) AS idle,
    sum(leg_count) AS legs,
    sum(input_tokens) AS input,
    sum(output_tokens) AS output
FROM homeward.pool_periods FINAL
WHERE period_start >= {since:DateTime64(6, 'UTC')}
    AND period_start + toIntervalSecond(period_s + {grace_s:UInt32}) <= {until:DateTime64(6, 'UTC')}
GROUP BY pool
ORDER BY pool
