"""The functions that live in the database, beside the tables.

They are there for what must happen in one transaction, under one lock, or without the data
leaving the server. Those that copy are in `sql.copy_functions`, the operators' in
`sql.upkeep_functions`.
"""

from __future__ import annotations

from typing import Final

from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.sql import copy_functions, upkeep_functions

# SQLSTATEs that they raise; the classes I to Z are for applications.
NOT_FOUND: Final = "LGS01"
IN_USE: Final = "LGS02"
NO_CHECKPOINT: Final = "LGS03"
CONFLICT: Final = "LGS04"

# Raises when another run has saved to the session since this one loaded it. `p_save` names what is
# being saved, `<run>.<number>`, and becomes the session's `last_save`; `p_seen` is that of when the
# run began. So a run's first save finds what it loaded, and each later one a save of its own.
# What was saved outside a run, or without this package, has no name and is noticed by its
# checkpoint: `p_base` is the newest of the root graph's when the run began, '' for none, NULL for
# a run that started from an older one, and `p_own` is the one being saved. An update of the state,
# which may be by a node of this run, hides, or is hidden, as in LangGraph. Called under the
# session's row lock: of two runs that save at once the second sees what the first saved.
_CHECK = f"""
CREATE OR REPLACE FUNCTION user_sessions_check(
    p_thread_id text, p_checked boolean, p_last_save text, p_save text, p_seen text,
    p_base text, p_own text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT p_checked OR split_part(p_last_save, '.', 1) = split_part(p_save, '.', 1) THEN
        RETURN;
    END IF;
    IF p_last_save IS DISTINCT FROM p_seen OR EXISTS (
        SELECT FROM checkpoints WHERE thread_id = p_thread_id AND checkpoint_ns = ''
        AND checkpoint_id > p_base AND checkpoint_id IS DISTINCT FROM p_own
        AND coalesce(metadata ->> 'source', '') NOT IN ('update', 'fork')
    ) THEN
        RAISE EXCEPTION 'another run of %', p_thread_id USING ERRCODE = '{CONFLICT}';
    END IF;
END $$"""

# A session that is being made has no row to lock: its first checkpoint, and writes that overtake
# that, wait for each other, so that the second sees what the first saved.
_LOCK_NEW = (
    "PERFORM pg_advisory_xact_lock(hashtextextended('langgraph_sessions.new ' || p_thread_id, 0))"
)

# Runs after the checkpoint's statements, in their transaction, and raises to undo them.
# `known`: the session existed when the run began. If it is gone since, it was deleted, and
# the rest of a run does not bring it back. `first`: the run's first save, which makes the
# session current and carries out the run's instructions; the later ones leave all that alone.
# `at`: when it was saved, if the database was away then; NULL: now.
_PUT = f"""
CREATE OR REPLACE FUNCTION user_sessions_put(
    p_user_id text, p_thread_id text, p_known boolean, p_first boolean,
    p_title text, p_message_title text, p_is_active boolean,
    p_checked boolean, p_save text, p_seen text, p_base text, p_own text, p_at timestamptz
) RETURNS SETOF user_sessions LANGUAGE plpgsql AS $$
DECLARE s user_sessions;
BEGIN
    IF NOT p_known THEN
        {_LOCK_NEW};
        INSERT INTO user_sessions
            (user_id, thread_id, title, title_source, is_active, created_at, updated_at,
            last_save, status)
        VALUES (
            p_user_id, p_thread_id,
            coalesce(p_title, p_message_title, '{DEFAULT_TITLE}'),
            CASE WHEN p_title IS NOT NULL THEN 'user'
                 WHEN p_message_title IS NOT NULL THEN 'message' ELSE 'default' END,
            coalesce(p_is_active, TRUE), coalesce(p_at, now()), coalesce(p_at, now()),
            p_save, user_sessions_status(p_thread_id))
        ON CONFLICT (thread_id) DO NOTHING RETURNING * INTO s;
        IF FOUND THEN  -- `p_seen` may be writes of this run that overtook it.
            PERFORM user_sessions_check(
                p_thread_id, p_checked, p_seen, p_save, p_seen, p_base, p_own);
            RETURN NEXT s; RETURN;
        END IF;
    END IF;
    SELECT * INTO s FROM user_sessions WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF NOT FOUND OR s.user_id <> p_user_id THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = '{NOT_FOUND}';
    END IF;
    PERFORM user_sessions_check(
        p_thread_id, p_checked, s.last_save, p_save, p_seen, p_base, p_own);
    IF p_first AND p_title IS NOT NULL THEN
        s.title := p_title; s.title_source := 'user';
    ELSIF s.title_source = 'default' AND p_message_title IS NOT NULL THEN
        s.title := p_message_title; s.title_source := 'message';
    ELSIF NOT p_first AND p_save IS NULL THEN
        RETURN NEXT s; RETURN;
    END IF;
    UPDATE user_sessions SET
        title = s.title, title_source = s.title_source, last_save = coalesce(p_save, last_save),
        status = user_sessions_status(p_thread_id),
        is_active = CASE WHEN p_first THEN coalesce(p_is_active, is_active) ELSE is_active END,
        updated_at = CASE WHEN p_first THEN greatest(updated_at, coalesce(p_at, clock_timestamp()))
                          ELSE updated_at END
    WHERE thread_id = p_thread_id RETURNING * INTO s;
    RETURN NEXT s;
END $$"""

# Beside writes, and beside the checkpoints of runs without a user (`p_user_id` is NULL). Writes are
# checked as checkpoints are: the tasks of the checkpoint that a run starts from are those of every
# other run that starts there, and it may end with their questions.
_GUARD = f"""
CREATE OR REPLACE FUNCTION user_sessions_guard(
    p_user_id text, p_thread_id text, p_known boolean,
    p_checked boolean, p_save text, p_seen text, p_base text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE s user_sessions;
BEGIN
    IF p_user_id IS NOT NULL AND NOT p_known THEN
        {_LOCK_NEW};
    END IF;
    SELECT * INTO s FROM user_sessions WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF s.user_id IS DISTINCT FROM p_user_id AND (s.id IS NOT NULL OR p_known) THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = '{NOT_FOUND}';
    END IF;
    IF s.id IS NOT NULL THEN
        PERFORM user_sessions_check(
            p_thread_id, p_checked, s.last_save, p_save, p_seen, p_base, NULL);
        UPDATE user_sessions SET
            last_save = coalesce(p_save, last_save), status = user_sessions_status(p_thread_id)
        WHERE thread_id = p_thread_id;
    END IF;
END $$"""

# What a session's newest checkpoint waits for, by LangGraph's own pending writes: a task that
# interrupted or failed and has since written no output (whose indexes are not negative).
_STATUS = """
CREATE OR REPLACE FUNCTION user_sessions_status(p_thread_id text)
RETURNS text LANGUAGE sql STABLE AS $$
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
$$"""

ALL: Final = (
    _CHECK,
    _PUT,
    _GUARD,
    copy_functions.LINE,
    copy_functions.COPY,
    copy_functions.copy_session(NOT_FOUND, IN_USE, NO_CHECKPOINT),
    _STATUS,
    upkeep_functions.OWNER,
    upkeep_functions.THREAD_OWNER,
)
