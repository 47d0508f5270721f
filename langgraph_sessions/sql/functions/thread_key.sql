CREATE OR REPLACE FUNCTION user_sessions_thread_key(p_thread_id text)
RETURNS bigint LANGUAGE sql STABLE AS $$
-- The key of the advisory lock under which a thread without a session is saved to (shared) or
-- becomes a user's (alone). A digest, so that nobody finds another id with the key of a thread;
-- of another tenant's neither.
    SELECT ('x' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(
        'langgraph_sessions thread ' || pg_catalog.quote_ident(pg_catalog.current_schema()::text)
        || ' ' || p_thread_id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
$$;
