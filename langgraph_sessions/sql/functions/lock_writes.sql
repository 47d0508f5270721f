CREATE OR REPLACE FUNCTION user_sessions_lock_writes(p_thread_ids text[])
RETURNS void LANGUAGE plpgsql AS $$
-- Locks the special writes of threads (interrupts, answers, errors: those of negative indexes),
-- to be called before a session is locked to be deleted, or part of its thread. Saves lock in this
-- order, too: they upsert the special writes, and then lock the session.
BEGIN
    PERFORM 1 FROM checkpoint_writes WHERE thread_id = ANY (p_thread_ids) AND idx < 0
    ORDER BY thread_id, checkpoint_ns, checkpoint_id, task_id, idx FOR UPDATE;
END $$;
