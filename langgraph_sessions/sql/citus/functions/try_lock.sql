CREATE OR REPLACE FUNCTION user_sessions_try_lock(p_thread_id text)
RETURNS boolean LANGUAGE plpgsql
SET citus.allow_nested_distributed_execution = on SET search_path FROM CURRENT AS $$
-- Locks a thread's row unless somebody else has. It is called on the node of the thread's shard,
-- for many at once, and reads nothing of another. Nodes do not know the search path of who calls
-- it.
BEGIN
    PERFORM 1 FROM session_threads WHERE thread_id = p_thread_id FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;
