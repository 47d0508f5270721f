"""The source of a saver's connections."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import checks
from langgraph_sessions.database import URL_VARIABLE, pools
from langgraph_sessions.embedded.server import DEFAULT_PATH, EmbeddedServer

Path = str | os.PathLike[str]


class Source:
    """The source of connections: a given connection or pool, or a pool of our own.

    Attributes:
        given: The caller's connection or pool, if there is one.
        conninfo: Of the pool of our own; empty for the embedded server until it is started.
        server: The embedded server, if connections go to that.
    """

    def __init__(self, conn: object, path: Path | None, kinds: tuple[type, type]) -> None:
        """Choose: *conn*, else the folder *path*, else DATABASE_URL, else the default folder.

        Raises:
            TypeError: *conn* is none of what is allowed.
            ValueError: *conn* is a string but no conninfo or URL, is not in autocommit mode,
                or *path* is given beside it.
        """
        self.given: Any = None
        self.conninfo = ""
        self.server: EmbeddedServer | None = None
        if conn is not None and path is not None:
            raise ValueError("path is the embedded server's folder: give it without conn")
        name = "conn"
        if conn is None and path is None and (url := os.environ.get(URL_VARIABLE)):
            name, conn = URL_VARIABLE, url
        if conn is None:
            self.server = EmbeddedServer(DEFAULT_PATH if path is None else checks.path(path))
        elif isinstance(conn, str):
            self.conninfo = checked_conninfo(name, conn)
        elif isinstance(conn, kinds):
            check_autocommit(conn)
            self.given = conn
        else:
            allowed = ", ".join(kind.__name__ for kind in kinds)
            raise TypeError(
                f"conn must be a conninfo string or URL, {allowed} or None, "
                f"not {type(conn).__name__}"
            )

    def __str__(self) -> str:
        """Say where connections lead, without a password."""
        if self.server is not None:
            return f"the embedded PostgreSQL in {self.server.root}"
        conninfo, options = _given(self.given) if self.given is not None else (self.conninfo, {})
        if not isinstance(conninfo, str) or not isinstance(options, dict):
            return "PostgreSQL"  # A function of the caller's says where.
        with suppress(psycopg.Error):
            return leads_to(conninfo, **options)
        return "PostgreSQL"


def _given(conn: Any) -> tuple[object, object]:
    """Return the conninfo of a caller's connection or pool, and what is said beside it."""
    if isinstance(conn, ConnectionPool | AsyncConnectionPool):
        return conn.conninfo, conn.kwargs or {}
    return (None if conn.closed else conn.info.dsn), {}


def leads_to(conninfo: str, /, **options: Any) -> str:
    """Return where libpq connects, without a password: what it is not told, it looks up.

    Raises:
        psycopg.ProgrammingError: *conninfo* is none.
    """
    found = {**conninfo_to_dict(conninfo), **options}
    if "service" in found:  # What its file says is unknown here.
        return f"PostgreSQL of the service {found['service']}"
    known = pools.completed(found)
    host = known.get("host") or known.get("hostaddr") or "the default host"
    database = known.get("dbname") or known.get("user") or "by default"
    port = "" if known.get("port") in (None, USUAL_PORT) else f", port {known['port']}"
    return f"PostgreSQL at {host}{port}, database {database}"


def checked_conninfo(name: str, conninfo: str) -> str:
    """Return *conninfo*, if it is one, and no part of a password stands where a host should.

    Raises:
        ValueError: It is not; *name* is what is told, and nothing of it is quoted.
    """
    with suppress(psycopg.ProgrammingError):
        if conninfo.strip() and not _has_part_of_password(conninfo_to_dict(conninfo)):
            return conninfo
    # Without what was wrong: it would quote the string, password and all.
    raise ValueError(
        f"{name} must be a PostgreSQL URL such as 'postgresql://localhost/app' or a "
        "conninfo string such as 'host=localhost dbname=app'; in a URL, a password's '@', '/' and "
        "':' are written %40, %2F and %3A"
    )


def _has_part_of_password(given: dict[str, Any]) -> bool:
    """Say whether a part of a password stands where a host or port should, and would be logged.

    In a URL that ends the password: `@` does, and `/`, after which the rest is no port.
    """
    ports = str(given.get("port") or "").split(",")
    return "@" in str(given.get("host") or "") or not all(p.isdigit() for p in ports if p)


def check_autocommit(conn: Any) -> None:
    """Refuse a connection that would keep checkpoints in a transaction that nobody commits.

    Raises:
        ValueError: *conn*, or what a pool makes, is not in autocommit mode.
    """
    if isinstance(conn, ConnectionPool | AsyncConnectionPool):
        options = conn.kwargs if isinstance(conn.kwargs, dict) else {}
        # Only True: psycopg takes any text, "false" too, for it.
        if options.get("autocommit") is True:
            return
        if callable(conn.kwargs) or getattr(conn, "_configure", None):
            return  # The first connection of a callable is checked instead.
    elif conn.autocommit:
        return
    raise ValueError(NO_AUTOCOMMIT)


USUAL_PORT: Final = "5432"
NO_AUTOCOMMIT: Final = (
    "conn must be in autocommit mode: connect with autocommit=True, or make the pool with "
    'kwargs={"autocommit": True}'
)
