CREATE OR REPLACE FUNCTION user_sessions_hold(p_user_id text, p_thread_id text)
RETURNS void LANGUAGE plpgsql AS $$
-- Locks a thread, which has, as far as can be seen, a session of the user's, as saves lock it.
BEGIN
    PERFORM 1 FROM session_threads WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
END $$;
