-- Legs whose cost nobody knows, by provider, model, pool and why. Only the hours are looked at that have some, by
-- the sums that follow every booking and every correction.
WITH
    hours AS (
        SELECT hour, provider, model, pool, sum(unknown_legs) AS unknown, sum(uncounted_legs) AS uncounted
        FROM homeward.spend_by_hour
        GROUP BY hour, provider, model, pool
        HAVING unknown > 0
    ),
    -- What nobody has counted is never found, so that the others alone must be looked up.
    findable AS (SELECT hour, provider, model, pool FROM hours WHERE unknown > uncounted)
SELECT
    provider,
    model,
    target,
    pool,
    multiIf(isNull(tokens_of_leg), 'no_tokens', pool = '', 'no_price', 'pending') AS why,
    count() AS legs,
    sum(toInt128(ifNull(tokens_of_leg, 0))) AS tokens,
    toDate(min(start_time)) AS first_day,
    toDate(max(start_time)) AS last_day,
    toUnixTimestamp(max(start_time)) AS last_start_s,
    groupUniqArray(10)(upstream) AS upstreams
FROM
(
    SELECT
        leg_id, start_time, provider, model, target, pool, upstream,
        input_tokens + cached_input_tokens + cache_write_tokens + output_tokens + reasoning_tokens AS tokens_of_leg
    FROM homeward.legs
    WHERE isNull(cost_nanos)
        AND (toStartOfHour(start_time), provider, model, pool) IN (SELECT hour, provider, model, pool FROM hours)
) AS unknown_when_booked
WHERE isNull(tokens_of_leg)
    OR (
        (toStartOfHour(start_time), provider, model, pool) IN (findable)
        AND leg_id NOT IN (
            SELECT leg_id
            FROM homeward.corrections
            WHERE found AND (toStartOfHour(start_time), provider, model, pool) IN (findable)
        )
    )
GROUP BY provider, model, target, pool, why
ORDER BY legs DESC, provider, model, why
