-- The corrections of a range of entries as lines of the book.
SELECT
    entry_id,
    batch,
    workload,
    target,
    purpose,
    if(pool = '', provider, '') AS owed_to,
    pool,
    count() AS leg_count,
    -toInt64(countIf(found)) AS unknown_count,
    sum(toInt128(input_cost_nanos)) AS part_0,
    sum(toInt128(cached_input_cost_nanos)) AS part_1,
    sum(toInt128(cache_write_cost_nanos)) AS part_2,
    sum(toInt128(output_cost_nanos)) AS part_3,
    sum(toInt128(reasoning_cost_nanos)) AS part_4,
    sum(toInt128(request_cost_nanos)) AS part_5,
    sum(toInt128(corrections.cost_nanos)) AS cost,
    countIf(input_cost_nanos + cached_input_cost_nanos + cache_write_cost_nanos + output_cost_nanos
        + reasoning_cost_nanos + request_cost_nanos != corrections.cost_nanos) AS unsplit_count
FROM homeward.corrections
WHERE entry_id > {after:UInt64} AND entry_id <= {upto:UInt64}
GROUP BY entry_id, batch, workload, target, purpose, owed_to, pool
ORDER BY entry_id, batch, workload, target, purpose, owed_to, pool
