-- A leg of a month that is there more than once, or that an entry corrects more than once. Grouped in the order of
-- the tables, so that memory stays flat.
SELECT false AS correction, workload, start_time, leg_id, count() AS times, min(entry_id) AS first_entry_id,
    max(entry_id) AS last_entry_id
FROM homeward.legs
WHERE toYYYYMM(start_time) = {month:UInt32}
GROUP BY workload, start_time, leg_id
HAVING times > 1
LIMIT 1
UNION ALL
SELECT true, workload, start_time, leg_id, count() AS times, min(entry_id), max(entry_id)
FROM homeward.corrections
WHERE toYYYYMM(start_time) = {month:UInt32}
GROUP BY workload, start_time, leg_id, entry_id
HAVING times > 1
LIMIT 1
SETTINGS optimize_aggregation_in_order = 1
