-- Columns of the book that could hold a prompt or an answer, by their names: there should be none.
SELECT count() AS columns, countIf(match(name, '(?i)(prompt|answer|message|content|completion)s?$')) AS text_columns
FROM system.columns
WHERE database = 'homeward'
