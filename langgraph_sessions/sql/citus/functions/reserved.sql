CREATE OR REPLACE FUNCTION user_sessions_reserved(p jsonb)
RETURNS text LANGUAGE plpgsql AS $$
-- Returns the thread id set aside for a user's next session; as `sql.opening._RESERVE` for one
-- PostgreSQL, and only looks where `looks` says so. Its keys:
--   user_id, agent ('' for none), thread_id: the id to set aside if none is
--   taken: the reserved id that turned out to be somebody else's, if one did
--   looks: set nothing aside
DECLARE
    p_user_id text := p ->> 'user_id'::text;
    p_agent text := p ->> 'agent'::text;
    p_thread_id text := p ->> 'thread_id'::text;
    looks boolean := coalesce((p ->> 'looks'::text)::boolean, FALSE);
    reserved text;
    owner text;
    s user_sessions;
BEGIN
    IF looks THEN
        SELECT thread_id INTO reserved FROM session_reservations
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND agent::text = p_agent;
    ELSE
        INSERT INTO session_reservations AS r (user_id, agent, thread_id)
        VALUES (p_user_id, p_agent, p_thread_id)
        ON CONFLICT (user_id, agent) DO UPDATE SET thread_id = r.thread_id
        RETURNING thread_id INTO reserved;
    END IF;
    IF reserved IS NULL OR reserved = p_thread_id THEN
        RETURN p_thread_id;
    END IF;
    SELECT user_id INTO owner FROM session_threads WHERE thread_id = reserved;
    IF owner = p_user_id AND user_sessions_exists(p_user_id, reserved) THEN
        SELECT * INTO s FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND thread_id::text = reserved;
    END IF;
    IF reserved IS DISTINCT FROM p ->> 'taken'::text
    AND owner IS NOT DISTINCT FROM s.user_id::text
    AND (s.id IS NULL OR s.is_active AND s.current_at IS NOT NULL
        AND coalesce(s.agent, '') = p_agent)
    THEN
        RETURN reserved;
    END IF;
    IF NOT looks THEN
        UPDATE session_reservations SET thread_id = p_thread_id
        WHERE user_id OPERATOR(pg_catalog.=) p_user_id AND agent::text = p_agent;
    END IF;
    RETURN p_thread_id;
END $$;
