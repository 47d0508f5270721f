CREATE OR REPLACE FUNCTION user_sessions_plain(p jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
-- As on one PostgreSQL; the lock as user_sessions_free's.
DECLARE
    p_thread_id text := p ->> 'thread_id'::text;
    key bigint := user_sessions_thread_key(p_thread_id);
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(key)
    FROM (SELECT pg_catalog.count(*) FROM session_threads WHERE thread_id = p_thread_id) AS shard;
    IF EXISTS (SELECT 1 FROM session_threads WHERE thread_id = p_thread_id) THEN
        RETURN user_sessions_refuse(p);
    END IF;
    RETURN TRUE;
END $$;
