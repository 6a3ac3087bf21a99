-- Imported usage and costs by group, the dearest first. Rows of cost count only where their provider has no rows of
-- usage on any of their days: else tokens and bill would be the same money twice. Sums leave out what is unknown.
-- Each provider has its dearest groups; its totals, less what is given, are those that the limit cuts off.
-- What is done row by row is a sum by columns as they are; all else is done with the sums of days.
WITH
    if(end_time > start_time, end_time - INTERVAL 1 MICROSECOND, start_time) AS last_moment,
    spans AS (
        SELECT DISTINCT kind, provider, toDate(start_time) AS first_day, toDate(last_moment) AS last_day
        FROM homeward.usage
        WHERE toDate(start_time) BETWEEN {since:Date} AND {until:Date}
    ),
    used AS (
        SELECT DISTINCT provider, toDate(arrayJoin(range(toUInt32(first_day), toUInt32(last_day) + 1))) AS day
        FROM spans
        WHERE kind = 'usage'
    ),
    told_by_usage AS (
        SELECT DISTINCT provider, first_day, last_day
        FROM (
            SELECT provider, first_day, last_day, toDate(arrayJoin(range(toUInt32(first_day), toUInt32(last_day) + 1))) AS day
            FROM spans
            WHERE kind = 'cost'
        )
        WHERE (provider, day) IN (SELECT provider, day FROM used)
    ),
    -- A line of cost tells how many tokens it is for, if its unit is one. OpenAI gives none with tokens.
    -- The same as playbook/inventory/line_items.py.
    replaceAll(lower(quantity_unit), ',', '') AS unit,
    multiIf(
        unit = '', if(token_class = '', 0, 1),
        unit NOT LIKE '%token%', 0,
        match(unit, '\\b1 ?m(\\b|_|tok)|million|\\b1000000(\\b|_)'), 1000000,
        match(unit, '\\b1 ?k(\\b|_|tok)|thousand|\\b1000(\\b|_)'), 1000,
        1
    ) AS tokens_a_unit,
    toUInt64(greatest(ifNull(quantity, 0), 0) * tokens_a_unit) AS line_tokens,
    if(currency IN ('', 'USD'), billed_nanos, NULL) AS dollars,
    summed AS (
        SELECT
            kind, workload, fingerprint, provider, model, '' AS item, project, key_name,
            if(project = '' AND key_name = '', user, '') AS person, task_type, '' AS foreign_currency,
            toDate(start_time) AS day, toDate(last_moment) AS last_day,
            count() AS rows_,
            sum(requests) AS requests_,
            countIf(isNull(requests)) AS unknown_requests_,
            sum(input_tokens) AS input_,
            sum(cached_input_tokens) AS cached_,
            sum(cache_write_tokens) AS written_,
            sum(output_tokens) + sum(ifNull(reasoning_tokens, 0)) AS output_,
            sum(cost_nanos) AS cost_,
            countIf(isNull(cost_nanos)) AS unpriced_,
            sumIf(ifNull(input_tokens, 0) + ifNull(cached_input_tokens, 0) + ifNull(cache_write_tokens, 0)
                + ifNull(output_tokens, 0) + ifNull(reasoning_tokens, 0), isNull(cost_nanos)) AS unpriced_tokens_
        FROM homeward.usage FINAL
        WHERE kind = 'usage' AND toDate(start_time) BETWEEN {since:Date} AND {until:Date}
        GROUP BY kind, workload, fingerprint, provider, model, project, key_name, person, task_type, day, last_day
        UNION ALL
        SELECT
            kind, workload, fingerprint, provider, model, if(model = '', line_item, '') AS item, project, key_name,
            if(project = '' AND key_name = '', user, '') AS person, task_type,
            if(isNull(dollars), currency, '') AS foreign_currency,
            toDate(start_time) AS day, toDate(last_moment) AS last_day,
            count() AS rows_,
            CAST(NULL, 'Nullable(UInt64)') AS requests_,
            0 AS unknown_requests_,
            sumIf(line_tokens, token_class IN ('', 'input')) AS input_,
            sumIf(line_tokens, token_class = 'cached_input') AS cached_,
            sumIf(line_tokens, token_class = 'cache_write') AS written_,
            sumIf(line_tokens, token_class IN ('output', 'reasoning')) AS output_,
            sum(dollars) AS cost_,
            countIf(isNull(dollars)) AS unpriced_,
            sumIf(line_tokens, isNull(dollars)) AS unpriced_tokens_
        FROM homeward.usage FINAL
        WHERE kind = 'cost' AND toDate(start_time) BETWEEN {since:Date} AND {until:Date}
            AND (provider, toDate(start_time), toDate(last_moment)) NOT IN (SELECT provider, first_day, last_day FROM told_by_usage)
        GROUP BY kind, workload, fingerprint, provider, model, item, project, key_name, person, task_type, foreign_currency,
            day, last_day
    ),
    by_day AS (
        SELECT
            kind AS source,
            workload AS named,
            if(named != '', '', fingerprint) AS prompt,
            provider AS seller,
            if(named != '', '', if(model = '', item, model)) AS served,
            multiIf(named != '' OR prompt != '', '', project != '', 'project', key_name != '', 'key', person != '', 'user', '')
                AS who_kind,
            multiIf(who_kind = 'project', project, who_kind = 'key', key_name, who_kind = 'user', person, '') AS who,
            day,
            max(last_day > day) AS coarse_,
            groupUniqArray(8)(if(model = '', item, model)) AS models_,
            sum(requests_) AS day_requests,
            sum(unknown_requests_) AS day_unknown_requests,
            sum(ifNull(input_, 0)) AS day_input,
            sum(ifNull(cached_, 0)) AS day_cached,
            sum(ifNull(written_, 0)) AS day_written,
            sum(ifNull(output_, 0)) AS day_output,
            sum(ifNull(cost_, 0)) AS day_cost,
            sum(rows_ - unpriced_) AS day_priced,
            sum(unpriced_) AS day_unpriced,
            sum(unpriced_tokens_) AS day_unpriced_tokens,
            groupUniqArrayIf(4)(foreign_currency, foreign_currency != '') AS currencies_,
            sumMap(map(toString(task_type), toUInt64(ifNull(requests_, rows_)))) AS types_
        FROM summed
        GROUP BY source, named, prompt, seller, served, who_kind, who, day
    )
