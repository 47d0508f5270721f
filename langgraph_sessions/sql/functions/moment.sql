CREATE OR REPLACE FUNCTION user_sessions_moment(p text)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
-- The time that a checkpoint says it was made at; NULL where that is none, or is infinite, so that no
-- damaged row ends a purge, or an adoption.
DECLARE
    moment timestamptz;
BEGIN
    moment := p;
    RETURN CASE WHEN moment BETWEEN '0001-01-02Z'::timestamptz AND '9999-12-30Z'::timestamptz
        THEN moment END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
