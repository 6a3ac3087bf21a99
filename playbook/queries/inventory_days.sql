-- The days of which imports and the book know of each provider: a month's cost follows from how many there are.
WITH if(end_time > start_time, end_time - INTERVAL 1 MICROSECOND, start_time) AS last_moment
SELECT kind AS source, provider, groupUniqArrayArray(range(toUInt32(first_day), toUInt32(last_day) + 1)) AS days
FROM (
    SELECT DISTINCT kind, provider, toDate(start_time) AS first_day, toDate(last_moment) AS last_day
    FROM homeward.usage
    WHERE toDate(start_time) BETWEEN {since:Date} AND {until:Date}
)
GROUP BY kind, provider
UNION ALL
-- An export of buckets is of all days from its first to its last: on those without rows nothing was used.
SELECT 'export' AS source, provider, groupUniqArrayArray(range(toUInt32(first_day), toUInt32(last_day) + 1)) AS days
FROM (
    SELECT
        splitByChar('_', format)[1] AS provider,
        greatest(toDate(assumeNotNull(first_time)), {since:Date}) AS first_day,
        least(toDate(assumeNotNull(last_time) - INTERVAL 1 MICROSECOND), {until:Date}) AS last_day
    FROM homeward.imports FINAL
    WHERE format IN ('openai_usage', 'openai_costs', 'anthropic_usage', 'anthropic_costs') AND isNotNull(first_time)
)
WHERE first_day <= last_day
GROUP BY provider
UNION ALL
SELECT 'legs' AS source, provider, groupUniqArray(toUInt32(toDate(start_time))) AS days
FROM homeward.legs
WHERE target = 'cloud' AND purpose = 'production' AND toDate(start_time) BETWEEN {since:Date} AND {until:Date}
GROUP BY provider
