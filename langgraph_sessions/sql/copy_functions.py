"""The functions that copy threads in the database: not a byte of them leaves the server.

They stand beside those of `sql.functions`, which lists them all in order.
"""

from __future__ import annotations

from typing import Final

_CHECKPOINT = "checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
_BLOB = "channel, version, type, blob"
_WRITE = "checkpoint_id, task_id, idx, channel, type, blob, task_path"


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


# What a copy up to a checkpoint has: the checkpoint and its ancestors. Where it waited for an
# answer inside subgraphs, theirs, too: each from the checkpoint at which it asked last. The end of
# a line `asks` unless it is the root graph's and nothing was asked there.
LINE: Final = """
CREATE OR REPLACE FUNCTION user_sessions_line(p_thread_id text, p_checkpoint_id text)
RETURNS TABLE (line_ns text, line_id text, is_end boolean, asks boolean) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE ends AS (
        SELECT '' AS ns, p_checkpoint_id AS id, TRUE AS is_end, EXISTS (
            SELECT FROM checkpoint_writes WHERE thread_id = p_thread_id AND checkpoint_ns = ''
            AND checkpoint_id = p_checkpoint_id AND channel = '__interrupt__') AS asks
        UNION ALL
        (SELECT c.checkpoint_ns, max(c.checkpoint_id), TRUE, TRUE
        FROM checkpoints AS c
        JOIN checkpoint_writes AS w USING (thread_id, checkpoint_ns, checkpoint_id)
        WHERE c.thread_id = p_thread_id AND c.checkpoint_ns <> ''
        AND c.metadata -> 'parents' ->> '' = p_checkpoint_id AND w.channel = '__interrupt__'
        GROUP BY c.checkpoint_ns)
    ), line AS (
        SELECT * FROM ends
        UNION
        SELECT line.ns, c.parent_checkpoint_id, FALSE, FALSE
        FROM line JOIN checkpoints AS c ON c.thread_id = p_thread_id AND c.checkpoint_ns = line.ns
            AND c.checkpoint_id = line.id
        WHERE c.parent_checkpoint_id IS NOT NULL
    ) SELECT ns, id, is_end, asks FROM line
$$"""

# Copies a thread, or what led to one of its checkpoints; not a byte of it leaves the server.
#
# A whole copy has everything, pending writes and subgraphs included. A copy up to an older
# checkpoint has its line (above), from which delta channels are rebuilt, with the writes and the
# subgraphs of those before the last.
#
# Of the last's own writes it has none if nothing was asked there: they came after it. If something
# was, it has what was there while the answer was waited for. Writes have no time, but
# - a task that did not ask does not depend on the answer: what it wrote is copied. (Its path tells
#   it from a run's input. What a task called that asked may be of before or after: not copied.)
# - of a task that asked, its questions are. So are the answers to its earlier questions, saved
#   with the next question and never written over once there are outputs. Its writes began with one
#   for each answer, so that the index of its first output says how many it had in the end: with
#   one, there was no earlier question.
COPY: Final = f"""
CREATE OR REPLACE FUNCTION user_sessions_copy(
    p_source text, p_target text, p_checkpoint_id text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_checkpoint_id IS NULL THEN
        INSERT INTO checkpoints (thread_id, checkpoint_ns, {_CHECKPOINT})
        SELECT p_target, checkpoint_ns, {_CHECKPOINT} FROM checkpoints WHERE thread_id = p_source;
        INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, {_BLOB})
        SELECT p_target, checkpoint_ns, {_BLOB} FROM checkpoint_blobs WHERE thread_id = p_source;
        INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, {_WRITE})
        SELECT p_target, checkpoint_ns, {_WRITE} FROM checkpoint_writes WHERE thread_id = p_source;
        RETURN;
    END IF;
    INSERT INTO checkpoints (thread_id, checkpoint_ns, {_CHECKPOINT})
    WITH line AS MATERIALIZED (SELECT * FROM user_sessions_line(p_source, p_checkpoint_id)),
    before AS MATERIALIZED (
        SELECT line_ns, array_agg(line_id) AS ids FROM line WHERE NOT is_end GROUP BY line_ns)
    SELECT p_target, checkpoint_ns, {_CHECKPOINT} FROM checkpoints
    WHERE thread_id = p_source AND ((checkpoint_ns, checkpoint_id) IN (
        SELECT line_ns, line_id FROM line
    ) OR EXISTS (
        SELECT FROM before WHERE metadata -> 'parents' ->> line_ns = ANY (ids)
        AND CASE line_ns WHEN '' THEN checkpoint_ns <> ''
            ELSE starts_with(checkpoint_ns, line_ns || '|') END));
    INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, {_WRITE})
    WITH ends AS MATERIALIZED (
        SELECT line_ns, line_id, asks FROM user_sessions_line(p_source, p_checkpoint_id)
        WHERE is_end),
    asked AS MATERIALIZED (
        SELECT e.line_ns, w.task_id, max(w.task_path) AS task_path,
            coalesce(min(w.idx) FILTER (WHERE w.idx >= 0) > 1, FALSE) AS again
        FROM ends AS e JOIN checkpoint_writes AS w
            ON w.thread_id = p_source AND w.checkpoint_ns = line_ns AND w.checkpoint_id = line_id
        GROUP BY e.line_ns, w.task_id HAVING bool_or(w.channel = '__interrupt__'))
    SELECT p_target, w.checkpoint_ns, {_of("w", _WRITE)} FROM checkpoint_writes AS w
    JOIN checkpoints AS c USING (checkpoint_ns, checkpoint_id)
    LEFT JOIN ends AS e ON (line_ns, line_id) = (w.checkpoint_ns, w.checkpoint_id)
    LEFT JOIN asked AS a ON (a.line_ns, a.task_id) = (e.line_ns, w.task_id)
    WHERE w.thread_id = p_source AND c.thread_id = p_target AND CASE
        WHEN e.line_id IS NULL THEN TRUE
        WHEN NOT e.asks THEN FALSE
        WHEN a.task_id IS NOT NULL
        THEN w.channel = '__interrupt__' OR a.again AND w.channel = '__resume__'
        ELSE w.idx >= 0 AND w.task_path <> '' AND NOT EXISTS (
            SELECT FROM asked WHERE asked.line_ns = e.line_ns
            AND position(asked.task_path || ',' IN w.task_path) > 0) END;
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, {_BLOB})
    SELECT DISTINCT ON (b.checkpoint_ns, b.channel, b.version)
        p_target, b.checkpoint_ns, {_of("b", _BLOB)}
    FROM checkpoints AS c
    CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
    JOIN checkpoint_blobs AS b ON b.thread_id = p_source AND b.checkpoint_ns = c.checkpoint_ns
        AND b.channel = v.key AND b.version = v.value
    WHERE c.thread_id = p_target;
END $$"""


