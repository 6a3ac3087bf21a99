-- What named the requests of the last days, by workload; the workload '' is what was not named.
SELECT
    workload,
    count() AS requests,
    countIf(evidence = 'declared') AS declared,
    countIf(evidence = 'fingerprint') AS fingerprint,
    countIf(evidence = 'examples') AS examples,
    countIf(evidence = 'task_type') AS by_task_type,
    countIf(evidence = 'abstained') AS abstained,
    -- The commonest.
    topK(1)(task_type)[1] AS task_type
FROM homeward.first_legs
WHERE day > toDate(now('UTC')) - {days:UInt16}
GROUP BY workload
ORDER BY requests DESC, workload
