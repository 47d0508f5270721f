CREATE OR REPLACE FUNCTION user_sessions_free(p_thread_id text)
RETURNS boolean LANGUAGE plpgsql AS $$
-- As on one PostgreSQL. The lock is held on the node of the thread's shard: those of another node,
-- through which somebody else came, would not meet it.
DECLARE
    key bigint := user_sessions_thread_key(p_thread_id);
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(key)
    FROM (SELECT pg_catalog.count(*) FROM session_threads WHERE thread_id = p_thread_id) AS shard;
    RETURN NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = p_thread_id);
END $$;
