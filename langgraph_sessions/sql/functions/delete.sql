CREATE OR REPLACE FUNCTION user_sessions_delete(p_thread_ids text[], p_user_id text)
RETURNS bigint LANGUAGE plpgsql AS $$
-- Deletes threads with their sessions, and returns how many sessions there were. With p_user_id,
-- only those that have a session of this user; else all of them, with or without a session.
--
-- The session goes before its thread: the session's row lock waits for saves under way, and the
-- DELETEs after it take a new snapshot, which sees what those saved.
DECLARE owned text[]; owners text[];
BEGIN
    IF p_user_id IS NOT NULL THEN
        p_thread_ids := ARRAY(SELECT thread_id FROM user_sessions
            WHERE thread_id = ANY (p_thread_ids) AND user_id = p_user_id);
    END IF;
    PERFORM user_sessions_lock_writes(p_thread_ids);
    WITH deleted AS (
        DELETE FROM user_sessions
        WHERE thread_id = ANY (p_thread_ids) AND (p_user_id IS NULL OR user_id = p_user_id)
        RETURNING thread_id, user_id
    ) SELECT coalesce(array_agg(thread_id), '{}'), array_agg(user_id)
    INTO owned, owners FROM deleted;
    UPDATE session_users SET reserved_thread_id = NULL
    WHERE user_id = ANY (owners) AND reserved_thread_id = ANY (owned);
    IF p_user_id IS NOT NULL THEN p_thread_ids := owned; END IF;
    DELETE FROM checkpoints WHERE thread_id = ANY (p_thread_ids);
    DELETE FROM checkpoint_blobs WHERE thread_id = ANY (p_thread_ids);
    DELETE FROM checkpoint_writes WHERE thread_id = ANY (p_thread_ids);
    RETURN cardinality(owned);
END $$;
