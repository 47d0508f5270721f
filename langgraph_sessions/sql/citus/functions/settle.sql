CREATE OR REPLACE FUNCTION user_sessions_settle(p_user_id text, p_thread_id text)
RETURNS void LANGUAGE plpgsql AS $$
-- Waits for transactions that make, delete or move a session, of which one node may have shown the
-- end already.
BEGIN
    PERFORM 1 FROM session_threads WHERE thread_id = p_thread_id FOR KEY SHARE;
    IF NOT FOUND THEN
        INSERT INTO session_threads (thread_id, user_id) VALUES (p_thread_id, p_user_id)
        ON CONFLICT (thread_id) DO NOTHING;
        IF FOUND THEN
            DELETE FROM session_threads WHERE thread_id = p_thread_id;
        END IF;
    END IF;
    PERFORM 1 FROM user_sessions
    WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
    FOR KEY SHARE;
END $$;
