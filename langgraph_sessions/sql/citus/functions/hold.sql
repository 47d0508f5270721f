CREATE OR REPLACE FUNCTION user_sessions_hold(p_user_id text, p_thread_id text)
RETURNS void LANGUAGE plpgsql AS $$
-- As on one PostgreSQL. One node may have shown that a session is made, deleted or moved, and the
-- other not yet: that is waited for.
DECLARE
    owner text;
BEGIN
    PERFORM user_sessions_has_thread(p_thread_id);
    SELECT user_id INTO owner FROM session_threads WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF FOUND THEN
        PERFORM user_sessions_exists(owner, p_thread_id);
    ELSE
        PERFORM 1 FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
        FOR KEY SHARE;
    END IF;
END $$;
