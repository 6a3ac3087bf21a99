-- How long each table keeps its rows: what the tables themselves say. Empty: until somebody deletes them.
SELECT
    database, name,
    extract(engine_full, ' TTL (.*?)( SETTINGS|$)') AS kept
FROM system.tables
WHERE database IN ('homeward', 'otel') AND engine LIKE '%MergeTree'
ORDER BY database, name
