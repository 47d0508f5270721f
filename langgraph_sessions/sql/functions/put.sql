CREATE OR REPLACE FUNCTION user_sessions_put(p jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $$
-- Saves the session beside what a run saves, and returns its row, as jsonb: the type of a row
-- changes with the table, and a save that waits while a column is added would return what the
-- statement that called it does not expect.
--
-- Called for a run's first save, and for those that change the title or the status; the others
-- touch session_threads alone. It locks the thread's row first, as everything does that changes
-- a thread. It raises to undo what is saved in the same statement: LGS01 where the thread is not
-- the user's, or not of the agent, LGS04 where another run has saved meanwhile.
--
-- Its keys; an absent one is NULL or FALSE, one that this version does not know is ignored:
--   user_id, thread_id
--   agent: of which the session must be, and a new one is; absent: it may be of any, a new one is of
--       none
--   known: the session existed when the run began. If it is gone since, somebody deleted it, and
--       the rest of the run does not bring it back.
--   first: this is the run's first save, which makes the session current and carries out the
--       run's instructions (title, is_active). The later saves leave all that alone.
--   make_current: FALSE for a job's run, by which no session becomes current
--   title, message_title, is_active: what the run, or its first message, asks for
--   default_title: what a new session without a title is called
--   checked, save, seen, base, own: see user_sessions_check
--   own, task, channels: see user_sessions_status_after
--   at: when it was saved, if the database was away then; else it is saved now
DECLARE
    p_user_id text := p ->> 'user_id'::text;
    p_thread_id text := p ->> 'thread_id'::text;
    p_agent text := p ->> 'agent'::text;
    p_known boolean := coalesce((p ->> 'known'::text)::boolean, FALSE);
    p_first boolean := coalesce((p ->> 'first'::text)::boolean, FALSE);
    p_title text := p ->> 'title'::text;
    p_message_title text := p ->> 'message_title'::text;
    p_is_active boolean := (p ->> 'is_active'::text)::boolean;
    p_make_current boolean := coalesce((p ->> 'make_current'::text)::boolean, TRUE);
    p_save text := p ->> 'save'::text;
    p_at timestamptz := (p ->> 'at'::text)::timestamptz;
    t session_threads;
    s user_sessions;
    old user_sessions;
    owner text := p_user_id;  -- By what others saved.
    waits_for text;
    made_at timestamptz;
    used timestamptz := CASE WHEN p_first OR NOT p_known
        THEN coalesce(p_at, user_sessions_latest(p_user_id)) END;
BEGIN
    IF NOT p_known THEN
        -- No save of nobody's goes on meanwhile: see user_sessions_plain.
        PERFORM user_sessions_free(p_thread_id);
        SELECT * INTO t FROM session_threads WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
        IF FOUND AND NOT user_sessions_exists(t.user_id::text, p_thread_id) THEN
            -- What is left of a session that somebody deleted by SQL.
            DELETE FROM session_threads WHERE thread_id = p_thread_id;
        END IF;
        -- Of two that make the thread's row at once, the second waits here for the first.
        INSERT INTO session_threads (thread_id, user_id, last_save)
        VALUES (p_thread_id, p_user_id, p_save) ON CONFLICT (thread_id) DO NOTHING;
        IF FOUND THEN
            -- What others saved meanwhile, to a thread that was new, is not the user's.
            -- What this save has saved already says nothing of them.
            IF EXISTS (
                SELECT 1 FROM checkpoints WHERE thread_id = p_thread_id
                AND checkpoint_id IS DISTINCT FROM p ->> 'own'::text
            ) THEN
                owner := user_sessions_thread_owner(p_thread_id, p ->> 'own'::text);
            END IF;
            IF owner IS DISTINCT FROM p_user_id THEN
                RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = 'LGS01';
            END IF;
            PERFORM user_sessions_check(p, p ->> 'seen'::text);
            waits_for := user_sessions_status_after(p_thread_id, p);
            -- Never later than it was used, which was settled before.
            made_at := coalesce(p_at, least(pg_catalog.clock_timestamp(), used));
            INSERT INTO user_sessions
                (user_id, thread_id, agent, title, title_source, is_active, status,
                created_at, updated_at, current_at)
            VALUES (
                p_user_id, p_thread_id, p_agent,
                coalesce(p_title, p_message_title, p ->> 'default_title'::text,
                    'New Chat'),
                CASE WHEN p_title IS NOT NULL THEN 'user'
                     WHEN p_message_title IS NOT NULL THEN 'message' ELSE 'default' END,
                coalesce(p_is_active, TRUE), waits_for, made_at, used,
                CASE WHEN p_make_current THEN used END)
            ON CONFLICT DO NOTHING RETURNING * INTO s;
            IF FOUND THEN
                RETURN pg_catalog.to_jsonb(s);
            END IF;  -- Else somebody made it by SQL.
        END IF;
    END IF;
    SELECT * INTO t FROM session_threads WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        -- A session that somebody made by SQL.
        INSERT INTO session_threads (thread_id, user_id)
        SELECT thread_id, user_id FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
        ON CONFLICT (thread_id) DO NOTHING;
        SELECT * INTO t FROM session_threads WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    END IF;
    SELECT * INTO s FROM user_sessions
    WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
    FOR NO KEY UPDATE;
    IF s.id IS NULL AND t.user_id::text = p_user_id
    AND user_sessions_exists(p_user_id, p_thread_id) THEN  -- It had yet to become visible.
        SELECT * INTO s FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id
        FOR NO KEY UPDATE;
    END IF;
    IF s.id IS NULL OR t.user_id::text IS DISTINCT FROM p_user_id
    OR (p_agent IS NOT NULL AND s.agent::text IS DISTINCT FROM p_agent) THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = 'LGS01';
    END IF;
    PERFORM user_sessions_check(p, t.last_save);
    IF p_save IS NOT NULL THEN
        UPDATE session_threads SET last_save = p_save WHERE thread_id = p_thread_id;
    END IF;
    old := s;
    s.status := user_sessions_status_after(p_thread_id, p);
    IF p_first AND p_title IS NOT NULL THEN
        s.title := p_title; s.title_source := 'user';
    ELSIF s.title_source = 'default' AND p_message_title IS NOT NULL THEN
        s.title := p_message_title; s.title_source := 'message';
    END IF;
    IF p_first THEN
        s.is_active := coalesce(p_is_active, s.is_active);
        s.updated_at := greatest(s.updated_at, used);
        s.current_at := CASE WHEN p_make_current THEN s.updated_at ELSE s.current_at END;
    END IF;
    IF NOT pg_catalog.record_eq(s, old) THEN
        UPDATE user_sessions SET title = s.title, title_source = s.title_source,
            status = s.status, is_active = s.is_active, updated_at = s.updated_at,
            current_at = s.current_at
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = p_thread_id;
    END IF;
    RETURN pg_catalog.to_jsonb(s);
END $$;
