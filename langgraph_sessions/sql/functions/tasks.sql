CREATE OR REPLACE FUNCTION user_sessions_tasks(p_thread_id text)
RETURNS text[] LANGUAGE sql STABLE AS $$
-- The nodes that a thread's newest checkpoint has yet to run: those that a value in a channel is
-- to start. All Sends together count as one.
--
-- The channel of a join keeps, as a set, the names of the nodes that came, and starts its node
-- when all have. The names are looked for as msgpack writes them: a length, then the bytes. The
-- set of an encrypting serializer cannot be looked into.
    SELECT ARRAY(
        SELECT DISTINCT regexp_replace(v.key, '^.*:', '') FROM (
            SELECT checkpoint FROM checkpoints
            WHERE thread_id = p_thread_id AND checkpoint_ns = ''
            ORDER BY checkpoint_id DESC LIMIT 1
        ) AS head
        CROSS JOIN LATERAL jsonb_each_text(head.checkpoint -> 'channel_versions') AS v
        LEFT JOIN checkpoint_blobs AS b ON b.thread_id = p_thread_id AND b.checkpoint_ns = ''
            AND b.channel = v.key AND b.version = v.value AND b.type <> 'empty'
        WHERE CASE WHEN v.key LIKE 'join:%:%' THEN (
            SELECT bool_and(position(CASE
                WHEN b.type <> 'msgpack' THEN ''
                WHEN octet_length(name) < 32
                THEN set_byte('\x00', 0, 160 + octet_length(name))
                WHEN octet_length(name) < 256
                THEN '\xd9' || set_byte('\x00', 0, octet_length(name))
                ELSE '' END || convert_to(name, 'UTF8') IN b.blob) > 0)
            FROM unnest(string_to_array(split_part(v.key, ':', 2), '+')) AS name)
        ELSE (v.key IN ('__start__', '__pregel_tasks') OR v.key LIKE 'branch:to:%')
            AND (b.channel IS NOT NULL OR head.checkpoint -> 'channel_values' ? v.key) END)
$$;
