"""Which errors mean that a connection is gone, and whether the server is, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

# Codes of a server that is stopping, starting, or no longer the primary; the class
# 08 is for connections. https://www.postgresql.org/docs/current/errcodes-appendix.html
READ_ONLY: Final = "25006"  # read_only_sql_transaction
BROKEN: Final = frozenset(
    {
        "57P01",  # admin_shutdown, and what pg_terminate_backend says
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
        READ_ONLY,
    }
)

# Classes of what passes, or is mended by an operator, and is not about what is to be written:
# the transaction's state; its rollback, such as a deadlock; missing tables or rights; a want of
# resources, such as a full disk; locks; time-outs, and what operators do; the system; corruption.
PASSING: Final = frozenset({"25", "40", "42", "53", "55", "57", "58", "XX"})


# What a coordinator says of a node that it does not reach. Some sentences of Citus', and libpq's
# that it hands on, have no code of their own.
_NODE_AWAY: Final = frozenset({"08000", "08001", "08003", "08006", "57P01", "57P02", "57P03"})
_NODE_LOST: Final = (
    "could not commit transaction ",
    "failure on connection marked as essential",
    "server closed the connection unexpectedly",
    "could not receive data from server",
    "could not send data to server",
    "no connection to the server",
)


def is_remote(error: BaseException) -> bool:
    """Say whether a node behind the server cannot be reached, such as a worker of Citus.

    Our own connection is whole: where that breaks, the server's last word is FATAL, or none.
    """
    if not isinstance(error, psycopg.Error) or error.diag.severity_nonlocalized != "ERROR":
        return False
    said = error.diag.message_primary or ""
    return error.sqlstate in _NODE_AWAY or (
        error.sqlstate == "XX000" and said.startswith(_NODE_LOST)
    )


def is_broken(error: BaseException) -> bool:
    """Say whether *error* is about a connection, or the want of one, and not about a statement."""
    if isinstance(error, PoolClosed | TooManyRequests | psycopg.errors.PipelineAborted):
        return False
    if not isinstance(error, psycopg.Error) or is_remote(error):
        return False
    if error.sqlstate is not None:
        return error.sqlstate in BROKEN or error.sqlstate.startswith("08")
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | PoolTimeout)


# Of a transaction that met another one, under stricter isolation levels or in a deadlock: it was
# rolled back whole, and the server asks for another try.
ROLLED_BACK: Final = frozenset({"40001", "40P01"})


def is_rolled_back(error: psycopg.Error) -> bool:
    """Say whether nothing of the transaction was done, and it may succeed at once."""
    return error.sqlstate in ROLLED_BACK


def is_passing_here(error: psycopg.Error) -> bool:
    """Say whether another try may succeed on the same connection, which nothing is wrong with."""
    return is_rolled_back(error) or is_remote(error)


def follows_primary(conninfo: str) -> bool:
    """Say whether *conninfo* asks for a server to write to, so that one that is not may be left."""
    return conninfo_to_dict(conninfo).get("target_session_attrs") in ("read-write", "primary")


def is_passing(error: BaseException) -> bool:
    """Say whether the same statement may succeed later: the cause lies outside it."""
    sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
    is_away = is_broken(error) or is_remote(error)
    return is_away or (sqlstate is not None and sqlstate[:2] in PASSING)


def pauses() -> Iterator[float]:
    """Yield the seconds to wait before each try: none, then from 50 ms up to a second."""
    yield 0
    pause = 0.05
    while True:
        yield pause
        pause = min(2 * pause, 1.0)


def is_up(conninfo: str) -> bool:
    """Say whether a server answers at all, whatever it answers. Blocks."""
    return pq.PGconn.ping(conninfo.encode()) == pq.Ping.OK


def any_server(conninfo: str) -> str | None:
    """Return *conninfo* for any of its servers, if it asks for a certain kind, as a primary."""
    if conninfo_to_dict(conninfo).get("target_session_attrs", "any") == "any":
        return None
    return make_conninfo(conninfo, target_session_attrs="any")
