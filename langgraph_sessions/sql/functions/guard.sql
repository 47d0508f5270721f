CREATE OR REPLACE FUNCTION user_sessions_guard(p jsonb)
RETURNS void LANGUAGE plpgsql AS $$
-- Stands beside writes, and beside the checkpoints of runs without a user: raises, and so undoes
-- them, where the thread is somebody else's (LGS01) or another run has saved meanwhile (LGS04).
--
-- Writes are checked as checkpoints are: the checkpoint that a run starts from has the same tasks
-- for every other run that starts there, and the run may end with the questions of these tasks.
--
-- Its keys, user_id, thread_id, known, checked, save, seen and base, are those of
-- user_sessions_put; without a user_id, the run has no user.
DECLARE
    p_user_id text := p ->> 'user_id';
    p_thread_id text := p ->> 'thread_id';
    p_known boolean := coalesce((p ->> 'known')::boolean, FALSE);
    p_save text := p ->> 'save';
    s user_sessions;
BEGIN
    IF p_user_id IS NOT NULL AND NOT p_known THEN
        -- The lock of user_sessions_put, for a session that is being made.
        PERFORM pg_advisory_xact_lock(
            hashtextextended('langgraph_sessions.new ' || p_thread_id, 0));
    END IF;
    SELECT * INTO s FROM user_sessions WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF s.user_id IS DISTINCT FROM p_user_id AND (s.id IS NOT NULL OR p_known) THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = 'LGS01';
    END IF;
    IF s.id IS NOT NULL THEN
        PERFORM user_sessions_check(p, s.last_save);
        UPDATE user_sessions SET
            last_save = coalesce(p_save, last_save), status = user_sessions_status(p_thread_id)
        WHERE thread_id = p_thread_id;
    END IF;
END $$;
