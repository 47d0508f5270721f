"""The server, and a clean database for each entrant of a measure."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Final

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from tests.benchmark.entrants import ByHand, Ours, Parent
from tests.benchmark.work import chat
from tests.servers import Server

# The server flushes nothing to the disk, as that of the tests: what a disk takes is nobody's, and
# what other programs write to it would be measured. A checkpoint in the middle would have whole
# pages written to the WAL anew.
SETTINGS: Final = (
    "max_connections=200",
    "checkpoint_timeout=1h",
    "max_wal_size=8GB",
)
SESSIONS: Final = 1000  # That a database begins with, so that it is planned for as one in use.
BATCH: Final = 10_000

# A user for each session, whose thread is a copy of one real turn's newest checkpoint.
_THREADS: Final = """
CREATE TEMPORARY TABLE threads AS
SELECT i, 'old-' || i AS user_id, 'old-' || i || '_' || md5(i::text)::uuid AS thread_id
FROM generate_series(%(first)s::int, %(last)s) AS i"""
_NEWEST: Final = "FROM checkpoints WHERE thread_id = 'turn' ORDER BY checkpoint_id DESC LIMIT 1"
_COPIES: Final = (
    f"""
INSERT INTO checkpoints SELECT t.thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id,
    type, checkpoint, metadata || jsonb_build_object('user_id', user_id)
FROM threads AS t, (SELECT * {_NEWEST}) AS newest""",
    f"""
INSERT INTO checkpoint_blobs SELECT t.thread_id, b.checkpoint_ns, channel, version, b.type, blob
FROM threads AS t, (SELECT * {_NEWEST}) AS newest, checkpoint_blobs AS b
WHERE b.thread_id = 'turn' AND newest.checkpoint -> 'channel_versions' ->> channel = version""",
)
# What an older tool left behind, which our `setup` takes over with its rows: see the README.
_OLDER_TABLE: Final = """
CREATE TABLE user_sessions (
    id SERIAL PRIMARY KEY, user_id VARCHAR(255) NOT NULL, thread_id VARCHAR(255) UNIQUE NOT NULL,
    title VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, is_active BOOLEAN DEFAULT TRUE)"""
_OLD_SESSIONS: Final = """
INSERT INTO {} (user_id, thread_id, title)
SELECT metadata ->> 'user_id', thread_id, 'A chat' FROM checkpoints"""


def old_thread(number: int) -> tuple[str, str]:
    """Return the user and the thread id of an old session."""
    digest = uuid.UUID(hashlib.md5(str(number).encode()).hexdigest())
    return f"old-{number}", f"old-{number}_{digest}"


class Databases:
    """The databases of the entrants, one for each kind, with old sessions in them.

    All measures share them, each with users of its own: making and dropping one takes a second.
    """

    def __init__(
        self,
        conninfo: str,
        sessions: int = SESSIONS,
        seconds: float = inf,
        *,
        by_hand: bool = True,
    ) -> None:
        """Make them on the server of *conninfo*, with so many old *sessions*.

        With fewer, if that takes more than so many *seconds*; `sessions` is how many there are.
        What people write by hand has one, too, unless *by_hand* is false.
        """
        self._conninfo = conninfo
        self._name = f"bench_{uuid.uuid4().hex[:8]}"
        self._kinds: list[str] = []
        try:
            self._create(Parent.name)
            self.sessions = fill(self.url(Parent), sessions, time.monotonic() + seconds)
            self._make_ours()
            if by_hand:
                self._make_by_hand()
        except BaseException:
            self.close()
            raise

    def _make_ours(self) -> None:
        self._create(Ours.name, template=Parent.name)
        with self._connected(Ours) as conn:
            conn.execute(_OLDER_TABLE)
            conn.execute(_OLD_SESSIONS.format("user_sessions"))
            with SessionSaver(self.url(Ours)) as saver:
                saver.setup()
            conn.execute("VACUUM (ANALYZE)")

    def _make_by_hand(self) -> None:
        self._create(ByHand.name, template=Parent.name)
        with self._connected(ByHand) as conn:
            conn.execute(ByHand.TABLE)
            conn.execute(_OLD_SESSIONS.format("chat_sessions"))
            conn.execute("VACUUM (ANALYZE)")

    def url(self, kind: type[Parent], name: str = "benchmark", server: str = "") -> str:
        """Return the conninfo of a kind's database, with *name* as the application's.

        *server* is another way to the server.
        """
        database = self._database(kind.name)
        return make_conninfo(server or self._conninfo, dbname=database, application_name=name)

    def close(self) -> None:
        """Drop them, unless the server has gone before."""
        for kind in self._kinds:
            with suppress(psycopg.OperationalError):
                self._execute(f"DROP DATABASE IF EXISTS {self._database(kind)} WITH (FORCE)")

    def _database(self, kind: str) -> str:
        return f"{self._name}_{kind.replace(' ', '_')}"

    def _create(self, kind: str, template: str | None = None) -> None:
        source = self._database(template) if template else "template0"
        self._execute(f"CREATE DATABASE {self._database(kind)} TEMPLATE {source}")
        self._kinds.append(kind)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._conninfo, autocommit=True) as conn:
            conn.execute(statement.encode())

    def _connected(self, kind: type[Parent]) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(kind), autocommit=True)


def fill(url: str, sessions: int, until: float) -> int:
    """Make LangGraph's tables, and so many threads in them, while there is time; return how many.

    *until* is by `time.monotonic`.
    """
    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        chat()(saver)({"thread_id": "turn"}, True)
    first = 0
    with psycopg.connect(url, autocommit=True) as conn:
        while first == 0 or (first < sessions and time.monotonic() < until):
            last = min(first + BATCH, sessions) - 1
            conn.execute(_THREADS, {"first": first, "last": last})
            for copy in _COPIES:
                conn.execute(copy.encode())
            conn.execute("DROP TABLE threads")
            first = last + 1
        for table in ("checkpoint_writes", "checkpoint_blobs", "checkpoints"):
            conn.execute(f"DELETE FROM {table} WHERE thread_id = 'turn'".encode())
        conn.execute("VACUUM (ANALYZE)")
    return first


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """Give the conninfo of the server at *url*, else of one of our own, stopped at the end."""
    if url is not None:
        yield url
        return
    own = Server(*SETTINGS)
    try:
        own.start()
        yield own.conninfo
    finally:
        own.remove()
