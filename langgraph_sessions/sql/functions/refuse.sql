CREATE OR REPLACE FUNCTION user_sessions_refuse(p jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Raises, and so undoes what is saved beside it: LGS01 where the thread is not the user's, or not
-- nobody's where there is no user_id; else LGS04: another run has saved meanwhile.
-- Its keys: user_id, thread_id.
BEGIN
    IF EXISTS (SELECT 1 FROM session_threads WHERE thread_id = p ->> 'thread_id'::text
        AND user_id OPERATOR(pg_catalog.=) (p ->> 'user_id'::text))
    THEN
        RAISE EXCEPTION 'another run of %', p ->> 'thread_id'::text USING ERRCODE = 'LGS04';
    END IF;
    RAISE EXCEPTION 'no session % of this user', p ->> 'thread_id'::text USING ERRCODE = 'LGS01';
END $$;
