CREATE OR REPLACE FUNCTION user_sessions_latest(p_user_id text)
RETURNS timestamptz LANGUAGE plpgsql AS $$
-- The time for a session that becomes current now: later than those of all of the user's sessions,
-- also where one lies in the future, as after a failover to a server with a slower clock.
BEGIN
    RETURN greatest(pg_catalog.clock_timestamp(), (
        SELECT updated_at + interval '1 microsecond' FROM user_sessions
        WHERE user_id::text = p_user_id ORDER BY updated_at DESC, id DESC LIMIT 1));
END $$;
