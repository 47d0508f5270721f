CREATE OR REPLACE FUNCTION user_sessions_exists(p_user_id text, p_thread_id text)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Says whether the session of a thread is there, whose row in session_threads is, and is locked.
BEGIN
    RETURN EXISTS (SELECT 1 FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id);
END $$;
