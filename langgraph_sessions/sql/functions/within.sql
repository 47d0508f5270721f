CREATE OR REPLACE FUNCTION user_sessions_within(p jsonb, p_size integer)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
-- Returns what was merged if it takes at most so many bytes as text; else raises LGS05. What many
-- small changes add up to is known here alone.
BEGIN
    IF pg_catalog.octet_length(p::text) > p_size THEN
        RAISE EXCEPTION 'more than % bytes', p_size USING ERRCODE = 'LGS05';
    END IF;
    RETURN p;
END $$;
