CREATE OR REPLACE FUNCTION user_sessions_latest(p_user_id text)
RETURNS timestamptz LANGUAGE plpgsql AS $$
-- The time for a session that becomes current now: later than those of all of the user's sessions,
-- also where one lies in the future, as after a failover to a server with a slower clock. A time
-- that is none, infinite or past what Python can hold, does not count: nothing is later than that.
DECLARE
    newest timestamptz := (
        SELECT updated_at FROM user_sessions WHERE user_id OPERATOR(pg_catalog.=) p_user_id
        AND updated_at < '9999-12-30Z'::timestamptz ORDER BY updated_at DESC, id DESC LIMIT 1);
BEGIN
    RETURN greatest(pg_catalog.clock_timestamp(), newest + interval '1 microsecond');
END $$;
