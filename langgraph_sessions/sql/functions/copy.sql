CREATE OR REPLACE FUNCTION user_sessions_copy(
    p_source text, p_target text, p_checkpoint_id text
) RETURNS void LANGUAGE plpgsql AS $$
-- Copies a thread, or what led to one of its checkpoints; not a byte of it leaves the server. The
-- columns are asked for (user_sessions_columns), so that one that LangGraph adds is copied, too.
--
-- A whole copy, where p_checkpoint_id is NULL, has everything, pending writes and subgraphs
-- included. A copy up to an older checkpoint has its line (user_sessions_line), from which delta
-- channels are rebuilt, with the writes and the subgraphs of the checkpoints before the last.
--
-- Of the last checkpoint's own writes it has none if nothing was asked there: they came after it.
-- If something was, it has what was there while the answer was waited for. Writes have no time,
-- but
-- - a task that did not ask does not depend on the answer: what it wrote is copied. (Its path
--   tells it from a run's input. What a task called that asked may be of before or after: it is
--   not copied.)
-- - of a task that asked, its questions are copied. So are the answers to its earlier questions,
--   which were saved with the next question, and are never written over once the task has
--   outputs. The task's writes began with one for each answer, so that the index of its first
--   output says how many answers it had in the end: with one, there was no earlier question.
DECLARE
    name text;
    namespaces text[]; ids text[]; are_ends boolean[]; ask boolean[];  -- The line.
    copied_namespaces text[]; copied_ids text[];
BEGIN
    IF p_checkpoint_id IS NULL THEN
        FOREACH name IN ARRAY ARRAY['checkpoints', 'checkpoint_blobs', 'checkpoint_writes'] LOOP
            EXECUTE pg_catalog.format($query$
                INSERT INTO %1$I (thread_id, %2$s)
                SELECT $2, %2$s FROM %1$I WHERE thread_id = $1
            $query$, name, user_sessions_columns(name, NULL)) USING p_source, p_target;
        END LOOP;
        RETURN;
    END IF;
    SELECT pg_catalog.array_agg(line_ns), pg_catalog.array_agg(line_id),
        pg_catalog.array_agg(is_end), pg_catalog.array_agg(asks)
    INTO namespaces, ids, are_ends, ask FROM user_sessions_line(p_source, p_checkpoint_id);
    EXECUTE pg_catalog.format($query$
        INSERT INTO checkpoints (thread_id, %1$s)
        WITH line AS MATERIALIZED (
            SELECT * FROM unnest($3, $4, $5) AS line (line_ns, line_id, is_end)),
        before AS MATERIALIZED (
            SELECT line_ns, pg_catalog.array_agg(line_id) AS ids
            FROM line WHERE NOT is_end GROUP BY line_ns)
        SELECT $2, %1$s FROM checkpoints
        WHERE thread_id = $1 AND ((checkpoint_ns, checkpoint_id) IN (
            SELECT line_ns, line_id FROM line
        ) OR EXISTS (
            SELECT 1 FROM before WHERE metadata -> 'parents'::text ->> line_ns = ANY (ids)
            AND CASE line_ns WHEN '' THEN checkpoint_ns <> ''
                ELSE pg_catalog.starts_with(checkpoint_ns, line_ns || '|') END))
    $query$, user_sessions_columns('checkpoints', NULL))
    USING p_source, p_target, namespaces, ids, are_ends;
    SELECT pg_catalog.array_agg(checkpoint_ns), pg_catalog.array_agg(checkpoint_id)
    INTO copied_namespaces, copied_ids FROM checkpoints WHERE thread_id = p_target;
    EXECUTE pg_catalog.format($query$
        INSERT INTO checkpoint_writes (thread_id, %1$s)
        WITH ends AS MATERIALIZED (
            SELECT line_ns, line_id, asks
            FROM unnest($3, $4, $5, $6) AS line (line_ns, line_id, is_end, asks) WHERE is_end),
        asked AS MATERIALIZED (
            SELECT e.line_ns, w.task_id, pg_catalog.max(w.task_path) AS task_path,
                coalesce(pg_catalog.min(w.idx) FILTER (WHERE w.idx >= 0) > 1, FALSE) AS again
            FROM ends AS e JOIN checkpoint_writes AS w
                ON w.thread_id = $1 AND w.checkpoint_ns = line_ns AND w.checkpoint_id = line_id
            GROUP BY e.line_ns, w.task_id HAVING pg_catalog.bool_or(w.channel = '__interrupt__'))
        SELECT $2, %2$s FROM checkpoint_writes AS w
        JOIN unnest($7, $8) AS c (checkpoint_ns, checkpoint_id) USING (checkpoint_ns, checkpoint_id)
        LEFT JOIN ends AS e ON (line_ns, line_id) = (w.checkpoint_ns, w.checkpoint_id)
        LEFT JOIN asked AS a ON (a.line_ns, a.task_id) = (e.line_ns, w.task_id)
        WHERE w.thread_id = $1 AND CASE
            WHEN e.line_id IS NULL THEN TRUE
            WHEN NOT e.asks THEN FALSE
            WHEN a.task_id IS NOT NULL
            THEN w.channel = '__interrupt__' OR a.again AND w.channel = '__resume__'
            ELSE w.idx >= 0 AND w.task_path <> '' AND NOT EXISTS (
                SELECT 1 FROM asked WHERE asked.line_ns = e.line_ns
                AND position(asked.task_path || ',' IN w.task_path) > 0) END
    $query$, user_sessions_columns('checkpoint_writes', NULL),
        user_sessions_columns('checkpoint_writes', 'w'))
    USING p_source, p_target, namespaces, ids, are_ends, ask, copied_namespaces, copied_ids;
    EXECUTE pg_catalog.format($query$
        INSERT INTO checkpoint_blobs (thread_id, %1$s)
        SELECT DISTINCT ON (b.checkpoint_ns, b.channel, b.version) $2, %2$s
        FROM checkpoints AS c
        CROSS JOIN LATERAL pg_catalog.jsonb_each_text(c.checkpoint -> 'channel_versions'::text) AS v
        JOIN checkpoint_blobs AS b ON b.thread_id = $1 AND b.checkpoint_ns = c.checkpoint_ns
            AND b.channel = v.key AND b.version = v.value
        WHERE c.thread_id = $1 AND (c.checkpoint_ns, c.checkpoint_id) IN (
            SELECT * FROM unnest($3, $4))
    $query$, user_sessions_columns('checkpoint_blobs', NULL),
        user_sessions_columns('checkpoint_blobs', 'b'))
    USING p_source, p_target, copied_namespaces, copied_ids;
END $$;
