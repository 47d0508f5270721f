CREATE OR REPLACE FUNCTION user_sessions_delete_user(p_user_id text)
RETURNS TABLE (sessions bigint, checkpoints bigint, blobs bigint, writes bigint, users bigint)
LANGUAGE plpgsql AS $$
-- Deletes everything of a user in one transaction: the threads of their sessions, and the threads
-- that a plain saver left behind and that are theirs by user_sessions_thread_owner. Returns a
-- count for each table.
DECLARE threads text[];
BEGIN
    PERFORM user_sessions_lock_writes(
        ARRAY(SELECT s.thread_id FROM user_sessions AS s WHERE s.user_id = p_user_id));
    WITH deleted AS (
        DELETE FROM user_sessions AS s WHERE s.user_id = p_user_id RETURNING s.thread_id
    ) SELECT array_agg(d.thread_id) INTO threads FROM deleted AS d;
    sessions := coalesce(cardinality(threads), 0);
    threads := threads || ARRAY(
        SELECT DISTINCT c.thread_id FROM checkpoints AS c
        WHERE user_sessions_owner(c.metadata) = p_user_id
        AND user_sessions_thread_owner(c.thread_id) = p_user_id
        AND NOT EXISTS (SELECT FROM user_sessions AS s WHERE s.thread_id = c.thread_id));
    DELETE FROM checkpoints AS c WHERE c.thread_id = ANY (threads);
    GET DIAGNOSTICS checkpoints = ROW_COUNT;
    DELETE FROM checkpoint_blobs AS b WHERE b.thread_id = ANY (threads);
    GET DIAGNOSTICS blobs = ROW_COUNT;
    DELETE FROM checkpoint_writes AS w WHERE w.thread_id = ANY (threads);
    GET DIAGNOSTICS writes = ROW_COUNT;
    DELETE FROM session_users AS u WHERE u.user_id = p_user_id;
    GET DIAGNOSTICS users = ROW_COUNT;
    RETURN NEXT;
END $$;
