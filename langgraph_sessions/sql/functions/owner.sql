CREATE OR REPLACE FUNCTION user_sessions_owner(p_metadata jsonb)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
-- The user whose run saved a checkpoint, by the metadata that LangGraph copies from the
-- configurable: text or a whole number, as a run's user_id may be.
-- Empty text is nobody: LangGraph's server without authentication.
    SELECT CASE
        WHEN pg_catalog.jsonb_typeof(owner) = 'string' THEN owner #>> '{}'::text[]
        WHEN pg_catalog.jsonb_typeof(owner) = 'number' AND owner #>> '{}'::text[] !~ '[.eE]'
        THEN owner #>> '{}'::text[]
    END FROM coalesce(
    nullif(p_metadata -> 'langgraph_auth_user_id'::text, '""'),
    nullif(p_metadata -> 'user_id'::text, '""')) AS owner
$$;
