"""The tables, and how they come about.

Our migrations have a version table of their own: LangGraph's version is the index into
its own list. `DEFAULT_TITLE` is what a session is called until somebody says something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph_sessions._drive import Fetch, Plan, Run
from langgraph_sessions.errors import SessionError

DEFAULT_TITLE: Final = "New Chat"

# The first seven columns are the contract's. The ALTERs bring a table of the older tool
# (SERIAL, TIMESTAMP, nullable) to the same shape and do nothing to a new one; its naive
# times are read in the connection's time zone, which is the server's unless told otherwise.
_TABLE = (
    """
CREATE TABLE IF NOT EXISTS user_sessions (
    id          BIGSERIAL PRIMARY KEY,
    user_id     VARCHAR(255) NOT NULL,
    thread_id   VARCHAR(255) UNIQUE NOT NULL,
    title       VARCHAR(255) NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    is_active   BOOLEAN NOT NULL DEFAULT TRUE
)""",
    f"""
UPDATE user_sessions SET
    title = coalesce(title, '{DEFAULT_TITLE}'),
    created_at = coalesce(created_at, updated_at, CURRENT_TIMESTAMP),
    updated_at = coalesce(updated_at, created_at, CURRENT_TIMESTAMP),
    is_active = coalesce(is_active, TRUE)
WHERE title IS NULL OR created_at IS NULL OR updated_at IS NULL OR is_active IS NULL""",
    """
ALTER TABLE user_sessions
    ALTER id TYPE BIGINT,
    ALTER title SET NOT NULL,
    ALTER created_at TYPE TIMESTAMPTZ, ALTER created_at SET NOT NULL,
    ALTER created_at SET DEFAULT CURRENT_TIMESTAMP,
    ALTER updated_at TYPE TIMESTAMPTZ, ALTER updated_at SET NOT NULL,
    ALTER updated_at SET DEFAULT CURRENT_TIMESTAMP,
    ALTER is_active SET NOT NULL, ALTER is_active SET DEFAULT TRUE,
    ADD COLUMN metadata JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN title_source TEXT NOT NULL DEFAULT 'default'
        CHECK (title_source IN ('default', 'message', 'user'))""",
    """
DO $$ BEGIN
    EXECUTE format('ALTER SEQUENCE %s AS BIGINT',
        pg_get_serial_sequence('user_sessions', 'id'));
END $$""",
    """
CREATE UNIQUE INDEX IF NOT EXISTS user_sessions_thread_id_key ON user_sessions (thread_id)""",
    f"""
UPDATE user_sessions SET title_source = 'user' WHERE title <> '{DEFAULT_TITLE}'""",
)

# A user: the thread id set aside for the next session, see _sql.open_reserved.
_USERS = """
CREATE TABLE session_users (
    user_id             VARCHAR(255) PRIMARY KEY,
    reserved_thread_id  VARCHAR(255)
)"""

# The order of every listing; the current session is the first row of the second.
_INDEXES = (
    "CREATE INDEX user_sessions_user_idx ON user_sessions (user_id, updated_at DESC, id DESC)",
    """CREATE INDEX user_sessions_active_idx ON user_sessions (user_id, updated_at DESC, id DESC)
    WHERE is_active""",
    "CREATE INDEX user_sessions_recent_idx ON user_sessions (updated_at DESC, id DESC)",
)

# Runs after the checkpoint's statements, in their transaction, and raises to undo them.
# `known`: the session existed when the run began. If it is gone since, it was deleted, and
# the rest of a run does not bring it back. `first`: the run's first save, which makes the
# session current and carries out the run's instructions; the later ones leave all that alone.
_PUT = f"""
CREATE OR REPLACE FUNCTION user_sessions_put(
    p_user_id text, p_thread_id text, p_known boolean, p_first boolean,
    p_title text, p_message_title text, p_is_active boolean
) RETURNS SETOF user_sessions LANGUAGE plpgsql AS $$
DECLARE s user_sessions;
BEGIN
    IF NOT p_known THEN
        INSERT INTO user_sessions (user_id, thread_id, title, title_source, is_active)
        VALUES (
            p_user_id, p_thread_id,
            coalesce(p_title, p_message_title, '{DEFAULT_TITLE}'),
            CASE WHEN p_title IS NOT NULL THEN 'user'
                 WHEN p_message_title IS NOT NULL THEN 'message' ELSE 'default' END,
            coalesce(p_is_active, TRUE))
        ON CONFLICT (thread_id) DO NOTHING RETURNING * INTO s;
        IF FOUND THEN RETURN NEXT s; RETURN; END IF;
    END IF;
    SELECT * INTO s FROM user_sessions WHERE thread_id = p_thread_id FOR NO KEY UPDATE;
    IF NOT FOUND OR s.user_id <> p_user_id THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = 'LGS01';
    END IF;
    IF p_first AND p_title IS NOT NULL THEN
        s.title := p_title; s.title_source := 'user';
    ELSIF s.title_source = 'default' AND p_message_title IS NOT NULL THEN
        s.title := p_message_title; s.title_source := 'message';
    ELSIF NOT p_first THEN
        RETURN NEXT s; RETURN;
    END IF;
    UPDATE user_sessions SET
        title = s.title, title_source = s.title_source,
        is_active = CASE WHEN p_first THEN coalesce(p_is_active, is_active) ELSE is_active END,
        updated_at = CASE WHEN p_first THEN clock_timestamp() ELSE updated_at END
    WHERE thread_id = p_thread_id RETURNING * INTO s;
    RETURN NEXT s;
