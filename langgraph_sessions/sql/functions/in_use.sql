CREATE OR REPLACE FUNCTION user_sessions_in_use(p_thread_id text)
RETURNS boolean LANGUAGE sql STABLE AS $$
-- Whether a run is at work in a thread: its newest checkpoint has tasks to come, a checkpoint was
-- saved within the hour, in whatever namespace, and
-- - no task asks for an answer or failed,
-- - or an answer was just given,
-- - or one of the tasks has not written anything yet.
    SELECT EXISTS (
        SELECT FROM checkpoints AS c WHERE c.thread_id = p_thread_id
        AND c.checkpoint_id = (SELECT max(newest.checkpoint_id) FROM checkpoints AS newest
            WHERE newest.thread_id = p_thread_id)
        AND (c.checkpoint ->> 'ts')::timestamptz > clock_timestamp() - interval '1 hour'
    ) AND cardinality(user_sessions_tasks(p_thread_id)) > 0
    AND (user_sessions_status(p_thread_id) = 'idle' OR (
        SELECT coalesce(bool_or(w.channel = '__resume__'), FALSE)
            OR count(DISTINCT w.task_id) FILTER (WHERE w.task_id NOT LIKE '00000000-%')
                < cardinality(user_sessions_tasks(p_thread_id))
        FROM checkpoint_writes AS w
        WHERE w.thread_id = p_thread_id AND w.checkpoint_ns = ''
        AND w.checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints
            WHERE thread_id = p_thread_id AND checkpoint_ns = '')))
$$;
