-- How well the last days' requests fit the examples of their workload's latest version: those of an older
-- version say nothing of the examples that it has now.
WITH recent AS (
    SELECT *
    FROM homeward.observations
    WHERE workload != '' AND observe_time >= toDateTime(toDate(now('UTC')) - {days:UInt16} + 1, 'UTC')
)
SELECT
    workload,
    count(likeness) AS observations,
    countIf(likeness < 0.05) AS below,
    if(observations = 0, NULL, quantileExactInclusive(0.5)(likeness)) AS median_likeness,
    max(example_count) AS example_count
FROM recent
WHERE (workload, workload_version) IN (SELECT workload, max(workload_version) FROM recent GROUP BY workload)
GROUP BY workload
