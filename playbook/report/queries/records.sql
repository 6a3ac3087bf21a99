-- Which key had which model answer, under which policy: the groups of most calls. Those that the limit leaves out are
-- all groups and legs, less what is given.
SELECT
    workload, key_name, target, provider, model, policy_version,
    count() AS legs,
    countIf(trace_id != '') AS traced_legs,
    toString(min(start_time)) AS first_time,
    toString(max(start_time)) AS last_time,
    count() OVER () AS all_groups,
    sum(legs) OVER () AS all_legs
FROM homeward.legs
WHERE start_time >= {since:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
    AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
GROUP BY workload, key_name, target, provider, model, policy_version
ORDER BY legs DESC, workload, key_name, target, provider, model, policy_version
LIMIT 40
