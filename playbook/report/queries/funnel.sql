-- How far requests of compared workloads got, by epoch: those that came in a whole minute of the period, and answers that
-- had come by its end. A late one is known when its window closes, its watermark included.
WITH waits AS
(
    SELECT experiment_id, epoch, max(window_us + watermark_us) AS wait_us
    FROM homeward.verdict_windows FINAL
    GROUP BY experiment_id, epoch
)
SELECT
    workload, epoch,
    sum(eligible_) AS eligible,
    sum(sampled_) AS sampled,
    sum(sent_) AS sent,
    sum(answered_) AS answered,
    sum(scored_) AS scored,
    sumMap(losses_) AS losses
FROM
(
    SELECT
        workload, epoch,
        sumIf(counts.count, step = 'eligible') AS eligible_,
        sumIf(counts.count, step = 'sampled') AS sampled_,
        sumIf(counts.count, step = 'sent') AS sent_,
        toUInt64(0) AS answered_,
        toUInt64(0) AS scored_,
        sumMapIf(
            map(concat(step, '/', reason), counts.count),
            step NOT IN ('eligible', 'sampled', 'sent', 'answered', 'scored', 'late', 'failed')
        ) AS losses_
    FROM homeward.sample_counts AS counts FINAL
    WHERE minute >= {since:DateTime64(6, 'UTC')} AND minute < toStartOfMinute({until:DateTime64(6, 'UTC')})
    GROUP BY workload, epoch
    UNION ALL
    SELECT
        workload, epoch, 0, 0, 0,
        countIf(isNotNull(arrival_time)),
        countIf(isNotNull(arrival_time) AND isNotNull(sovereign_millionths) AND isNotNull(noise_millionths)),
        sumMapIf(
            map(concat(if(isNull(arrival_time), 'late', 'failed'), '/', reason), toUInt64(1)),
            isNull(arrival_time) OR isNull(sovereign_millionths) OR isNull(noise_millionths)
        )
    FROM homeward.triplets AS told FINAL
    LEFT JOIN waits ON told.experiment_id = waits.experiment_id AND told.epoch = waits.epoch
    WHERE lane IN ('', 'after')
        AND request_time >= {since:DateTime64(6, 'UTC')} AND request_time < toStartOfMinute({until:DateTime64(6, 'UTC')})
        AND ifNull(arrival_time, request_time + toIntervalMicrosecond(wait_us)) < {until:DateTime64(6, 'UTC')}
    GROUP BY workload, epoch
)
WHERE empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)}
GROUP BY workload, epoch
ORDER BY workload, epoch
