CREATE OR REPLACE FUNCTION user_sessions_thread_owner(
    p_thread_id text, p_but_for text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql STABLE AS $$
-- The owner of a thread without a session: the user of the newest checkpoint that names one, those
-- of the root graph first. So an update of the state without a user takes the thread from nobody,
-- and an older checkpoint of another user's does not give it to them.
-- p_but_for: a checkpoint that is left out.
BEGIN
    RETURN (
        SELECT owner FROM (
            SELECT user_sessions_owner(metadata) AS owner, checkpoint_ns, checkpoint_id
            FROM checkpoints WHERE thread_id = p_thread_id
            AND checkpoint_id IS DISTINCT FROM p_but_for) AS c
        WHERE owner IS NOT NULL
        ORDER BY checkpoint_ns = '' DESC, checkpoint_id DESC LIMIT 1);
END $$;
