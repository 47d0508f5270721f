CREATE OR REPLACE FUNCTION user_sessions_copy_session(p jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $$
-- Makes a new session on a copy of a thread, and returns its row, as jsonb (see user_sessions_put);
-- of a thread without a session, a thread without one, and NULL.
--
-- The copy is of the source's owner. A copy that names its user, a fork, becomes current, and
-- knows from where it was forked. Any other is as active as its source and stands right behind it:
-- nobody asked for the user's next words to go there.
--
-- The source is locked as saves lock it, so that nobody deletes it half way, and no run saves
-- meanwhile: the copy ends where it was asked to. Not before it is known whose it is: somebody else
-- is to hold up nobody. The owner may have changed until the lock is there, and is looked at again.
--
-- Raises LGS01 where the source is not the user's, or not of the agent, LGS02 where the target is
-- in use, LGS03 where the source has no such checkpoint. Its keys:
--   source, target: thread ids
--   user_id, agent: whose the source must be; absent: it may be anybody's, of any
--   checkpoint_id: copy up to there; absent: all of it
--   title: the copy's; absent: that of the source
DECLARE
    p_source text := p ->> 'source'::text;
    p_target text := p ->> 'target'::text;
    p_user_id text := p ->> 'user_id'::text;
    p_agent text := p ->> 'agent'::text;
    p_checkpoint_id text := p ->> 'checkpoint_id'::text;
    p_title text := p ->> 'title'::text;
    t session_threads;
    s user_sessions;
    head text;
    is_free boolean;
BEGIN
    FOR look IN 1..2 LOOP
        SELECT * INTO t FROM session_threads WHERE thread_id = p_source;
        IF FOUND THEN
            SELECT * INTO s FROM user_sessions
            WHERE user_id OPERATOR(pg_catalog.=) t.user_id AND thread_id::text = p_source;
        ELSE  -- One that somebody made by SQL, if there is one.
            SELECT * INTO s FROM user_sessions WHERE thread_id::text = p_source;
        END IF;
        IF look = 1 AND s.id IS NULL AND t.user_id::text = coalesce(p_user_id, t.user_id::text) THEN
            NULL;  -- It may have yet to become visible.
        ELSIF (p_user_id IS NOT NULL AND s.user_id::text IS DISTINCT FROM p_user_id)
        OR (p_agent IS NOT NULL AND s.agent::text IS DISTINCT FROM p_agent) THEN
            RAISE EXCEPTION 'no session % of this user', p_source USING ERRCODE = 'LGS01';
        END IF;
        IF look = 1 THEN
            PERFORM user_sessions_hold(s.user_id::text, p_source);
        END IF;
    END LOOP;
    is_free := user_sessions_free(p_target);
    IF NOT is_free OR EXISTS (SELECT 1 FROM session_threads WHERE thread_id = p_target) THEN
        RAISE EXCEPTION 'thread id % is already in use', p_target USING ERRCODE = 'LGS02';
    END IF;
    SELECT checkpoint_id INTO head FROM checkpoints
    WHERE thread_id = p_source AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1;
    IF p_checkpoint_id IS NOT NULL THEN
        IF NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = p_source
            AND checkpoint_ns = '' AND checkpoint_id = p_checkpoint_id)
        THEN
            RAISE EXCEPTION 'no checkpoint % in it', p_checkpoint_id USING ERRCODE = 'LGS03';
        END IF;
    END IF;
    -- Where nothing had been said, it is a fork of nothing.
    s.forked_from := CASE WHEN p_user_id IS NOT NULL AND head IS NOT NULL
        THEN ARRAY[p_source, coalesce(p_checkpoint_id, head)] END;
    IF head = p_checkpoint_id THEN p_checkpoint_id := NULL; END IF;
    PERFORM user_sessions_copy(p_source, p_target, p_checkpoint_id);
    IF s.id IS NULL THEN RETURN NULL; END IF;
    -- What differs from the source; every other column, also one added later, is copied.
    s.thread_id := p_target;
    IF p_title IS NOT NULL THEN
        s.title := p_title; s.title_source := 'user';
    END IF;
    s.created_at := pg_catalog.now();
    IF p_user_id IS NOT NULL THEN
        s.is_active := TRUE;
        s.updated_at := user_sessions_latest(s.user_id::text); s.current_at := s.updated_at;
    ELSE
        s.updated_at := s.updated_at - interval '1 microsecond'; s.current_at := NULL;
    END IF;
    s.titler_called := NULL;  -- One that is at work titles the source.
    s.status := user_sessions_status(p_target);
    INSERT INTO session_threads (thread_id, user_id) VALUES (p_target, s.user_id);
    EXECUTE pg_catalog.format($query$
        INSERT INTO user_sessions (thread_id, %1$s)
        SELECT thread_id, %1$s FROM (SELECT ($1).*) AS s RETURNING *
    $query$, user_sessions_columns('user_sessions', NULL)) INTO s USING s;
    RETURN pg_catalog.to_jsonb(s);
END $$;
