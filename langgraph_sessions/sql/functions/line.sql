CREATE OR REPLACE FUNCTION user_sessions_line(p_thread_id text, p_checkpoint_id text)
RETURNS TABLE (line_ns text, line_id text, is_end boolean, asks boolean)
LANGUAGE plpgsql STABLE AS $$
-- The line of a checkpoint, which a copy up to it has: the checkpoint and its ancestors. If it
-- waited for an answer inside subgraphs, their lines, too, each from the checkpoint at which the
-- subgraph asked last.
--
-- is_end marks the newest checkpoint of each line. It asks, but for the root graph's where nothing
-- was asked there.
#variable_conflict use_column
BEGIN
    RETURN QUERY WITH RECURSIVE ends AS (
        SELECT '' AS ns, p_checkpoint_id AS id, TRUE AS is_end, EXISTS (
            SELECT 1 FROM checkpoint_writes WHERE thread_id = p_thread_id AND checkpoint_ns = ''
            AND checkpoint_id = p_checkpoint_id AND channel = '__interrupt__') AS asks
        UNION ALL
        (SELECT c.checkpoint_ns, pg_catalog.max(c.checkpoint_id), TRUE, TRUE
        FROM checkpoints AS c
        JOIN checkpoint_writes AS w USING (thread_id, checkpoint_ns, checkpoint_id)
        WHERE c.thread_id = p_thread_id AND c.checkpoint_ns <> ''
        AND c.metadata -> 'parents'::text ->> ''::text = p_checkpoint_id
        AND w.channel = '__interrupt__'
        GROUP BY c.checkpoint_ns)
    ), line AS (
        SELECT * FROM ends
        UNION
        SELECT line.ns, c.parent_checkpoint_id, FALSE, FALSE
        FROM line JOIN checkpoints AS c ON c.thread_id = p_thread_id AND c.checkpoint_ns = line.ns
            AND c.checkpoint_id = line.id
        WHERE c.parent_checkpoint_id IS NOT NULL
    ) SELECT ns, id, line.is_end, line.asks FROM line;
END $$;
