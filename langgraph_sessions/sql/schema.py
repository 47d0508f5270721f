"""The tables, and how they come about.

Our migrations have a version table of their own: LangGraph's version is the index into
its own list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph_sessions.errors import SessionError
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.plans import Execute, Fetch, Plan
from langgraph_sessions.sql import functions

# The first seven columns are the contract's. The ALTERs bring a table of the older tool
# (SERIAL, TIMESTAMP, nullable) to the same shape and do nothing to a new one; its naive
# times are read in the connection's time zone, in which that tool's CURRENT_TIMESTAMP was cast:
# the server's unless told otherwise.
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
        CHECK (title_source IN ('default', 'message', 'model', 'user')),
    ADD COLUMN titler_called BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN last_save TEXT,
    ADD COLUMN status TEXT NOT NULL DEFAULT 'idle'
        CHECK (status IN ('idle', 'interrupted', 'error'))""",
    # A sequence that only the default names becomes the column's; where there is none, one is made.
    """
DO $$ DECLARE sequence text := pg_get_serial_sequence('user_sessions', 'id');
BEGIN
    IF sequence IS NULL THEN
        SELECT s.oid::regclass INTO sequence
        FROM pg_attribute AS a JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
        JOIN pg_class AS s ON p.refclassid = 'pg_class'::regclass AND s.oid = p.refobjid
            AND s.relkind = 'S'
        WHERE a.attrelid = 'user_sessions'::regclass AND a.attname = 'id';
        IF sequence IS NULL THEN
            CREATE SEQUENCE user_sessions_id_seq;
            sequence := 'user_sessions_id_seq';
            PERFORM setval(sequence, coalesce(max(id), 0) + 1, FALSE) FROM user_sessions;
            ALTER TABLE user_sessions ALTER id SET DEFAULT nextval('user_sessions_id_seq');
        END IF;
        EXECUTE format('ALTER SEQUENCE %s OWNED BY user_sessions.id', sequence);
    END IF;
    EXECUTE format('ALTER SEQUENCE %s AS BIGINT', sequence);
END $$""",
    """
CREATE UNIQUE INDEX IF NOT EXISTS user_sessions_thread_id_key ON user_sessions (thread_id)""",
    f"""
UPDATE user_sessions SET title_source = 'user' WHERE title <> '{DEFAULT_TITLE}'""",
)

# A user: preferences, and the thread id set aside for the next session, see
# statements.open_reserved.
_USERS = """
CREATE TABLE session_users (
    user_id             VARCHAR(255) PRIMARY KEY,
    reserved_thread_id  VARCHAR(255),
    preferences         JSONB NOT NULL DEFAULT '{}'
)"""

# The order of every listing. The title is in the first for searches, which then need not visit
# the rows; the current session is the first row of the second. Few sessions wait for something,
# so that the third is small. Everybody's lists are set apart by NULLS LAST, see
# `statements._order`: in the same order, one of their indexes would be chosen for a user with many
# sessions, too, and read through everybody else's.
_INDEXES = (
    """CREATE INDEX user_sessions_user_idx ON user_sessions (user_id, updated_at DESC, id DESC)
    INCLUDE (title, is_active)""",
    """CREATE INDEX user_sessions_active_idx
    ON user_sessions (user_id, is_active, updated_at DESC, id DESC)""",
    """CREATE INDEX user_sessions_status_idx
    ON user_sessions (user_id, status, updated_at DESC, id DESC) WHERE status <> 'idle'""",
    """CREATE INDEX user_sessions_recent_idx
    ON user_sessions (updated_at DESC NULLS LAST, id DESC NULLS LAST)""",
    """CREATE INDEX user_sessions_recent_active_idx
    ON user_sessions (is_active, updated_at DESC NULLS LAST, id DESC)""",
    """CREATE INDEX user_sessions_recent_status_idx
    ON user_sessions (status, updated_at DESC NULLS LAST, id DESC NULLS LAST)
    WHERE status <> 'idle'""",
)

# Of the sessions that an older tool made, whose threads may wait for something.
_STATUSES = """
UPDATE user_sessions SET status = user_sessions_status(thread_id)
WHERE user_sessions_status(thread_id) <> 'idle'"""

# The position of a migration is its version, from 1.
MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (*_TABLE, _USERS, *_INDEXES, *functions.ALL, _STATUSES),
)

VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS user_sessions_migrations (
    version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
)"""
_TABLES = """
SELECT to_regclass('checkpoint_migrations') IS NOT NULL AS langgraph,
    to_regclass('user_sessions_migrations') IS NOT NULL AS sessions"""
LANGGRAPH_VERSION = "SELECT coalesce(max(v), -1) AS version FROM checkpoint_migrations"
SESSIONS_VERSION = "SELECT coalesce(max(version), 0) AS version FROM user_sessions_migrations"
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
    (checkpoints,) = yield Fetch(LANGGRAPH_VERSION)
    (sessions,) = yield Fetch(SESSIONS_VERSION)
    _refuse_newer(sessions["version"])
    return bool(checkpoints["version"] >= len(langgraph) - 1) and bool(
        sessions["version"] == len(MIGRATIONS)
    )


def _refuse_newer(version: int) -> None:
    if version > len(MIGRATIONS):
        raise SessionError(
            f"the database has user_sessions version {version}, made by a newer "
            f"langgraph-sessions; this one knows {len(MIGRATIONS)}: upgrade the package"
        )


def migrate(langgraph: Sequence[str]) -> Plan[None]:
    """Bring both packages' tables up to date; to be run in one transaction.

    *langgraph* is LangGraph's own list of migrations. Their indexes are built without
    CONCURRENTLY, which no transaction allows and whose waiting for one another is what
    makes several set-ups at once fail. What results is the same.

    Raises:
        SessionError: Our tables are newer than this version of the package.
    """
    yield Fetch(_LOCK)
    yield Execute(langgraph[0])
    (checkpoints,) = yield Fetch(LANGGRAPH_VERSION)
    for version in range(checkpoints["version"] + 1, len(langgraph)):
        yield Execute(langgraph[version].replace("CONCURRENTLY", ""))
        yield Execute("INSERT INTO checkpoint_migrations (v) VALUES (%(v)s)", {"v": version})
    yield Execute(VERSION_TABLE)
    (sessions,) = yield Fetch(SESSIONS_VERSION)
    _refuse_newer(sessions["version"])
    for version in range(sessions["version"] + 1, len(MIGRATIONS) + 1):
        for statement in MIGRATIONS[version - 1]:
            yield Execute(statement)
        yield Execute(
            "INSERT INTO user_sessions_migrations (version) VALUES (%(version)s)",
            {"version": version},
        )
