CREATE OR REPLACE FUNCTION user_sessions_exists(p_user_id text, p_thread_id text)
RETURNS boolean LANGUAGE plpgsql AS $$
-- As on one PostgreSQL. A transaction on two nodes does not become visible at one moment: where the
-- thread's row is there, its session may be on its way, or going. An INSERT of its key waits for
-- that.
BEGIN
    IF EXISTS (SELECT 1 FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id)
    THEN
        RETURN TRUE;
    END IF;
    INSERT INTO user_sessions (user_id, thread_id, title) VALUES (p_user_id, p_thread_id, '')
    ON CONFLICT (user_id, thread_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN TRUE;
    END IF;
    DELETE FROM user_sessions
    WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id;
    RETURN FALSE;
END $$;
