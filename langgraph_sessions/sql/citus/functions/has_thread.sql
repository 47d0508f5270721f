CREATE OR REPLACE FUNCTION user_sessions_has_thread(p_thread_id text)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Says whether a thread's row is there, whose session may have been shown before it: it may be on
-- its way, or going. An INSERT of its key waits for that, as user_sessions_exists does.
BEGIN
    IF EXISTS (SELECT 1 FROM session_threads WHERE thread_id = p_thread_id) THEN
        RETURN TRUE;
    END IF;
    INSERT INTO session_threads (thread_id, user_id) VALUES (p_thread_id, '')
    ON CONFLICT (thread_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN TRUE;
    END IF;
    DELETE FROM session_threads WHERE thread_id = p_thread_id;
    RETURN FALSE;
END $$;
