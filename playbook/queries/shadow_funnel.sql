-- How far requests of compared workloads got on the last days, today (UTC) included; an empty workload means all.
SELECT
    day, workload, epoch,
    sum(funnel.eligible) AS eligible,
    sum(funnel.sampled) AS sampled,
    sum(funnel.sent) AS sent,
    sum(funnel.answered) AS answered,
    sum(funnel.scored) AS scored,
    sumMap(funnel.losses) AS losses
FROM homeward.shadow_funnel AS funnel
WHERE day > toDate(now('UTC')) - {days:UInt16} AND ({workload:String} = '' OR workload = {workload:String})
GROUP BY day, workload, epoch
ORDER BY workload, day, epoch
