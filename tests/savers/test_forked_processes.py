"""A saver in a process that forks: it serves every child, or refuses with a clear error."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.families import ENDS, FORKS, REFUSED, told
from tests.servers import Server


@FORKS
@pytest.mark.parametrize("kind", ["url", "pool"])
def test_a_saver_made_before_the_fork_works_in_every_child(
    url: str, db: psycopg.Connection[Any], is_async: bool, way: str, kind: str
) -> None:
    """First used after it, in three workers at once and in their parent, it serves them all."""
    children, parent = told(f"family({is_async}, {kind!r}, 'unopened', {way!r}, {url!r})")
    assert children == ["2 4"] * 3
    assert parent == [2, 4]
    assert len(db.execute("SELECT 1 FROM user_sessions").fetchall()) == 4


@FORKS
@pytest.mark.parametrize("kind", ["url", "pool"])
def test_a_saver_used_before_the_fork_is_refused_in_every_child(
    url: str, db: psycopg.Connection[Any], is_async: bool, way: str, kind: str
) -> None:
    """The children are told what to do, close it and end; the parent goes on, unharmed."""
    children, parent = told(f"family({is_async}, {kind!r}, 'used', {way!r}, {url!r})")
    assert children == [REFUSED] * 3
    assert parent == [2, 4, 6]
    assert len(db.execute("SELECT 1 FROM user_sessions").fetchall()) == 1


@ENDS
def test_a_pool_opened_before_the_fork_is_refused_in_every_child(
    url: str, is_async: bool, way: str
) -> None:
    """So is a saver not yet used, whose pool, given closed, the parent opened."""
    children, parent = told(f"family({is_async}, 'pool', 'opened', {way!r}, {url!r})")
    assert children == [REFUSED] * 3
    assert parent == [2, 4]


@FORKS
@pytest.mark.parametrize("opened", ["unopened", "used"])
def test_a_fork_while_the_database_is_away_is_refused(
    own_server: Server, is_async: bool, way: str, opened: str
) -> None:
    """A child has nothing to write to the database what it would hold; the parent writes all."""
    call = f"outage({is_async}, {opened!r}, {way!r}, {own_server.conninfo!r})"
    answer, held, later = told(call, stop=own_server.stop, start=own_server.start)
    assert answer == REFUSED
    assert (held, later) == (2, 4)


def test_a_fork_while_another_thread_opens_is_refused(url: str) -> None:
    """The child does not wait for a lock that no thread of its own will ever free."""
    assert told(f"opening({url!r})") == [REFUSED, 0]


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_the_sync_methods_of_an_async_saver_are_refused_in_a_child(url: str, used: bool) -> None:
    """Its loop is the parent's: no thread of the child runs that, to be waited for."""
    answer, parent = told(f"from_threads({used}, {url!r})")
    assert answer.startswith("SessionError: this saver was made before the process was forked")
    assert parent == (4 if used else 2)
