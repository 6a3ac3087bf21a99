-- The months that have legs; how many legs are in no entry because they are older than the journal.
SELECT toYYYYMM(start_time) AS month, count() AS leg_count, countIf(entry_id = 0) AS before_count
FROM homeward.legs
GROUP BY month
ORDER BY month
