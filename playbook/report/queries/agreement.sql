-- How often the model at home agrees with the cloud, and the cloud with itself, of triplets of the comparison.
SELECT
    workload, epoch,
    count() AS triplets,
    countIf(isNull(agreement_sovereign)) AS failed,
    toFloat64(avg(agreement_sovereign)) AS mean_sovereign,
    toFloat64(avg(agreement_noise)) AS mean_noise,
    toFloat64(avg(difference)) AS mean_difference,
    countIf(difference != 0) / triplets AS discordance,
    uniqExact(language) AS languages
FROM homeward.triplet_scores
WHERE lane = '' AND request_time >= {since:DateTime64(6, 'UTC')} AND request_time < {until:DateTime64(6, 'UTC')}
    AND (empty({workloads:Array(String)}) OR workload IN {workloads:Array(String)})
GROUP BY workload, epoch
ORDER BY workload, epoch
