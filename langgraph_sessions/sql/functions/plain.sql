CREATE OR REPLACE FUNCTION user_sessions_plain(p jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Called with what a run without a user saves: raises LGS01, which undoes that, where the thread is
-- a user's. Its key: thread_id.
--
-- Saves of this kind share a lock; whoever makes a session on the thread has it alone, and looks
-- for checkpoints then. So of two at the same instant the second sees the first: each statement of
-- a function sees what was committed before it.
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(
        user_sessions_thread_key(p ->> 'thread_id'::text));
    RETURN NOT EXISTS (SELECT 1 FROM session_threads WHERE thread_id = p ->> 'thread_id'::text)
        OR user_sessions_refuse(p);
END $$;
