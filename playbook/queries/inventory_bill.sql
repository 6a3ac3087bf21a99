-- Where both the tokens and the bill of a provider are imported: list price and bill of the days that both have.
WITH
    if(end_time > start_time, end_time - INTERVAL 1 MICROSECOND, start_time) AS last_moment,
    days AS (
        SELECT provider, toDate(start_time) AS day, kind, max(toDate(last_moment)) > day AS coarse,
            sum(if(kind = 'usage', cost_nanos, billed_nanos)) AS money,
            countIf(kind = 'usage' AND isNull(cost_nanos)) AS unpriced
        FROM homeward.usage FINAL
        WHERE toDate(start_time) BETWEEN {since:Date} AND {until:Date} AND (kind = 'usage' OR currency IN ('', 'USD'))
        GROUP BY provider, day, kind
    )
SELECT
    list.provider AS provider,
    count() AS days,
    sum(list.money) AS list_nanos,
    sum(bill.money) AS billed_nanos,
    sum(list.unpriced) AS unpriced_rows
FROM (SELECT * FROM days WHERE kind = 'usage' AND NOT coarse) AS list
INNER JOIN (SELECT * FROM days WHERE kind = 'cost' AND NOT coarse) AS bill ON list.provider = bill.provider AND list.day = bill.day
GROUP BY provider
ORDER BY provider
SETTINGS do_not_merge_across_partitions_select_final = 1
