"""Whether a server can be reached, as a deed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from langgraph_sessions.database import failures
from langgraph_sessions.database.deeds import Deed

Connect = Callable[..., Any]


def probe(
    connect: Connect,
    block: Callable[[Callable[[], Any]], Any],
    conninfo: str,
    options: dict[str, Any],
) -> Deed[bool]:
    """Say whether a connection can be made.

    Args:
        connect: Opens a connection.
        block: Calls a function that blocks.
        conninfo: Where to.
        options: What *connect* takes besides.

    Raises:
        psycopg.OperationalError: A server answers, but refuses the login.
    """
    for _ in range(2):  # The server may start between the two questions.
        try:
            yield from _try(connect, conninfo, options)
        except psycopg.OperationalError as error:
            refusal = error
        else:
            return True
        if not (yield lambda: block(lambda: failures.is_up(conninfo))):
            return False
    if anywhere := failures.any_server(conninfo):
        with suppress(psycopg.OperationalError):
            yield from _try(connect, anywhere, options)
            return False  # A standby, say, before it is promoted.
    raise refusal


def _try(connect: Connect, conninfo: str, options: dict[str, Any]) -> Deed[None]:
    conn = yield lambda: connect(conninfo, **options)
    yield conn.close
