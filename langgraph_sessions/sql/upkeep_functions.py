"""The operators' functions that live in the database: deletions, purges, erasure.

They stand beside those of `sql.functions`, which lists them all in order.
"""

from __future__ import annotations

from typing import Final

# Deletes what runs saved. What they leave without a reference goes too: writes, blobs, links to
# a parent, and the session of a thread of which nothing is left. So do the writes on a parent that
# stays that led to nothing else: answers and outputs, by which the next run would go where the
# deleted one went. What the parent asked stays, and waits again.
DELETE_RUNS: Final = """
CREATE OR REPLACE FUNCTION user_sessions_delete_runs(p_run_ids text[])
RETURNS void LANGUAGE plpgsql AS $$
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
END $$"""

# The nodes that a thread's newest checkpoint has yet to run: those that a value in a channel is to
# start. Sends count as one. A join's channel keeps the names of those that came, as a set, and
# starts its node when all have: they are looked for as msgpack writes them, a length before the
# bytes. The set of an encrypting serializer cannot be looked into.
TASKS: Final = """
CREATE OR REPLACE FUNCTION user_sessions_tasks(p_thread_id text)
RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT DISTINCT regexp_replace(v.key, '^.*:', '') FROM (
            SELECT checkpoint FROM checkpoints
            WHERE thread_id = p_thread_id AND checkpoint_ns = ''
            ORDER BY checkpoint_id DESC LIMIT 1
        ) AS head
        CROSS JOIN LATERAL jsonb_each_text(head.checkpoint -> 'channel_versions') AS v
        LEFT JOIN checkpoint_blobs AS b ON b.thread_id = p_thread_id AND b.checkpoint_ns = ''
            AND b.channel = v.key AND b.version = v.value AND b.type <> 'empty'
        WHERE CASE WHEN v.key LIKE 'join:%:%' THEN (
            SELECT bool_and(position(CASE
                WHEN b.type <> 'msgpack' THEN ''
                WHEN octet_length(name) < 32
                THEN set_byte('\\x00', 0, 160 + octet_length(name))
                WHEN octet_length(name) < 256
                THEN '\\xd9' || set_byte('\\x00', 0, octet_length(name))
                ELSE '' END || convert_to(name, 'UTF8') IN b.blob) > 0)
            FROM unnest(string_to_array(split_part(v.key, ':', 2), '+')) AS name)
        ELSE (v.key IN ('__start__', '__pregel_tasks') OR v.key LIKE 'branch:to:%')
            AND (b.channel IS NOT NULL OR head.checkpoint -> 'channel_values' ? v.key) END)
$$"""

# Whether a run is at work: there are tasks to come, a checkpoint was saved within the hour, in
# whatever namespace, and one of the tasks has not written anything yet; or none asks for an answer
# or failed; or an answer was just given.
IS_IN_USE: Final = """
CREATE OR REPLACE FUNCTION user_sessions_in_use(p_thread_id text)
RETURNS boolean LANGUAGE sql STABLE AS $$
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
$$"""

# Whether a session waits for somebody: for an answer, or, with tasks to come and no error, for a
# run that goes on, as at a static breakpoint.
WAITS: Final = """
CREATE OR REPLACE FUNCTION user_sessions_waits(p_thread_id text)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE user_sessions_status(p_thread_id) WHEN 'interrupted' THEN TRUE
        WHEN 'idle' THEN cardinality(user_sessions_tasks(p_thread_id)) > 0 ELSE FALSE END
$$"""

# Before a session is locked to be deleted, or part of its thread: the order of saves, which upsert
# special writes (interrupts, answers, errors: of negative indexes) before they lock the session.
LOCK_WRITES: Final = """
CREATE OR REPLACE FUNCTION user_sessions_lock_writes(p_thread_ids text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM checkpoint_writes WHERE thread_id = ANY (p_thread_ids) AND idx < 0
    ORDER BY thread_id, checkpoint_ns, checkpoint_id, task_id, idx FOR UPDATE;
END $$"""

