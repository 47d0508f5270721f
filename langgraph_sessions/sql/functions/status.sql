CREATE OR REPLACE FUNCTION user_sessions_status(p_thread_id text)
RETURNS text LANGUAGE sql STABLE AS $$
-- What a session waits for, by what is saved of it.
    SELECT user_sessions_status_after(p_thread_id, '{}'::jsonb)
$$;
