"""The session manager's statements about a certain session."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final

from psycopg.types.json import Jsonb

from langgraph_sessions.json_checks import METADATA_SIZE
from langgraph_sessions.plans import Params, Statement
from langgraph_sessions.sql.rows import OF_AGENT, SESSION, and_agent, current


@dataclass(frozen=True, kw_only=True)
class CreateSession(Statement):
    """Insert a session.

    ON CONFLICT DO NOTHING and `user_sessions_free`: an id that any thread has is refused, not taken
    over.
    """

    repeatable = False

    user_id: str
    thread_id: str
    title: str
    title_source: str
    metadata: dict[str, Any] = field(default_factory=dict)
    agent: str | None = None
    at: datetime | None = None

    sql: ClassVar[str] = f"""
WITH thread AS (
    INSERT INTO session_threads (thread_id, user_id) SELECT %(thread_id)s::text, %(user_id)s
    WHERE user_sessions_free(%(thread_id)s::text)
    ON CONFLICT (thread_id) DO NOTHING RETURNING user_id, thread_id
)
INSERT INTO user_sessions
    (user_id, thread_id, agent, title, title_source, metadata, created_at, updated_at, current_at)
SELECT user_id, thread_id, %(agent)s, %(title)s, %(title_source)s, %(metadata)s::jsonb,
    coalesce(%(at)s::timestamptz, now()), used, used
FROM thread, LATERAL (
    SELECT coalesce(%(at)s::timestamptz, user_sessions_latest(user_id)) AS used) AS times
RETURNING {SESSION}"""

    @property
    def params(self) -> Params:
        return {**vars(self), "metadata": Jsonb(self.metadata)}


@dataclass(frozen=True, kw_only=True)
class CreateGivenSession(CreateSession):
    """Insert a session on a thread id that the caller chose.

    Memory cannot answer it: only the database knows whether the id is in use.
    """


@dataclass(frozen=True)
class GetCurrent(Statement):
    """Return the user's current session."""

    user_id: str
    agent: str | None = None

    @property
    def sql(self) -> str:
        return f"SELECT {SESSION} FROM ({current(self.agent)}) AS s"


@dataclass(frozen=True)
class GetSession(Statement):
    """Return a certain session of the user's."""

    user_id: str
    thread_id: str
    agent: str | None = None

    sql: ClassVar[str] = f"""
SELECT {SESSION} FROM user_sessions
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s AND {OF_AGENT}"""


@dataclass(frozen=True)
class GetConversation(GetSession):
    """Return a certain session of the user's, whose thread is read next."""


@dataclass(frozen=True, kw_only=True)
class UpdateSession(Statement):
    """Change a session; without a thread id, the current one. Keys of metadata may be removed."""

    user_id: str
    thread_id: str | None = None
    title: str | None = None
    is_active: bool | None = None
    metadata: dict[str, Any] | None = None
    removed: Sequence[str] = ()
    agent: str | None = None

    @property
    def sql(self) -> str:
        return f"""
UPDATE user_sessions SET
    title = coalesce(%(title)s::text, title),
    title_source = CASE WHEN %(title)s::text IS NULL THEN title_source ELSE 'user' END,
    is_active = coalesce(%(is_active)s::boolean, is_active),
    metadata = CASE WHEN %(metadata)s::jsonb IS NULL THEN metadata ELSE user_sessions_within(
        (metadata || %(metadata)s::jsonb) - %(removed)s::text[], %(size)s) END
WHERE user_id = %(user_id)s AND {OF_AGENT}
AND thread_id = coalesce(%(thread_id)s::text, (SELECT thread_id FROM ({current(self.agent)}) AS s))
RETURNING {SESSION}"""

    @property
    def params(self) -> Params:
        metadata = None if self.metadata is None else Jsonb(self.metadata)
        removed = [*self.removed]
        return {**vars(self), "metadata": metadata, "removed": removed, "size": METADATA_SIZE}


@dataclass(frozen=True)
class SwitchSession(Statement):
    """Make a session current, and active."""

    user_id: str
    thread_id: str
    agent: str | None = None
    at: datetime | None = None

    sql: ClassVar[str] = f"""
UPDATE user_sessions SET is_active = TRUE,
    updated_at = greatest(updated_at, used), current_at = greatest(updated_at, used)
FROM (SELECT coalesce(
    %(at)s::timestamptz, user_sessions_latest(%(user_id)s)) AS used) AS times
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s AND {OF_AGENT}
RETURNING {SESSION}"""


