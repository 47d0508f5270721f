"""The tables, as the migrations that make them.

Our migrations have a version table of their own: LangGraph's version is the index into its own
list. The functions have another, since they have a number of their own, see `sql.functions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from langgraph_sessions.models import DEFAULT_TITLE


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of the tables. Once it is released, it never changes: add another.

    Attributes:
        statements: Statements that make it of the version before.
        finish: Statements that call our functions, such as back-fills or indexes: executed after
            all migrations and after the functions. A back-fill of what a later migration drops
            belongs into `statements`, without the functions.
        breaking: Whether workers of the version before cannot go on beside it: they refuse the
            database then. To drop or rename a column is breaking; to add one with a default,
            or an index, is not.
    """

    statements: tuple[str, ...]
    finish: tuple[str, ...] = ()
    breaking: bool = False


VERSION_TABLES: Final = (
    """
CREATE TABLE IF NOT EXISTS user_sessions_migrations (
    version     INTEGER PRIMARY KEY,
    applied_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    breaking    BOOLEAN NOT NULL DEFAULT FALSE
)""",
    """
CREATE TABLE IF NOT EXISTS user_sessions_functions (
    version     INTEGER PRIMARY KEY,
    applied_at  TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
)""",
)


def _time(column: str) -> str:
    """Return SQL for an older tool's time, NULL for one that is none.

    Such as an infinite one, or one that is further ahead than any two zones are apart.
    """
    return (
        f"CASE WHEN {column} BETWEEN '0001-01-10' AND localtimestamp + interval '26 hours' "
        f"THEN {column} END"
    )


# The first seven columns are the contract's. The ALTERs bring a table of the older tool
# (SERIAL, TIMESTAMP, nullable) to the same shape and do nothing to a new one; its naive
# times are read in the connection's time zone, in which that tool's CURRENT_TIMESTAMP was cast:
# the server's unless told otherwise.
# What runs change stands together, before what may be long: of an updated row, PostgreSQL logs
# what lies between the first byte that has changed and the last.
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
UPDATE user_sessions AS s SET
    title = coalesce(title, '{DEFAULT_TITLE}'),
    created_at = coalesce(created, updated, CURRENT_TIMESTAMP),
    updated_at = coalesce(updated, created, CURRENT_TIMESTAMP),
    is_active = coalesce(is_active, TRUE)
FROM (SELECT id AS of, {_time("created_at")} AS created, {_time("updated_at")} AS updated
    FROM user_sessions) AS times
WHERE id = of AND (title IS NULL OR created IS NULL OR updated IS NULL OR is_active IS NULL)""",
    """
ALTER TABLE user_sessions
    ALTER id TYPE BIGINT,
    ALTER title SET NOT NULL,
    ALTER created_at TYPE TIMESTAMPTZ, ALTER created_at SET NOT NULL,
    ALTER created_at SET DEFAULT CURRENT_TIMESTAMP,
    ALTER updated_at TYPE TIMESTAMPTZ, ALTER updated_at SET NOT NULL,
    ALTER updated_at SET DEFAULT CURRENT_TIMESTAMP,
    ALTER is_active SET NOT NULL, ALTER is_active SET DEFAULT TRUE,
    ADD COLUMN current_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP,
    ADD COLUMN status TEXT NOT NULL DEFAULT 'idle'
        CHECK (status IN ('idle', 'interrupted', 'error')),
    ADD COLUMN metadata JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN agent VARCHAR(255),
    ADD COLUMN forked_from TEXT[] CHECK (array_ndims(forked_from) = 1
        AND cardinality(forked_from) = 2 AND array_position(forked_from, NULL) IS NULL),
    ADD COLUMN title_source TEXT NOT NULL DEFAULT 'default'
        CHECK (title_source IN ('default', 'message', 'model', 'user')),
    ADD COLUMN titler_tries INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN titler_called TIMESTAMPTZ""",
    # An application east of the server's zone left times that lie ahead: all of them are moved back
    # by as much, in seconds, which keeps their order. A new table has no rows.
    """
