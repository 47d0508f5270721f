CREATE OR REPLACE FUNCTION user_sessions_thread_key(p_thread_id text)
RETURNS bigint LANGUAGE sql STABLE AS $$
-- The key of the advisory lock under which a thread without a session is saved to (shared) or
-- becomes a user's (alone). A digest, so that nobody finds another id with the key of a thread.
    SELECT ('x' || encode(substr(sha256(convert_to(
        'langgraph_sessions thread ' || p_thread_id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
$$;
