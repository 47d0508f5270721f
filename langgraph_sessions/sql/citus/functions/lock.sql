CREATE OR REPLACE FUNCTION user_sessions_lock(p_thread_ids text[])
RETURNS SETOF text LANGUAGE plpgsql AS $$
-- Locks the rows of threads, one after another, and returns those that there are: those, too, that
-- had yet to be shown. Else a deletion would leave behind what is on the thread's shard.
DECLARE
    thread text;
BEGIN
    FOREACH thread IN ARRAY p_thread_ids LOOP
        PERFORM 1 FROM session_threads WHERE thread_id = thread FOR UPDATE;
        IF NOT FOUND AND user_sessions_has_thread(thread) THEN
            PERFORM 1 FROM session_threads WHERE thread_id = thread FOR UPDATE;
        END IF;
        IF FOUND THEN
            RETURN NEXT thread;
        END IF;
    END LOOP;
END $$;