# Locks all rows of threads that can be locked at once, and waits for nobody; returns the threads
# of which it got every row. A save that holds one will want the session, which a purge has by now:
# whoever waited here would wait for ever.
TRY_LOCK: Final = """
CREATE OR REPLACE FUNCTION user_sessions_try_lock(p_thread_ids text[])
RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE written text[]; saved text[];
BEGIN
    SELECT array_agg(thread_id) INTO written FROM (
        SELECT thread_id FROM checkpoint_writes WHERE thread_id = ANY (p_thread_ids)
        FOR UPDATE SKIP LOCKED) AS locked;
    SELECT array_agg(thread_id) INTO saved FROM (
        SELECT thread_id FROM checkpoints WHERE thread_id = ANY (p_thread_ids)
        FOR UPDATE SKIP LOCKED) AS locked;
    RETURN ARRAY(
        SELECT thread_id FROM unnest(p_thread_ids) AS thread_id
        EXCEPT (SELECT thread_id FROM (
            SELECT thread_id, 1 AS which FROM checkpoint_writes
            WHERE thread_id = ANY (p_thread_ids)
            UNION ALL
            SELECT thread_id, 2 FROM checkpoints WHERE thread_id = ANY (p_thread_ids)
        ) AS present LEFT JOIN (
            SELECT thread_id, 1 AS which, count(*) AS number FROM unnest(written) AS thread_id
            GROUP BY thread_id
            UNION ALL
            SELECT thread_id, 2, count(*) FROM unnest(saved) AS thread_id GROUP BY thread_id
        ) AS locked USING (thread_id, which)
        GROUP BY thread_id, which, number HAVING count(*) > coalesce(number, 0)));
END $$"""

# Everything of a user, in one transaction: their sessions' threads, and threads that a plain
# saver left behind and that are theirs by user_sessions_thread_owner. Returns a count for each
# table.
DELETE_USER: Final = """
CREATE OR REPLACE FUNCTION user_sessions_delete_user(p_user_id text)
RETURNS TABLE (sessions bigint, checkpoints bigint, blobs bigint, writes bigint, users bigint)
LANGUAGE plpgsql AS $$
DECLARE threads text[];
BEGIN
    PERFORM user_sessions_lock_writes(
        ARRAY(SELECT s.thread_id FROM user_sessions AS s WHERE s.user_id = p_user_id));
    WITH deleted AS (
        DELETE FROM user_sessions AS s WHERE s.user_id = p_user_id RETURNING s.thread_id
    ) SELECT array_agg(d.thread_id) INTO threads FROM deleted AS d;
    sessions := coalesce(cardinality(threads), 0);
    threads := threads || ARRAY(
        SELECT DISTINCT c.thread_id FROM checkpoints AS c
        WHERE user_sessions_owner(c.metadata) = p_user_id
        AND user_sessions_thread_owner(c.thread_id) = p_user_id
        AND NOT EXISTS (SELECT FROM user_sessions AS s WHERE s.thread_id = c.thread_id));
    DELETE FROM checkpoints AS c WHERE c.thread_id = ANY (threads);
    GET DIAGNOSTICS checkpoints = ROW_COUNT;
    DELETE FROM checkpoint_blobs AS b WHERE b.thread_id = ANY (threads);
    GET DIAGNOSTICS blobs = ROW_COUNT;
    DELETE FROM checkpoint_writes AS w WHERE w.thread_id = ANY (threads);
    GET DIAGNOSTICS writes = ROW_COUNT;
    DELETE FROM session_users AS u WHERE u.user_id = p_user_id;
    GET DIAGNOSTICS users = ROW_COUNT;
    RETURN NEXT;
END $$"""

# Whose run saved a checkpoint, by the metadata that LangGraph copies from the configurable: text
# or a whole number, as a run's user_id may be.
OWNER: Final = """
CREATE OR REPLACE FUNCTION user_sessions_owner(p_metadata jsonb)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN jsonb_typeof(owner) = 'string' THEN owner #>> '{}'
        WHEN jsonb_typeof(owner) = 'number' AND owner #>> '{}' !~ '[.eE]' THEN owner #>> '{}'
    END FROM coalesce(p_metadata -> 'langgraph_auth_user_id', p_metadata -> 'user_id') AS owner
$$"""

# Whose a thread without a session is: whom its newest checkpoint names, of those that name anybody,
# the root graph's first. A state updated without a user takes a thread from nobody; an older
# checkpoint of another user's gives it to nobody.
THREAD_OWNER: Final = """
CREATE OR REPLACE FUNCTION user_sessions_thread_owner(p_thread_id text)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT owner FROM checkpoints AS c CROSS JOIN LATERAL user_sessions_owner(c.metadata) AS owner
    WHERE c.thread_id = p_thread_id AND owner IS NOT NULL
    ORDER BY c.checkpoint_ns = '' DESC, c.checkpoint_id DESC LIMIT 1
$$"""

# One batch of a purge: short locks, and none waited for. What is locked is being saved to or
# is another purge's. Returns where the next batch begins; no row: there was none.
PURGE: Final = """
CREATE OR REPLACE FUNCTION user_sessions_purge(
    p_idle_for interval, p_older_than interval, p_active boolean, p_interrupted boolean,
    p_after bigint, p_limit integer, p_dry_run boolean
) RETURNS TABLE (last_id bigint, sessions bigint, kept bigint) LANGUAGE plpgsql AS $$
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
END $$"""
