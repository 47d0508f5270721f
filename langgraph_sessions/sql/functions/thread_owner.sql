CREATE OR REPLACE FUNCTION user_sessions_thread_owner(p_thread_id text)
RETURNS text LANGUAGE sql STABLE AS $$
-- The owner of a thread without a session: the user of the newest checkpoint that names one, those
-- of the root graph first. So an update of the state without a user takes the thread from nobody,
-- and an older checkpoint of another user's does not give it to them.
    SELECT owner FROM checkpoints AS c CROSS JOIN LATERAL user_sessions_owner(c.metadata) AS owner
    WHERE c.thread_id = p_thread_id AND owner IS NOT NULL
    ORDER BY c.checkpoint_ns = '' DESC, c.checkpoint_id DESC LIMIT 1
$$;
