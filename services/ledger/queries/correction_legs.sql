-- A page of legs as they were booked, in the order of the table's key.
SELECT
    leg_id,
    toUnixTimestamp64Micro(start_time) AS start_us,
    workload, key_name, purpose, target, upstream, provider, region, pool, model,
    price_source != 'not_billed' AS billed,
    isNotNull(cost_nanos) AS cost_known,
    toInt64(ifNull(input_tokens, 0)) AS input_tokens_0,
    toInt64(ifNull(cached_input_tokens, 0)) AS cached_input_tokens_0,
    toInt64(ifNull(cache_write_tokens, 0)) AS cache_write_tokens_0,
    toInt64(ifNull(output_tokens, 0)) AS output_tokens_0,
    toInt64(ifNull(reasoning_tokens, 0)) AS reasoning_tokens_0,
    isNotNull(input_tokens) AS input_tokens_known,
    isNotNull(cached_input_tokens) AS cached_input_tokens_known,
    isNotNull(cache_write_tokens) AS cache_write_tokens_known,
    isNotNull(output_tokens) AS output_tokens_known,
    isNotNull(reasoning_tokens) AS reasoning_tokens_known,
    ifNull(input_cost_nanos, 0) AS input_cost_nanos_0,
    ifNull(cached_input_cost_nanos, 0) AS cached_input_cost_nanos_0,
    ifNull(cache_write_cost_nanos, 0) AS cache_write_cost_nanos_0,
    ifNull(output_cost_nanos, 0) AS output_cost_nanos_0,
    ifNull(reasoning_cost_nanos, 0) AS reasoning_cost_nanos_0,
    ifNull(request_cost_nanos, 0) AS request_cost_nanos_0
FROM homeward.legs
WHERE pool = {pool:String}
    AND start_time >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND start_time < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
    AND entry_id <= {upto:UInt64}
    AND ({provider:String} = '' OR provider = {provider:String})
    AND ({model:String} = '' OR model = {model:String})
    AND (NOT {unknown_only:Bool} OR isNull(cost_nanos))
    -- Legs of before there was a book have a cost and no parts of it: their difference can't be told.
    AND (isNull(cost_nanos) OR isNotNull(input_cost_nanos))
    -- The index does not see into a comparison of tuples, so the first lines of these two are for it.
    AND (NOT {has_after:Bool} OR (
        workload >= {after_workload:String}
        AND (workload > {after_workload:String}
            OR start_time >= fromUnixTimestamp64Micro({after_us:Int64}, 'UTC'))
        AND (workload, start_time, leg_id)
            > ({after_workload:String}, fromUnixTimestamp64Micro({after_us:Int64}, 'UTC'), {after_id:UUID})))
    AND (NOT {has_through:Bool} OR (
        workload <= {through_workload:String}
        AND (workload < {through_workload:String}
            OR start_time <= fromUnixTimestamp64Micro({through_us:Int64}, 'UTC'))
        AND (workload, start_time, leg_id)
            <= ({through_workload:String}, fromUnixTimestamp64Micro({through_us:Int64}, 'UTC'), {through_id:UUID})))
ORDER BY workload, start_time, leg_id
LIMIT {limit:UInt32}
