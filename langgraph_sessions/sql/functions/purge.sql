CREATE OR REPLACE FUNCTION user_sessions_purge(
    p_idle_for interval, p_older_than interval, p_active boolean, p_interrupted boolean,
    p_after bigint, p_limit integer, p_dry_run boolean
) RETURNS TABLE (last_id bigint, sessions bigint, kept bigint) LANGUAGE plpgsql AS $$
-- Deletes, or with p_dry_run counts, one batch of sessions by age and activity: with short locks,
-- and waiting for none. A session that is locked is being saved to, or is another purge's.
-- Returns where the next batch begins, and how many sessions went and were kept; no row: there
-- was no session left to look at.
DECLARE candidates bigint[]; threads text[];
BEGIN
    SELECT array_agg(c.id ORDER BY c.id) INTO candidates FROM (
        SELECT s.id FROM user_sessions AS s WHERE s.id > p_after
        AND (p_idle_for IS NULL OR s.updated_at < clock_timestamp() - p_idle_for)
        AND (p_older_than IS NULL OR s.created_at < clock_timestamp() - p_older_than)
        AND (p_active IS NULL OR s.is_active = p_active)
        ORDER BY s.id LIMIT p_limit
    ) AS c;
    IF candidates IS NULL THEN RETURN; END IF;
    SELECT coalesce(array_agg(l.thread_id), '{}') INTO threads FROM (
        SELECT s.thread_id FROM user_sessions AS s WHERE s.id = ANY (candidates)
        AND (p_idle_for IS NULL OR s.updated_at < clock_timestamp() - p_idle_for)
        AND (p_active IS NULL OR s.is_active = p_active)
        FOR UPDATE SKIP LOCKED
    ) AS l;
    -- Looked at once they are locked: a new statement sees what was saved until then.
    threads := ARRAY(SELECT t FROM unnest(threads) AS t WHERE NOT user_sessions_in_use(t)
        AND (p_interrupted OR NOT user_sessions_waits(t)));
    IF NOT p_dry_run THEN
        threads := user_sessions_try_lock(threads);
        PERFORM user_sessions_delete(threads, NULL);
    END IF;
    last_id := candidates[cardinality(candidates)];
    sessions := cardinality(threads);
    kept := cardinality(candidates) - cardinality(threads);
    RETURN NEXT;
END $$;
