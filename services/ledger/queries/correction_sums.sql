-- What corrections have changed so far about the legs of a page, from its first to its last.
SELECT
    leg_id,
    sum(input_cost_nanos) AS input_cost_nanos_sum,
    sum(cached_input_cost_nanos) AS cached_input_cost_nanos_sum,
    sum(cache_write_cost_nanos) AS cache_write_cost_nanos_sum,
    sum(output_cost_nanos) AS output_cost_nanos_sum,
    sum(reasoning_cost_nanos) AS reasoning_cost_nanos_sum,
    sum(request_cost_nanos) AS request_cost_nanos_sum
FROM homeward.corrections
WHERE entry_id <= {upto:UInt64}
    AND workload >= {first_workload:String}
    AND workload <= {last_workload:String}
    AND (workload > {first_workload:String}
        OR start_time >= fromUnixTimestamp64Micro({first_us:Int64}, 'UTC'))
    AND (workload < {last_workload:String}
        OR start_time <= fromUnixTimestamp64Micro({last_us:Int64}, 'UTC'))
    AND start_time >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND start_time < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
GROUP BY leg_id
