"""What is tried once tells of a connection that breaks, and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool, PoolTimeout

from langgraph_sessions.database.database import Database
from langgraph_sessions.database.deeds import do
from langgraph_sessions.plans import Fetch, Plan
from tests.support import psycopg_pool_options


@dataclass(frozen=True)
class Once(Fetch):
    """What is tried once."""

    once = True


def ask() -> Plan[Any]:
    return (yield Once())


def failing(monkeypatch: pytest.MonkeyPatch, error: psycopg.Error) -> Database:
    """Return a database that is ready, and whose pool fails by *error*."""

    def fail(*_: Any) -> Any:
        raise error

    database = Database(ConnectionPool("", kwargs=psycopg_pool_options(), open=False))
    database._is_ready = True
    monkeypatch.setattr(database, "_try", fail)
    return database


@pytest.mark.parametrize(
    ("error", "is_reached"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), False),
        (PoolTimeout("no connection for ten seconds"), True),
        (psycopg.errors.DeadlockDetected(), True),
    ],
    ids=["broken", "busy", "deadlock"],
)
def test_a_broken_connection_is_seen_to_by_whoever_asks_next(
    error: psycopg.Error, is_reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That replaces all of the pool's, which one that is only busy is to keep."""
    database = failing(monkeypatch, error)
    with pytest.raises(type(error)):
        database.run(ask())
    assert database._reached is is_reached


def test_a_pool_whose_address_is_unknown_is_not_taken_for_away_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody can make a connection to see; the next question goes to the pool."""
    database = failing(monkeypatch, psycopg.OperationalError("broken"))
    pool: Any = database.conn
    pool.conninfo = lambda: ""
    with pytest.raises(psycopg.OperationalError):
        database.run(ask())
    assert do(database.reaches_deed())
    assert database._reached
