CREATE OR REPLACE FUNCTION user_sessions_check(p jsonb, p_last_save text)
RETURNS void LANGUAGE plpgsql AS $$
-- Raises LGS04 when another run has saved to the thread since this run loaded it.
--
-- A save of a run has a name, `<run>.<number>`: `save` is that of the save being made, which
-- then becomes the thread's last_save; `seen` was its last_save when the run began. So a run's
-- first save expects what the run loaded, and each later one a save of the run's own.
--
-- A save outside a run, or without this package, has no name; its checkpoint shows it.
-- `base` is the root graph's newest checkpoint when the run began, '' for none, absent for a run
-- that started from an older one; `own` is the checkpoint being saved. Checkpoints of updates of
-- the state do not count: a node of this very run may have made one, and elsewhere an update
-- hides a run, or is hidden by it, as in LangGraph.
--
-- Without `checked`, nothing is an error. p_last_save is the thread's, as it is now.
--
-- The caller holds the thread's row: of two runs that save at once, the second sees what the
-- first saved.
BEGIN
    IF NOT coalesce((p ->> 'checked'::text)::boolean, FALSE)
    OR pg_catalog.split_part(p_last_save, '.', 1)
        = pg_catalog.split_part(p ->> 'save'::text, '.', 1)
    THEN
        RETURN;
    END IF;
    IF p_last_save IS DISTINCT FROM p ->> 'seen'::text OR (
        -- Ordered, and not with EXISTS, whose plan would read all of a long conversation that makes
        -- up most of its table.
        SELECT TRUE FROM checkpoints
        WHERE thread_id = p ->> 'thread_id'::text AND checkpoint_ns = ''
        AND checkpoint_id > p ->> 'base'::text AND checkpoint_id IS DISTINCT FROM p ->> 'own'::text
        AND coalesce(metadata ->> 'source'::text, '') NOT IN ('update', 'fork')
        ORDER BY checkpoint_id DESC LIMIT 1
    ) THEN
        RAISE EXCEPTION 'another run of %', p ->> 'thread_id'::text USING ERRCODE = 'LGS04';
    END IF;
END $$;
