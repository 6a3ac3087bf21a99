-- How far requests of compared workloads got, by epoch; days of the period, UTC.
SELECT
    workload, epoch,
    sum(steps.eligible) AS eligible,
    sum(steps.sampled) AS sampled,
    sum(steps.sent) AS sent,
    sum(steps.answered) AS answered,
    sum(steps.scored) AS scored,
    sumMap(steps.losses) AS losses
FROM homeward.shadow_funnel AS steps
WHERE day >= toDate({since:DateTime64(6, 'UTC')}) AND day <= toDate({until:DateTime64(6, 'UTC')})
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
GROUP BY workload, epoch
ORDER BY workload, epoch
