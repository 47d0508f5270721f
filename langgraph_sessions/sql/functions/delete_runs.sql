CREATE OR REPLACE FUNCTION user_sessions_delete_runs(p_run_ids text[])
RETURNS void LANGUAGE plpgsql AS $$
-- Deletes what runs saved, and what is then without a reference: writes, blobs, links to a parent,
-- and the session of a thread of which nothing is left.
--
-- The runs' parents stay. Of their writes, those that led to nothing but the deleted runs go:
-- answers and outputs, by which the next run would go where the deleted one went. What a parent
-- asked stays, and waits again.
DECLARE threads text[]; namespaces text[]; ids text[]; parents text[];
BEGIN
    WITH deleted AS (
        DELETE FROM checkpoints WHERE metadata ->> 'run_id' = ANY (p_run_ids)
        RETURNING thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id
    ) SELECT array_agg(thread_id), array_agg(checkpoint_ns), array_agg(checkpoint_id),
        array_agg(parent_checkpoint_id)
    INTO threads, namespaces, ids, parents FROM deleted;
    DELETE FROM checkpoint_writes AS w
    USING unnest(threads, namespaces, ids) AS d (thread_id, checkpoint_ns, checkpoint_id)
    WHERE w.thread_id = d.thread_id AND w.checkpoint_ns = d.checkpoint_ns
    AND w.checkpoint_id = d.checkpoint_id;
    DELETE FROM checkpoint_writes AS w
    USING unnest(threads, namespaces, parents) AS d (thread_id, checkpoint_ns, checkpoint_id)
    WHERE w.thread_id = d.thread_id AND w.checkpoint_ns = d.checkpoint_ns
    AND w.checkpoint_id = d.checkpoint_id AND w.channel <> '__interrupt__'
    AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.thread_id = d.thread_id
        AND c.checkpoint_ns = d.checkpoint_ns AND c.parent_checkpoint_id = d.checkpoint_id);
    UPDATE checkpoints AS c SET parent_checkpoint_id = NULL
    FROM unnest(threads, namespaces, ids) AS d (thread_id, checkpoint_ns, checkpoint_id)
    WHERE c.thread_id = d.thread_id AND c.checkpoint_ns = d.checkpoint_ns
    AND c.parent_checkpoint_id = d.checkpoint_id;
    DELETE FROM checkpoint_blobs AS b WHERE b.thread_id = ANY (threads) AND NOT EXISTS (
        SELECT FROM checkpoints AS c
        CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
        WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
        AND v.key = b.channel AND v.value = b.version);
    WITH ended AS (
        DELETE FROM user_sessions AS s WHERE s.thread_id = ANY (threads)
        AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.thread_id = s.thread_id)
        RETURNING s.user_id, s.thread_id
    ) UPDATE session_users AS u SET reserved_thread_id = NULL FROM ended
    WHERE u.user_id = ended.user_id AND u.reserved_thread_id = ended.thread_id;
    UPDATE user_sessions SET status = user_sessions_status(thread_id)
    WHERE thread_id = ANY (threads);
END $$;
