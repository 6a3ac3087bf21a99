-- How often the model at home agrees with the cloud, and the cloud with itself, of triplets of the comparison that were
-- done by the end of the period, as the funnel has them: answered, or late when their window closed, watermark included.
WITH waits AS
(
    SELECT experiment_id, epoch, max(window_us + watermark_us) AS wait_us
    FROM homeward.verdict_windows FINAL
    GROUP BY experiment_id, epoch
)
SELECT
    told.workload AS workload, told.epoch AS epoch,
    count() AS triplets,
    countIf(isNull(agreement_sovereign)) AS failed,
    toFloat64(avg(agreement_sovereign)) AS mean_sovereign,
    toFloat64(avg(agreement_noise)) AS mean_noise,
    toFloat64(avg(difference)) AS mean_difference,
    countIf(difference != 0) / triplets AS discordance,
    uniqExact(language) AS languages
FROM homeward.triplet_scores AS told
LEFT JOIN waits ON told.experiment_id = waits.experiment_id AND told.epoch = waits.epoch
WHERE lane = '' AND request_time >= {since:DateTime64(6, 'UTC')} AND request_time < toStartOfMinute({until:DateTime64(6, 'UTC')})
    AND ifNull(arrival_time, request_time + toIntervalMicrosecond(wait_us)) < {until:DateTime64(6, 'UTC')}
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
GROUP BY workload, epoch
ORDER BY workload, epoch
