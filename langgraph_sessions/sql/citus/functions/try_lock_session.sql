CREATE OR REPLACE FUNCTION user_sessions_try_lock_session(p_user_id text, p_thread_id text)
RETURNS boolean LANGUAGE plpgsql
SET citus.allow_nested_distributed_execution = on SET search_path FROM CURRENT AS $$
-- Locks a session's row unless somebody else has, as user_sessions_try_lock does a thread's.
BEGIN
    PERFORM 1 FROM user_sessions
    WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
    FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END $$;
