-- What the book has of cloud legs by day and model, at their present cost: a leg's own parts and those of its
-- corrections. Legs that were booked before costs had parts have only a sum.
SELECT
    provider,
    toDate(start_time) AS day,
    model,
    purpose = 'production' AS production,
    isNull(cost_nanos) AND NOT ifNull(changed.was_found, false) AS unpriced,
    count() AS legs,
    countIf(outcome NOT IN ('rejected', 'unreachable')) AS billable,
    sum(ifNull(input_tokens, 0)) AS input,
    sum(ifNull(cached_input_tokens, 0)) AS cached_input,
    sum(ifNull(cache_write_tokens, 0)) AS cache_write,
    sum(ifNull(output_tokens, 0) + ifNull(reasoning_tokens, 0)) AS output,
    countIf(isNull(input_tokens) OR isNull(output_tokens)) AS uncounted,
    sum(ifNull(cost_nanos, 0) + ifNull(changed.sum_nanos, 0)) AS nanos,
    sum(ifNull(input_cost_nanos, 0) + ifNull(changed.input_nanos, 0)) AS input_nanos,
    sum(ifNull(cached_input_cost_nanos, 0) + ifNull(changed.cached_input_nanos, 0)) AS cached_input_nanos,
    sum(ifNull(cache_write_cost_nanos, 0) + ifNull(changed.cache_write_nanos, 0)) AS cache_write_nanos,
    sum(ifNull(output_cost_nanos, 0) + ifNull(reasoning_cost_nanos, 0) + ifNull(changed.output_nanos, 0)) AS output_nanos,
    sum(ifNull(request_cost_nanos, 0) + ifNull(changed.request_nanos, 0)) AS request_nanos
FROM homeward.legs AS legs
LEFT JOIN
(
    SELECT
        leg_id AS corrected_id,
        max(found) AS was_found,
        sum(corrections.cost_nanos) AS sum_nanos,
        sum(corrections.input_cost_nanos) AS input_nanos,
        sum(corrections.cached_input_cost_nanos) AS cached_input_nanos,
        sum(corrections.cache_write_cost_nanos) AS cache_write_nanos,
        sum(corrections.output_cost_nanos + corrections.reasoning_cost_nanos) AS output_nanos,
        sum(corrections.request_cost_nanos) AS request_nanos
    FROM homeward.corrections AS corrections
    WHERE target = 'cloud' AND provider IN {providers:Array(String)}
        AND toDate(start_time) BETWEEN {first:Date} AND {last:Date}
    GROUP BY leg_id
) AS changed ON legs.leg_id = changed.corrected_id
WHERE target = 'cloud' AND provider IN {providers:Array(String)}
    AND toDate(start_time) BETWEEN {first:Date} AND {last:Date}
GROUP BY provider, day, model, production, unpriced
ORDER BY provider, day, model, production, unpriced
