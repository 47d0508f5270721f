CREATE OR REPLACE FUNCTION user_sessions_status(p_thread_id text)
RETURNS text LANGUAGE sql STABLE AS $$
-- What a session's newest checkpoint waits for, by LangGraph's own pending writes: 'interrupted'
-- (an answer) or 'error' (another try) where a task interrupted or failed and has since written no
-- output; else 'idle'. The indexes of outputs are not negative.
    SELECT coalesce((
        SELECT CASE WHEN bool_or(w.channel = '__interrupt__') THEN 'interrupted' ELSE 'error' END
        FROM (
            SELECT checkpoint_id FROM checkpoints
            WHERE thread_id = p_thread_id AND checkpoint_ns = ''
            ORDER BY checkpoint_id DESC LIMIT 1
        ) AS head
        JOIN checkpoint_writes AS w ON w.thread_id = p_thread_id AND w.checkpoint_ns = ''
            AND w.checkpoint_id = head.checkpoint_id
            AND w.channel IN ('__interrupt__', '__error__')
        WHERE NOT EXISTS (
            SELECT FROM checkpoint_writes AS output
            WHERE output.thread_id = p_thread_id AND output.checkpoint_ns = ''
            AND output.checkpoint_id = w.checkpoint_id AND output.task_id = w.task_id
            AND output.idx >= 0)
        HAVING count(*) > 0
    ), 'idle')
$$;
