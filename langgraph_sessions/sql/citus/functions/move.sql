CREATE OR REPLACE FUNCTION user_sessions_move(p_thread_ids text[], p_from text, p_to text)
RETURNS SETOF text LANGUAGE plpgsql AS $$
-- Makes sessions another user's, whose shard may be another; their threads are locked. Returns the
-- threads of those that were moved.
DECLARE
    thread text;
    s user_sessions;
BEGIN
    FOREACH thread IN ARRAY p_thread_ids LOOP
        UPDATE session_threads SET user_id = p_to
        WHERE thread_id = thread AND user_id OPERATOR(pg_catalog.=) p_from;
        DELETE FROM user_sessions
        WHERE user_id OPERATOR(pg_catalog.=) p_from AND thread_id::text = thread
        RETURNING * INTO s;
        IF FOUND THEN
            s.user_id := p_to;
            INSERT INTO user_sessions SELECT s.*;
            RETURN NEXT thread;
        END IF;
    END LOOP;
END $$;