@dataclass(frozen=True)
class DeactivateSessions(Statement):
    """Deactivate a session, or all of the user's; count them."""

    repeatable = False

    user_id: str
    thread_id: str | None
    agent: str | None = None

    sql: ClassVar[str] = f"""
WITH deactivated AS (
    UPDATE user_sessions SET is_active = FALSE
    WHERE user_id = %(user_id)s AND is_active AND {OF_AGENT}
    AND (%(thread_id)s::text IS NULL OR thread_id = %(thread_id)s::text)
    RETURNING 1
) SELECT count(*) AS count FROM deactivated"""


@dataclass(frozen=True)
class HasSession(Statement):
    """Say, by a count of 1 or 0, whether the user has an active session."""

    user_id: str
    agent: str | None = None

    @property
    def sql(self) -> str:
        return f"""
SELECT EXISTS (
    SELECT 1 FROM user_sessions WHERE user_id = %(user_id)s{and_agent(self.agent)} AND is_active
)::int AS count"""


TITLER_TRIES: Final = 3  # How often a titler is called for a session, if it fails.


@dataclass(frozen=True)
class ClaimTitle(Statement):
    """Mark a session as one whose titler is called: by one of all processes at a time.

    Of one that was called, and of which nothing was heard for long, the process has ended. What
    somebody, or a model, titled keeps its title.
    """

    repeatable = False

    thread_id: str
    agent: str | None = None

    sql: ClassVar[str] = f"""
UPDATE user_sessions SET titler_tries = titler_tries + 1, titler_called = now()
WHERE thread_id = %(thread_id)s AND titler_tries < {TITLER_TRIES}
AND title_source IN ('default', 'message') AND {OF_AGENT}
AND (titler_called IS NULL OR titler_called < now() - interval '5 minutes')
RETURNING id"""


@dataclass(frozen=True)
class ReleaseTitle(Statement):
    """Note that a session's titler failed: the next turn may call it again."""

    thread_id: str

    sql: ClassVar[str] = """
UPDATE user_sessions SET titler_called = NULL WHERE thread_id = %(thread_id)s RETURNING id"""


@dataclass(frozen=True)
class SetModelTitle(Statement):
    """Give a session the title that a model suggests, unless somebody gave it one."""

    thread_id: str
    title: str

    sql: ClassVar[str] = f"""
UPDATE user_sessions SET title = %(title)s, title_source = 'model', titler_called = NULL
WHERE thread_id = %(thread_id)s AND title_source <> 'user'
RETURNING {SESSION}"""


@dataclass(frozen=True)
class SetLockTimes(Statement):
    """Set, for this transaction alone, the time-outs of a session's lock.

    The server ends the transaction within a minute if the client's machine is gone, and never
    because it is idle: the run that holds the lock may take long.
    """

    milliseconds: str

    sql: ClassVar[str] = """
SELECT set_config('lock_timeout', %(milliseconds)s, TRUE),
    set_config('statement_timeout', '0', TRUE),
    set_config('idle_in_transaction_session_timeout', '0', TRUE),
    set_config('tcp_keepalives_idle', '30', TRUE),
    set_config('tcp_keepalives_interval', '10', TRUE),
    set_config('tcp_keepalives_count', '3', TRUE)"""


@dataclass(frozen=True)
class LockSession(Statement):
    """Wait for a session's lock, which is the transaction's; nobody waits for another user.

    Its key has 64 bits, as PostgreSQL's have: of SHA-256, so that nobody can make up a thread id,
    or come by a schema, with the key of another's session. Not of PostgreSQL's own hash functions:
    these can be inverted.
    """

    schema: str | None
    user_id: str
    thread_id: str

    sql: ClassVar[str] = "SELECT pg_advisory_xact_lock(%(key)s::bigint)::text AS locked"

    @property
    def params(self) -> Params:
        """The key."""
        # None of these has a NUL in it: no others are the same text.
        name = f"langgraph_sessions\0{self.schema}\0{self.user_id}\0{self.thread_id}"
        digest = hashlib.sha256(name.encode()).digest()
        return {"key": int.from_bytes(digest[:8], "big", signed=True)}
