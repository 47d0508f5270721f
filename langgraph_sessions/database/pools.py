"""The pools that the savers open: what they check, how they heal, and where they lead."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, Capabilities, Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions.sql import place

# Seconds to wait for a server that may never answer; libpq's default is for ever.
CONNECT_TIMEOUT: Final = 5
# Not prepared, until `_PREPARE` has said that it is safe.
CONNECTION_OPTIONS: Final[dict[str, Any]] = {"autocommit": True, "prepare_threshold": None}
# libpq's, where the conninfo does not say otherwise: a server that vanished, and a network that
# swallows everything, are noticed within half a minute.
NETWORK: Final = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # Milliseconds.
}
POOL_SIZE: Final = 10
# Without it, libpq's before 14, what is sent together is a transaction of several round trips.
HAS_PIPELINE: Final = Capabilities().has_pipeline()
WAIT: Final = 10.0  # Seconds to wait for a free connection.
# A pool's tries to connect come ever more seldom; after so many seconds it begins again. Must
# be below WAIT, or those who wait give up first.
RECONNECT: Final = 4.0
# What psycopg.connect takes for itself; everything else is libpq's.
PSYCOPG_OPTIONS: Final = frozenset(
    {"autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory"}
)

# A server's process is not that of which its pooler told the client: behind one, another client's
# statement of the same name could be executed. Without one, the connection is ours alone: READ
# COMMITTED, for which the locks are made, whatever the database's default, and without a search
# path past our tables.
_PREPARE: Final = f"""
SELECT is_ours, CASE
    WHEN is_ours AND current_setting('default_transaction_isolation') <> 'read committed'
    THEN set_config('default_transaction_isolation', 'read committed', FALSE) END,
    CASE WHEN is_ours AND current_schema() IS NOT NULL
    THEN set_config('search_path', {place.PINNED}, FALSE) END
FROM (SELECT pg_backend_pid() = %(pid)s AS is_ours) AS process"""


def _prepare(conn: Connection[Any]) -> None:
    """Have a new connection of ours prepare statements, if none of them can be another's."""
    row = conn.execute(_PREPARE, {"pid": conn.info.backend_pid}).fetchone()
    conn.prepare_threshold = 0 if row and row[0] else None


async def _aprepare(conn: AsyncConnection[Any]) -> None:
    """Async version of `_prepare`."""
    row = await (await conn.execute(_PREPARE, {"pid": conn.info.backend_pid})).fetchone()
    conn.prepare_threshold = 0 if row and row[0] else None


def _options(conninfo: str, size: int) -> dict[str, Any]:
    given = conninfo_to_dict(conninfo) if conninfo else {}
    network = {key: value for key, value in NETWORK.items() if key not in given}
    return {
        "kwargs": {**CONNECTION_OPTIONS, **network},
        "min_size": 1,
        "max_size": size,
        "open": False,
        "name": "langgraph-sessions",
        "timeout": WAIT,
        "reconnect_timeout": RECONNECT,
    }


def has_news(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Say whether an idle connection's socket can be read: as a rule, the server closed it.

    That costs no round trip; only then is the server asked.
    """
    if conn.closed:
        return True
    if not hasattr(select, "poll"):  # Windows, where a socket's number has no limit.
        return bool(select.select([conn.pgconn.socket], [], [], 0)[0])
    # Not a selector: to make an epoll object and close it takes 40 µs, before every question.
    poll = select.poll()
    poll.register(conn.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def trouble(conn: psycopg.Connection[Any]) -> psycopg.Error | None:
    """Return what is wrong with an idle connection that has news, if anything is.

    Not the pool's own check: after a connection that is dead, a pool waits for another one,
    which takes all of its time where there is no server any more.
    """
    try:
        ConnectionPool.check_connection(conn)
    except psycopg.Error as error:
        return error
    return None


async def async_trouble(conn: psycopg.AsyncConnection[Any]) -> psycopg.Error | None:
    """Async version of `trouble`."""
    try:
        await AsyncConnectionPool.check_connection(conn)
    except psycopg.Error as error:
        return error
    return None


def pool(conninfo: str, size: int, gives_up: Callable[[], bool]) -> ConnectionPool[Any]:
    """Return a pool, yet to be opened, of at most *size* connections.

    It tries to connect, and logs that it cannot, until *gives_up* says that nobody need.
    """

    def begin_again(pool: ConnectionPool[Any]) -> None:
        if not gives_up():
            pool.check()

    return ConnectionPool[Any](
        conninfo, configure=_prepare, reconnect_failed=begin_again, **_options(conninfo, size)
    )


def async_pool(conninfo: str, size: int, gives_up: Callable[[], bool]) -> AsyncConnectionPool[Any]:
    """Async version of `pool`."""

    async def begin_again(pool: AsyncConnectionPool[Any]) -> None:
        if not gives_up():
            await pool.check()

    return AsyncConnectionPool[Any](
        conninfo, configure=_aprepare, reconnect_failed=begin_again, **_options(conninfo, size)
    )


def address(conn: Any) -> tuple[object, ...]:
    """Return which database *conn*'s connections lead to, as far as its conninfo says."""
    found = endpoint(conn)
    given = conninfo_to_dict(found[0]) if found else {}
    given.setdefault("dbname", given.get("user"))  # As libpq does.
    return tuple(given.get(key) for key in ("host", "hostaddr", "port", "dbname", "service"))


def asked_for(conn: Any) -> str | None:
    """Return which host, port and database *conn*'s connections ask for, without a password."""
    found = endpoint(conn)
    if found is None:
        return None
    known = completed(conninfo_to_dict(found[0]))
    host = known.get("host") or known.get("hostaddr") or "by default"
    return f"host {host}, port {known.get('port')}, database {known.get('dbname')}"


def completed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return *given*, with what libpq takes where it says nothing: its defaults, or `PG…`'s."""
    usual = {option.keyword.decode(): option.val for option in Conninfo.get_defaults()}
    known: dict[str, Any] = {name: value.decode() for name, value in usual.items() if value}
    known.update({name: value for name, value in given.items() if value})
    known.setdefault("dbname", known.get("user"))
    return known


def endpoint(conn: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the conninfo and options for another connection like *conn*'s, if they are known."""
    if isinstance(conn, Connection | AsyncConnection):
        return make_conninfo(conn.info.dsn, password=conn.info.password or None), {
            **CONNECTION_OPTIONS
        }
    assert isinstance(conn, ConnectionPool | AsyncConnectionPool)
    options = {} if conn.kwargs is None else conn.kwargs
    if not isinstance(conn.conninfo, str) or not isinstance(options, dict):
        return None  # They come from a function of the caller's.
    own = {key: options[key] for key in options if key in PSYCOPG_OPTIONS}
    others = {key: options[key] for key in options if key not in PSYCOPG_OPTIONS}
    conninfo = make_conninfo(conn.conninfo, **others)
    if "connect_timeout" not in conninfo_to_dict(conninfo):
        conninfo = make_conninfo(conninfo, connect_timeout=CONNECT_TIMEOUT)
    return conninfo, {**own, **CONNECTION_OPTIONS}
