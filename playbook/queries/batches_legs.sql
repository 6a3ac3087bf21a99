-- The legs of a range of entries as lines of the book, at the cost at which they were booked first.
SELECT
    entry_id,
    batch,
    workload,
    target,
    purpose,
    if(pool = '', provider, '') AS owed_to,
    pool,
    count() AS leg_count,
    countIf(cost_nanos IS NULL) AS unknown_count,
    -- 128 bits: a sum must not wrap around and come out right.
    sum(toInt128(ifNull(input_cost_nanos, 0))) AS part_0,
    sum(toInt128(ifNull(cached_input_cost_nanos, 0))) AS part_1,
    sum(toInt128(ifNull(cache_write_cost_nanos, 0))) AS part_2,
    sum(toInt128(ifNull(output_cost_nanos, 0))) AS part_3,
    sum(toInt128(ifNull(reasoning_cost_nanos, 0))) AS part_4,
    sum(toInt128(ifNull(request_cost_nanos, 0))) AS part_5,
    sum(toInt128(ifNull(cost_nanos, 0))) AS cost,
    -- Of an unknown cost all parts are unknown; of a known one the parts give it.
    countIf(
        if(cost_nanos IS NULL,
            coalesce(input_cost_nanos, cached_input_cost_nanos, cache_write_cost_nanos, output_cost_nanos,
                reasoning_cost_nanos, request_cost_nanos) IS NOT NULL,
            ifNull(input_cost_nanos + cached_input_cost_nanos + cache_write_cost_nanos + output_cost_nanos
                + reasoning_cost_nanos + request_cost_nanos != cost_nanos, true))
    ) AS unsplit_count
FROM homeward.legs
WHERE entry_id > {after:UInt64} AND entry_id <= {upto:UInt64}
GROUP BY entry_id, batch, workload, target, purpose, owed_to, pool
ORDER BY entry_id, batch, workload, target, purpose, owed_to, pool
