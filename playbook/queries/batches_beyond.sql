-- The batches of entries after one, which must be in the journal too.
SELECT entry_id, batch, count() AS leg_count
FROM
(
    SELECT entry_id, batch FROM homeward.legs WHERE entry_id > {after:UInt64}
    UNION ALL
    SELECT entry_id, batch FROM homeward.corrections WHERE entry_id > {after:UInt64}
)
GROUP BY entry_id, batch
ORDER BY entry_id, batch
LIMIT {limit:UInt32}