END $$"""

# Beside writes, and beside the checkpoints of runs without a user (`p_user_id` is NULL).
# The row is locked so that a deletion under way is waited for, not overtaken.
_GUARD = """
CREATE OR REPLACE FUNCTION user_sessions_guard(p_user_id text, p_thread_id text, p_known boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE owner text;
BEGIN
    SELECT user_id INTO owner FROM user_sessions
    WHERE thread_id = p_thread_id FOR KEY SHARE;
    IF owner IS DISTINCT FROM p_user_id AND (owner IS NOT NULL OR p_known) THEN
        RAISE EXCEPTION 'no session % of this user', p_thread_id USING ERRCODE = 'LGS01';
    END IF;
END $$"""

# The session goes first: its row lock waits for saves under way, and the deletes after it
# take a new snapshot that sees what those saved.
_DELETE = """
CREATE OR REPLACE FUNCTION user_sessions_delete(p_thread_ids text[], p_user_id text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE owned text[]; owners text[];
BEGIN
    WITH deleted AS (
        DELETE FROM user_sessions
        WHERE thread_id = ANY (p_thread_ids) AND (p_user_id IS NULL OR user_id = p_user_id)
        RETURNING thread_id, user_id
    ) SELECT coalesce(array_agg(thread_id), '{}'), array_agg(user_id)
    INTO owned, owners FROM deleted;
    UPDATE session_users SET reserved_thread_id = NULL
    WHERE user_id = ANY (owners) AND reserved_thread_id = ANY (owned);
    IF p_user_id IS NOT NULL THEN p_thread_ids := owned; END IF;
    DELETE FROM checkpoints WHERE thread_id = ANY (p_thread_ids);
    DELETE FROM checkpoint_blobs WHERE thread_id = ANY (p_thread_ids);
    DELETE FROM checkpoint_writes WHERE thread_id = ANY (p_thread_ids);
    RETURN cardinality(owned);
END $$"""

# The position of a migration is its version, from 1.
MIGRATIONS: Final[Sequence[Sequence[str]]] = ((*_TABLE, _USERS, *_INDEXES, _PUT, _GUARD, _DELETE),)

_VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS user_sessions_migrations (
    version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
)"""
_TABLES = """
SELECT to_regclass('checkpoint_migrations') IS NOT NULL AS langgraph,
    to_regclass('user_sessions_migrations') IS NOT NULL AS sessions"""
_LANGGRAPH_VERSION = "SELECT coalesce(max(v), -1) AS version FROM checkpoint_migrations"
_SESSIONS_VERSION = "SELECT coalesce(max(version), 0) AS version FROM user_sessions_migrations"
# Held to the end of the transaction, never by the connection: behind a pooler in
# transaction mode, a lock of the connection would be somebody else's a moment later.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('langgraph_sessions.migrations'))"


def is_current(langgraph: Sequence[str]) -> Plan[bool]:
    """Say whether both packages' tables are there and up to date.

    Raises:
        SessionError: Our tables are newer than this version of the package.
    """
    (tables,) = yield Fetch(_TABLES)
    if not (tables["langgraph"] and tables["sessions"]):
        return False
    (checkpoints,) = yield Fetch(_LANGGRAPH_VERSION)
    (sessions,) = yield Fetch(_SESSIONS_VERSION)
    if sessions["version"] > len(MIGRATIONS):
        raise SessionError(
            f"the database has user_sessions version {sessions['version']}, made by a newer "
            f"langgraph-sessions; this one knows {len(MIGRATIONS)}: upgrade the package"
        )
    return bool(checkpoints["version"] >= len(langgraph) - 1) and bool(
        sessions["version"] == len(MIGRATIONS)
    )


def migrate(langgraph: Sequence[str]) -> Plan[None]:
    """Bring both packages' tables up to date; to be run in one transaction.

    *langgraph* is LangGraph's own list of migrations. Their indexes are built without
    CONCURRENTLY, which no transaction allows and whose waiting for one another is what
    makes several set-ups at once fail. What results is the same.
    """
    yield Fetch(_LOCK)
    yield Run(langgraph[0])
    (checkpoints,) = yield Fetch(_LANGGRAPH_VERSION)
    for version in range(checkpoints["version"] + 1, len(langgraph)):
        yield Run(langgraph[version].replace("CONCURRENTLY", ""))
        yield Run("INSERT INTO checkpoint_migrations (v) VALUES (%(v)s)", {"v": version})
    yield Run(_VERSION_TABLE)
    (sessions,) = yield Fetch(_SESSIONS_VERSION)
    for version in range(sessions["version"] + 1, len(MIGRATIONS) + 1):
        for statement in MIGRATIONS[version - 1]:
            yield Run(statement)
        yield Run(
            "INSERT INTO user_sessions_migrations (version) VALUES (%(version)s)",
            {"version": version},
        )
