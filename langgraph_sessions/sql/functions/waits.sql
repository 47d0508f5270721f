CREATE OR REPLACE FUNCTION user_sessions_waits(p_thread_id text)
RETURNS boolean LANGUAGE sql STABLE AS $$
-- Whether a session waits for somebody: for an answer, or, with tasks to come and no error, for a
-- run that goes on, as at a static breakpoint.
    SELECT CASE user_sessions_status(p_thread_id) WHEN 'interrupted' THEN TRUE
        WHEN 'idle' THEN cardinality(user_sessions_tasks(p_thread_id)) > 0 ELSE FALSE END
$$;
