-- How far each workload's latest full day with enough requests is from its first ones.
SELECT workload, day, psi
FROM homeward.population_shift_by_day
WHERE requests >= 100
    AND day > toDate(now('UTC')) - {days:UInt16}
    AND day < toDate(now('UTC'))
ORDER BY day DESC
LIMIT 1 BY workload
