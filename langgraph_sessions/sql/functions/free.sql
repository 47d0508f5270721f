CREATE OR REPLACE FUNCTION user_sessions_free(p_thread_id text)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Says whether a thread has no checkpoints, and locks it against saves of nobody's to the end of
-- the transaction: it is about to become a user's (see user_sessions_plain).
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(user_sessions_thread_key(p_thread_id));
    RETURN NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = p_thread_id);
END $$;
