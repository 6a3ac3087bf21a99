-- Booked legs of production in the cloud by group, the dearest first, of the days that no import of their provider
-- covers. The same columns as inventory_usage.sql. A leg that no model answered is no request.
WITH
    if(end_time > start_time, end_time - INTERVAL 1 MICROSECOND, start_time) AS last_moment,
    covered AS (
        SELECT DISTINCT provider, toDate(arrayJoin(range(toUInt32(first_day), toUInt32(last_day) + 1))) AS day
        FROM (
            SELECT DISTINCT provider, toDate(start_time) AS first_day, toDate(last_moment) AS last_day
            FROM homeward.usage
            WHERE toDate(start_time) BETWEEN {since:Date} AND {until:Date}
        )
    ),
    summed AS (
        SELECT
            workload, provider, model, key_name, task_type, toDate(start_time) AS day,
            countIf(outcome NOT IN ('rejected', 'unreachable')) AS answered_,
            count() AS legs_,
            sum(ifNull(input_tokens, 0)) AS input_,
            sum(ifNull(cached_input_tokens, 0)) AS cached_,
            sum(ifNull(cache_write_tokens, 0)) AS written_,
            sum(ifNull(output_tokens, 0) + ifNull(reasoning_tokens, 0)) AS output_,
            sum(ifNull(cost_nanos, 0)) AS cost_,
            countIf(isNull(cost_nanos)) AS unpriced_,
            sumIf(ifNull(input_tokens, 0) + ifNull(cached_input_tokens, 0) + ifNull(cache_write_tokens, 0)
                + ifNull(output_tokens, 0) + ifNull(reasoning_tokens, 0), isNull(cost_nanos)) AS unpriced_tokens_
        FROM homeward.leg_costs
        WHERE target = 'cloud' AND purpose = 'production' AND toDate(start_time) BETWEEN {since:Date} AND {until:Date}
            AND (provider, toDate(start_time)) NOT IN (SELECT provider, day FROM covered)
        GROUP BY workload, provider, model, key_name, task_type, day
    ),
    by_day AS (
        SELECT
            workload AS named,
            provider AS seller,
            if(named != '', '', model) AS served,
            if(named != '' OR key_name = '', '', 'key') AS who_kind,
            if(who_kind = '', '', key_name) AS who,
            day,
            groupUniqArray(8)(model) AS models_,
            sum(answered_) AS day_requests,
            sum(input_) AS day_input,
            sum(cached_) AS day_cached,
            sum(written_) AS day_written,
            sum(output_) AS day_output,
            sum(cost_) AS day_cost,
            sum(legs_ - unpriced_) AS day_priced,
            sum(unpriced_) AS day_unpriced,
            sum(unpriced_tokens_) AS day_unpriced_tokens,
            sumMap(map(toString(task_type), toUInt64(legs_))) AS types_
        FROM summed
        GROUP BY named, seller, served, who_kind, who, day
    )
SELECT
    'legs' AS source,
    named AS workload,
    '' AS fingerprint,
    seller AS provider,
    served AS model,
    who_kind,
    who,
    groupUniqArrayArray(8)(models_) AS models,
    false AS coarse,
    groupArray((day, day_requests, day_input + day_cached + day_written + day_output)) AS daily,
    sum(day_requests) AS requests,
    0 AS unknown_requests,
    sum(day_input) AS input_tokens,
    sum(day_cached) AS cached_input_tokens,
    sum(day_written) AS cache_write_tokens,
    sum(day_output) AS output_tokens,
    sum(day_cost) AS cost_nanos,
    sum(day_priced) AS priced_rows,
    sum(day_unpriced) AS unpriced_rows,
    sum(day_unpriced_tokens) AS unpriced_tokens,
    CAST([], 'Array(String)') AS currencies,
    sumMap(types_) AS task_types,
    count() OVER (PARTITION BY provider) AS provider_groups,
    sum(cost_nanos) OVER (PARTITION BY provider) AS provider_cost_nanos,
    sum(input_tokens + cached_input_tokens + cache_write_tokens + output_tokens) OVER (PARTITION BY provider) AS provider_tokens,
    sum(unpriced_tokens) OVER (PARTITION BY provider) AS provider_unpriced_tokens
FROM by_day
GROUP BY named, seller, served, who_kind, who
ORDER BY cost_nanos DESC, unpriced_tokens DESC, seller, who, served
LIMIT {groups:UInt32} BY provider
SETTINGS max_bytes_before_external_group_by = 200000000
