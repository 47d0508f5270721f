CREATE OR REPLACE FUNCTION user_sessions_settle(p_user_id text, p_thread_id text)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Waits for transactions that make, delete or move a session, of which one node may have shown the
-- end already. Says whether the thread's row was there.
DECLARE
    is_there boolean := user_sessions_has_thread(p_thread_id);
BEGIN
    PERFORM 1 FROM session_threads WHERE thread_id = p_thread_id FOR KEY SHARE;
    PERFORM 1 FROM user_sessions
    WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
    FOR KEY SHARE;
    RETURN is_there;
END $$;
