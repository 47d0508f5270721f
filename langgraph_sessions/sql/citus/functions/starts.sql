CREATE OR REPLACE FUNCTION user_sessions_starts(
    p_channel text, p_type text, p_value bytea, p_is_inline boolean
) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
-- Says whether what is in a channel is to start a node, as `sql.retention.ThreadStates` does. It
-- reads no table, so that it may be called on any node.
BEGIN
    IF p_channel LIKE 'join:%:%' THEN
        RETURN (
            SELECT pg_catalog.bool_and(position(CASE
                WHEN p_type <> 'msgpack' THEN ''
                WHEN pg_catalog.octet_length(name) < 32
                THEN pg_catalog.set_byte('\x00'::bytea, 0, 160 + pg_catalog.octet_length(name))
                WHEN pg_catalog.octet_length(name) < 256
                THEN '\xd9'::bytea
                    || pg_catalog.set_byte('\x00'::bytea, 0, pg_catalog.octet_length(name))
                ELSE '' END || pg_catalog.convert_to(name, 'UTF8') IN p_value) > 0)
            FROM pg_catalog.unnest(pg_catalog.string_to_array(
                pg_catalog.split_part(p_channel, ':', 2), '+')) AS name);
    END IF;
    RETURN (p_channel IN ('__start__', '__pregel_tasks') OR p_channel LIKE 'branch:to:%')
        AND (p_value IS NOT NULL OR p_type IS NOT NULL OR p_is_inline);
END $$;
