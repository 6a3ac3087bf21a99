-- The days of a month on which the sums that analysts read differ from the rows, by who is owed.
SELECT
    day,
    owed_to,
    pool,
    sum(row_legs) AS legs,
    sum(sum_legs) AS summed_legs,
    sum(row_unknown) AS unknown,
    sum(sum_unknown) AS summed_unknown,
    sum(row_cost) AS cost,
    sum(sum_cost) AS summed_cost
FROM
(
    SELECT
        toDate(start_time, 'UTC') AS day,
        if(pool = '', provider, '') AS owed_to,
        pool,
        toInt64(count()) AS row_legs,
        toInt64(countIf(cost_nanos IS NULL)) AS row_unknown,
        sum(toInt128(ifNull(cost_nanos, 0))) AS row_cost,
        toInt64(0) AS sum_legs,
        toInt64(0) AS sum_unknown,
        toInt128(0) AS sum_cost
    FROM homeward.legs
    WHERE toYYYYMM(start_time) = {month:UInt32}
    GROUP BY day, owed_to, pool
    UNION ALL
    SELECT
        toDate(start_time, 'UTC') AS day, if(pool = '', provider, '') AS owed_to, pool,
        0, -toInt64(countIf(found)), sum(toInt128(cost_nanos)), 0, 0, 0
    FROM homeward.corrections
    WHERE toYYYYMM(start_time) = {month:UInt32}
    GROUP BY day, owed_to, pool
    UNION ALL
    SELECT
        toDate(hour, 'UTC') AS day, if(pool = '', provider, '') AS owed_to, pool,
        0, 0, 0, toInt64(sum(legs)), sum(unknown_legs), sum(toInt128(cost_nanos))
    FROM homeward.spend_by_hour
    WHERE toYYYYMM(hour) = {month:UInt32}
    GROUP BY day, owed_to, pool
)
GROUP BY day, owed_to, pool
HAVING legs != summed_legs OR unknown != summed_unknown OR cost != summed_cost
ORDER BY day, owed_to, pool
LIMIT 1000
