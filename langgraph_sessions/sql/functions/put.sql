CREATE OR REPLACE FUNCTION user_sessions_put(p jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $$
-- Saves the session beside a checkpoint, and returns its row, as jsonb: the type of a row changes
-- with the table, and a save that waits while a column is added would return what the statement
-- that called it does not expect.
--
-- It runs after the checkpoint's statements, in their transaction, and raises to undo them:
-- LGS01 where the thread is not the user's, LGS04 where another run has saved meanwhile.
--
-- Its keys; an absent one is NULL or FALSE, one that this version does not know is ignored:
--   user_id, thread_id
--   known: the session existed when the run began. If it is gone since, somebody deleted it, and
--       the rest of the run does not bring it back.
--   first: this is the run's first save, which makes the session current and carries out the
--       run's instructions (title, is_active). The later saves leave all that alone.
--   make_current: FALSE for a job's run, by which no session becomes current: its time of use stays,
--       and that of a new one is right behind the current one's
--   title, message_title, is_active: what the run, or its first message, asks for
--   checked, save, seen, base, own: see user_sessions_check
--   at: when it was saved, if the database was away then; else it is saved now
DECLARE
    p_user_id text := p ->> 'user_id';
    p_thread_id text := p ->> 'thread_id';
    p_known boolean := coalesce((p ->> 'known')::boolean, FALSE);
    p_first boolean := coalesce((p ->> 'first')::boolean, FALSE);
    p_title text := p ->> 'title';
    p_message_title text := p ->> 'message_title';
    p_is_active boolean := (p ->> 'is_active')::boolean;
    p_make_current boolean := coalesce((p ->> 'make_current')::boolean, TRUE);
    p_save text := p ->> 'save';
    p_at timestamptz := (p ->> 'at')::timestamptz;
    s user_sessions;
BEGIN
    IF NOT p_known THEN
        -- A session that is being made has no row to lock. This lock lets its first checkpoint,
        -- and writes that overtake it, wait for each other: the second sees what the first saved.
        PERFORM pg_advisory_xact_lock(
            hashtextextended('langgraph_sessions.new ' || p_thread_id, 0));
        INSERT INTO user_sessions
            (user_id, thread_id, title, title_source, is_active, created_at, updated_at,
            last_save, status)
        VALUES (
            p_user_id, p_thread_id,
            coalesce(p_title, p_message_title, 'New Chat'),
            CASE WHEN p_title IS NOT NULL THEN 'user'
                 WHEN p_message_title IS NOT NULL THEN 'message' ELSE 'default' END,
            coalesce(p_is_active, TRUE), coalesce(p_at, now()),
            CASE WHEN p_make_current THEN coalesce(p_at, now()) ELSE least(
                coalesce(p_at, now()),
                (SELECT max(updated_at) - interval '1 microsecond' FROM user_sessions
                WHERE user_id = p_user_id AND is_active)) END,
            p_save, user_sessions_status(p_thread_id))
        ON CONFLICT (thread_id) DO NOTHING RETURNING * INTO s;
        IF FOUND THEN
            -- With `seen` in place of a last_save: it may name writes of this run, which were
            -- saved before there was a session.
            PERFORM user_sessions_check(p, p ->> 'seen');
            RETURN to_jsonb(s);
        END IF;
    END IF;
    SELECT * INTO s FROM user_sessions WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF NOT FOUND OR s.user_id <> p_user_id THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = 'LGS01';
    END IF;
    PERFORM user_sessions_check(p, s.last_save);
    IF p_first AND p_title IS NOT NULL THEN
        s.title := p_title; s.title_source := 'user';
    ELSIF s.title_source = 'default' AND p_message_title IS NOT NULL THEN
        s.title := p_message_title; s.title_source := 'message';
    ELSIF NOT p_first AND p_save IS NULL THEN
        RETURN to_jsonb(s);
    END IF;
    UPDATE user_sessions SET
        title = s.title, title_source = s.title_source, last_save = coalesce(p_save, last_save),
        status = user_sessions_status(p_thread_id),
        is_active = CASE WHEN p_first THEN coalesce(p_is_active, is_active) ELSE is_active END,
        updated_at = CASE WHEN p_first AND p_make_current
                          THEN greatest(updated_at, coalesce(p_at, clock_timestamp()))
                          ELSE updated_at END
    WHERE thread_id = p_thread_id RETURNING * INTO s;
    RETURN to_jsonb(s);
END $$;