UPDATE user_sessions SET created_at = created_at - ahead, updated_at = updated_at - ahead
FROM (SELECT make_interval(secs => extract(epoch FROM
        max(greatest(created_at, updated_at)) - CURRENT_TIMESTAMP)::float8) AS ahead
    FROM user_sessions) AS times WHERE ahead > interval '0'""",
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
UPDATE user_sessions SET current_at = updated_at,
    title_source = CASE WHEN title = '{DEFAULT_TITLE}' THEN title_source ELSE 'user' END""",
)

# A session's thread: what each save of a run touches. Narrow, and without an index beside its key,
# so that a save writes a few bytes: whose the thread is, and which save came last, see
# `user_sessions_check`. A session and its thread are made, and deleted, in one transaction; who
# changes a thread locks this row first.
_THREADS = (
    """
CREATE TABLE session_threads (
    thread_id  TEXT PRIMARY KEY,
    user_id    VARCHAR(255) NOT NULL,
    last_save  TEXT
) WITH (fillfactor = 50)""",
    """
INSERT INTO session_threads (thread_id, user_id) SELECT thread_id, user_id FROM user_sessions""",
)

# A user's preferences.
_USERS = """
CREATE TABLE session_users (
    user_id      VARCHAR(255) PRIMARY KEY,
    preferences  JSONB NOT NULL DEFAULT '{}'
)"""

# The thread id set aside for a user's next session, see `sql.opening._RESERVE`: with each agent,
# '' for none, since no part of a key is NULL.
_RESERVATIONS = """
CREATE TABLE session_reservations (
    user_id    VARCHAR(255),
    agent      VARCHAR(255),
    thread_id  VARCHAR(255) NOT NULL,
    PRIMARY KEY (user_id, agent)
)"""

# The order of every listing. The title is in the first for searches, which then need not visit
# the rows; the current session is the first row of the third. Few sessions wait for something,
# so that the fourth is small. Everybody's lists are set apart by NULLS LAST, see
# `listing._order`: in the same order, one of their indexes would be chosen for a user with many
# sessions, too, and read through everybody else's. So are those of a user with an agent; and
# everybody's of an agent by `agent || ''`: statistics that do not know a new agent yet promise
# that it has no sessions. Sessions without an agent have no entries in these, and cost no more.
_INDEXES = (
    """CREATE INDEX user_sessions_user_idx ON user_sessions (user_id, updated_at DESC, id DESC)
    INCLUDE (title, is_active)""",
    """CREATE INDEX user_sessions_active_idx
    ON user_sessions (user_id, is_active, updated_at DESC, id DESC)""",
    """CREATE INDEX user_sessions_current_idx
    ON user_sessions (user_id, current_at DESC, id DESC)
    WHERE is_active AND current_at IS NOT NULL""",
    """CREATE INDEX user_sessions_status_idx
    ON user_sessions (user_id, status, updated_at DESC, id DESC) WHERE status <> 'idle'""",
    """CREATE INDEX user_sessions_recent_idx
    ON user_sessions (updated_at DESC NULLS LAST, id DESC NULLS LAST)""",
    """CREATE INDEX user_sessions_recent_active_idx
    ON user_sessions (is_active, updated_at DESC NULLS LAST, id DESC)""",
    """CREATE INDEX user_sessions_recent_status_idx
    ON user_sessions (status, updated_at DESC NULLS LAST, id DESC NULLS LAST)
    WHERE status <> 'idle'""",
    """CREATE INDEX user_sessions_agent_idx
    ON user_sessions (user_id, agent, updated_at DESC, id DESC NULLS LAST)
    INCLUDE (title, is_active) WHERE agent IS NOT NULL""",
    """CREATE INDEX user_sessions_agent_current_idx
    ON user_sessions (user_id, agent, current_at DESC, id DESC NULLS LAST)
    WHERE agent IS NOT NULL AND is_active AND current_at IS NOT NULL""",
    """CREATE INDEX user_sessions_recent_agent_idx
    ON user_sessions ((agent || ''), updated_at DESC NULLS LAST, id DESC NULLS LAST)
    WHERE agent IS NOT NULL""",
)

# The statuses of sessions that an older tool made: their threads may wait for something.
_STATUSES = """
UPDATE user_sessions SET status = user_sessions_status(thread_id)
WHERE user_sessions_status(thread_id) <> 'idle'"""

# The position of a migration is its version, from 1.
MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration((*_TABLE, *_THREADS, _USERS, _RESERVATIONS, *_INDEXES), finish=(_STATUSES,)),
)
