CREATE OR REPLACE FUNCTION user_sessions_try_lock(p_thread_ids text[])
RETURNS text[] LANGUAGE plpgsql AS $$
-- Locks all rows of threads, of those threads whose rows can be locked at once, and waits for
-- nobody; returns the threads of which it got every row.
--
-- A save that holds one of the rows will want the session's, which a purge has by now: whoever
-- waited here would wait for ever.
DECLARE written text[]; saved text[];
BEGIN
    SELECT array_agg(thread_id) INTO written FROM (
        SELECT thread_id FROM checkpoint_writes WHERE thread_id = ANY (p_thread_ids)
        FOR UPDATE SKIP LOCKED) AS locked;
    SELECT array_agg(thread_id) INTO saved FROM (
        SELECT thread_id FROM checkpoints WHERE thread_id = ANY (p_thread_ids)
        FOR UPDATE SKIP LOCKED) AS locked;
    RETURN ARRAY(
        SELECT thread_id FROM unnest(p_thread_ids) AS thread_id
        EXCEPT (SELECT thread_id FROM (
            SELECT thread_id, 1 AS which FROM checkpoint_writes
            WHERE thread_id = ANY (p_thread_ids)
            UNION ALL
            SELECT thread_id, 2 FROM checkpoints WHERE thread_id = ANY (p_thread_ids)
        ) AS present LEFT JOIN (
            SELECT thread_id, 1 AS which, count(*) AS number FROM unnest(written) AS thread_id
            GROUP BY thread_id
            UNION ALL
            SELECT thread_id, 2, count(*) FROM unnest(saved) AS thread_id GROUP BY thread_id
        ) AS locked USING (thread_id, which)
        GROUP BY thread_id, which, number HAVING count(*) > coalesce(number, 0)));
END $$;
