CREATE OR REPLACE FUNCTION user_sessions_lock(p_thread_ids text[])
RETURNS SETOF text LANGUAGE plpgsql AS $$
-- Locks the rows of threads, one after another, and returns those that there are. A transaction on
-- two nodes may have shown a session and not yet its thread's row: an INSERT of its key waits for
-- that. Else a deletion would leave behind what is on the thread's shard.
DECLARE
    thread text;
BEGIN
    FOREACH thread IN ARRAY p_thread_ids LOOP
        PERFORM 1 FROM session_threads WHERE thread_id = thread FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO session_threads (thread_id, user_id) VALUES (thread, '')
            ON CONFLICT (thread_id) DO NOTHING;
            IF FOUND THEN
                DELETE FROM session_threads WHERE thread_id = thread;
                CONTINUE;
            END IF;
            PERFORM 1 FROM session_threads WHERE thread_id = thread FOR UPDATE;
        END IF;
        IF FOUND THEN
            RETURN NEXT thread;
        END IF;
    END LOOP;
END $$;
