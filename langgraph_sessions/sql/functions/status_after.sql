CREATE OR REPLACE FUNCTION user_sessions_status_after(p_thread_id text, p jsonb)
RETURNS text LANGUAGE plpgsql STABLE AS $$
-- What a session waits for once a save is made, by LangGraph's own pending writes on its newest
-- checkpoint: 'interrupted' (an answer) or 'error' (another try) where a task interrupted or failed
-- and has since written no output; else 'idle'. The indexes of outputs are not negative.
--
-- A task that was cancelled did not fail: its run was stopped. Its error is told by the text that
-- LangGraph's serializer writes for it, up to three bytes of its length before; one that encrypts
-- hides that.
--
-- Of the save, p has (absent: there is none):
--   own: the root checkpoint that it makes, or that its writes belong to: these may be there first
--   task, channels: for writes, their task and their channels
DECLARE
    head text;
    found text;
BEGIN
    SELECT checkpoint_id INTO head FROM checkpoints
    WHERE thread_id = p_thread_id AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1;
    head := greatest(head, p ->> 'own'::text);
    SELECT pg_catalog.max(CASE WHEN asks THEN 'interrupted' WHEN fails THEN 'error' END)
    INTO found FROM (
        SELECT pg_catalog.bool_or(channel = '__interrupt__') AS asks,
            pg_catalog.bool_or(channel = '__error__') AS fails
        FROM (
            SELECT task_id, channel, idx >= 0 AS is_output FROM checkpoint_writes
            WHERE thread_id = p_thread_id AND checkpoint_ns = '' AND checkpoint_id = head
            AND NOT (channel = '__error__' AND type = 'msgpack'
                AND position('CancelledError('::bytea IN substring(blob FOR 18)) > 0)
            UNION ALL
            SELECT p ->> 'task'::text, channel, pg_catalog.left(channel, 2) <> '__'
            FROM pg_catalog.jsonb_array_elements_text(p -> 'channels'::text) AS channel
            WHERE head = p ->> 'own'::text
        ) AS writes
        GROUP BY task_id HAVING NOT pg_catalog.bool_or(is_output)
    ) AS tasks;
    RETURN coalesce(found, 'idle');
END $$;