# The SQLSTATEs are handed in: they are those of `sql.functions`, which imports this module.
def copy_session(not_found: str, in_use: str, no_checkpoint: str) -> str:
    """Return the function that makes a new session on a copy of a thread.

    It is of the source's owner; a thread of nobody copies to one of nobody. A copy for a user, a
    fork, becomes current; any other is as active as its source, and stands right behind it, since
    nobody asked for the user's next words to go there. The source is
    locked as saves lock it, so that it is not deleted half way and no run saves meanwhile:
    the copy ends where it was asked to.
    """
    return f"""
CREATE OR REPLACE FUNCTION user_sessions_copy_session(
    p_source text, p_target text, p_user_id text, p_checkpoint_id text, p_title text
) RETURNS SETOF user_sessions LANGUAGE plpgsql AS $$
DECLARE s user_sessions; head text;
BEGIN
    SELECT * INTO s FROM user_sessions WHERE thread_id = p_source FOR NO KEY UPDATE;
    IF p_user_id IS NOT NULL AND s.user_id IS DISTINCT FROM p_user_id THEN
        RAISE EXCEPTION 'no session % of this user', p_source USING ERRCODE = '{not_found}';
    END IF;
    IF EXISTS (SELECT FROM checkpoints WHERE thread_id = p_target)
    OR EXISTS (SELECT FROM user_sessions WHERE thread_id = p_target) THEN
        RAISE EXCEPTION 'thread id % is already in use', p_target USING ERRCODE = '{in_use}';
    END IF;
    IF p_checkpoint_id IS NOT NULL THEN
        SELECT checkpoint_id INTO head FROM checkpoints
        WHERE thread_id = p_source AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1;
        IF NOT EXISTS (SELECT FROM checkpoints WHERE thread_id = p_source
            AND checkpoint_ns = '' AND checkpoint_id = p_checkpoint_id)
        THEN
            RAISE EXCEPTION 'no checkpoint % in it', p_checkpoint_id
                USING ERRCODE = '{no_checkpoint}';
        END IF;
        IF head = p_checkpoint_id THEN p_checkpoint_id := NULL; END IF;
    END IF;
    PERFORM user_sessions_copy(p_source, p_target, p_checkpoint_id);
    IF s.id IS NOT NULL THEN
        RETURN QUERY INSERT INTO user_sessions
            (user_id, thread_id, title, title_source, is_active, updated_at, metadata, status)
        VALUES (s.user_id, p_target, coalesce(p_title, s.title),
            CASE WHEN p_title IS NULL THEN s.title_source ELSE 'user' END,
            p_user_id IS NOT NULL OR s.is_active,
            CASE WHEN p_user_id IS NULL THEN s.updated_at - interval '1 microsecond' ELSE now() END,
            s.metadata, user_sessions_status(p_target))
        RETURNING *;
    END IF;
END $$"""
