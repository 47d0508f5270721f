"""That all connections of a saver lead to one place: the tables found on first use."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import psycopg

from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Plan
from langgraph_sessions.sql import place
from langgraph_sessions.sql.citus.distributing import is_distributed
from langgraph_sessions.sql.schema import Tables

OLDEST_SERVER: Final = 14
_KNOWN: Final = "_langgraph_sessions_place"  # On a connection: where it leads, by which path.


class Place:
    """The schema of the tables, and which connections are known to lead there.

    A connection is asked when it is first used, and again when the server says that its
    search_path has changed: from version 18 on it does so by itself. So no turn costs a round trip.

    Attributes:
        schema: The schema; `None` before first use.
        are_distributed: Whether Citus has distributed the tables.
    """

    are_distributed = False

    def __init__(self) -> None:
        """Know no place yet."""
        self.schema: str | None = None

    def found(self, conn: Any, tables: Tables) -> None:
        """Note that the *tables* are the place, to which *conn* leads."""
        self.schema, self.are_distributed = tables
        vars(conn)[_KNOWN] = self._by_its_path(conn)

    def knows(self, conn: Any) -> bool:
        """Say whether *conn* need not be asked."""
        return self.schema is None or vars(conn).get(_KNOWN) == self._by_its_path(conn)

    def ask(self, conn: Any) -> Plan[None]:
        """See that *conn* leads here.

        Raises:
            SessionError: It leads elsewhere, or past the tables.
        """
        assert self.schema is not None
        yield from place.settle(self.schema)
        vars(conn)[_KNOWN] = self._by_its_path(conn)

    def look_again(self) -> Plan[bool]:
        """Say whether Citus has distributed the tables since they were found, and note that.

        Another thread may have noted it already.

        Raises:
            SessionError: Some are, or otherwise than they are to be.
        """
        if not self.are_distributed:
            self.are_distributed = yield from is_distributed((yield from place.look()))
        return self.are_distributed

    def _by_its_path(self, conn: Any) -> tuple[str | None, bytes | None]:
        """Return the place, with the search path that *conn*'s server has told of, if it tells."""
        return self.schema, conn.pgconn.parameter_status(b"search_path")


class TablesMissing(SessionError):
    """A database has no tables of ours, or *are_old*: it has those of an older version.

    Or *are_others*: it has a `user_sessions`, of an older tool's or of anybody's.
    """

    def __init__(self, where: str, *, are_old: bool, are_others: bool) -> None:
        """Say so of the database *where*."""
        self.are_old = are_old
        self.are_others = are_others
        what = "of an older version" if are_old else "missing"
        super().__init__(
            f"the tables of langgraph-sessions are {what} in {where}: call setup() once, or leave "
            "auto_setup on"
        )


def refuse_missing(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> Plan[NoReturn]:
    """Say what a database is that does not have our tables as they are now.

    Raises:
        TablesMissing: It has none, or older ones.
    """
    found = yield from place.look()
    where = f"database {conn.info.dbname!r} at {conn.info.host or 'localhost'}"
    are_old = not found.missing(["user_sessions_migrations"])
    are_others = not are_old and not found.missing(["user_sessions"])
    raise TablesMissing(where, are_old=are_old, are_others=are_others)


def refuse_old_server(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Refuse a server on which our statements would only fail.

    Raises:
        SessionError: It is too old, with its version.
    """
    version = conn.info.server_version // 10000
    if 0 < version < OLDEST_SERVER:  # 0: the connection is broken, which is told elsewhere.
        raise SessionError(
            f"the server is PostgreSQL {version}, which is too old: it must be {OLDEST_SERVER} or "
            "newer"
        )
