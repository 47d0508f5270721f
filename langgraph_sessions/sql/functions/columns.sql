CREATE OR REPLACE FUNCTION user_sessions_columns(p_table text, p_alias text)
RETURNS text LANGUAGE sql STABLE AS $$
-- The columns that the copy of a row takes over, as a list for SELECT or INSERT, each behind
-- p_alias unless that is NULL: with them, a column that is added later is copied, too.
--
-- Not the copy's own: id and thread_id. Nor what only the table itself can give: computed
-- columns, and those that are unique by themselves, which get their default.
SELECT pg_catalog.string_agg(
    pg_catalog.concat(p_alias || '.', pg_catalog.quote_ident(a.attname::text)),
    ', ' ORDER BY a.attnum)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = p_table::regclass::oid AND a.attnum > 0 AND NOT a.attisdropped
AND a.attname NOT IN ('id', 'thread_id') AND a.attgenerated = '' AND a.attidentity = ''
AND NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique
    AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
$$;