SELECT
    source,
    named AS workload,
    prompt AS fingerprint,
    seller AS provider,
    served AS model,
    who_kind,
    who,
    groupUniqArrayArray(8)(models_) AS models,
    max(coarse_) AS coarse,
    groupArray((day, day_requests, day_input + day_cached + day_written + day_output)) AS daily,
    sum(day_requests) AS requests,
    sum(day_unknown_requests) AS unknown_requests,
    sum(day_input) AS input_tokens,
    sum(day_cached) AS cached_input_tokens,
    sum(day_written) AS cache_write_tokens,
    sum(day_output) AS output_tokens,
    sum(day_cost) AS cost_nanos,
    sum(day_priced) AS priced_rows,
    sum(day_unpriced) AS unpriced_rows,
    sum(day_unpriced_tokens) AS unpriced_tokens,
    groupUniqArrayArray(4)(currencies_) AS currencies,
    sumMap(types_) AS task_types,
    count() OVER (PARTITION BY provider) AS provider_groups,
    sum(cost_nanos) OVER (PARTITION BY provider) AS provider_cost_nanos,
    sum(input_tokens + cached_input_tokens + cache_write_tokens + output_tokens) OVER (PARTITION BY provider) AS provider_tokens,
    sum(unpriced_tokens) OVER (PARTITION BY provider) AS provider_unpriced_tokens
FROM by_day
GROUP BY source, named, prompt, seller, served, who_kind, who
ORDER BY cost_nanos DESC, unpriced_tokens DESC, seller, who, served, prompt
LIMIT {groups:UInt32} BY provider
SETTINGS
    max_bytes_before_external_group_by = 200000000,
    -- A row that is imported again has the same month, so each month is read by itself.
    do_not_merge_across_partitions_select_final = 1
