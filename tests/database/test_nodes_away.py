"""A node behind the server, such as a worker of Citus, that the server does not reach.

A trigger says here what a coordinator says there; `tests.nodes` kills real ones.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg
import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver, SessionsUnavailableError
from langgraph_sessions.database import failures
from tests.servers import until
from tests.support import CLIENTS, Chat, texts

SAID = [
    ("08006", "connection to the remote node postgres@10.0.0.5:5432 failed"),
    ("57P01", "terminating connection due to administrator command"),
    ("XX000", "could not commit transaction for shard 102008 on at least one active node"),
    ("XX000", "server closed the connection unexpectedly"),
]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def saving(kind: str, url: str, **options: Any) -> AbstractContextManager[Any]:
    if kind == "sync":
        return SessionSaver(url, **options)
    return nullcontext(AsyncSessionSaver(url, **options))


def away(db: psycopg.Connection[Any], code: str, message: str, user_id: str = "bob") -> None:
    """Have whatever is written for *user_id* fail as if its node were away."""
    function = f"""
        CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION '{message}' USING ERRCODE = '{code}';
        END $$"""
    trigger = f"""
        CREATE TRIGGER away BEFORE INSERT OR UPDATE ON session_threads
        FOR EACH ROW WHEN (NEW.user_id = '{user_id}') EXECUTE FUNCTION away()"""
    for statement in (function, trigger):
        db.execute(statement.encode())


def back(db: psycopg.Connection[Any]) -> None:
    db.execute("DROP TRIGGER away ON session_threads")


def backends(db: psycopg.Connection[Any]) -> set[int]:
    """Return the processes that serve connections."""
    return {row["pid"] for row in db.execute(CLIENTS)}


@pytest.mark.parametrize(("code", "message"), SAID)
async def test_who_is_on_a_node_that_is_away_is_told_so_and_others_go_on(
    kind: str, url: str, db: psycopg.Connection[Any], code: str, message: str
) -> None:
    """It is no outage: nothing is said from memory, and no connection is replaced."""
    with saving(kind, url, retry_for=0.2) as saver:
        chat = Chat(saver)
        await chat.say("one", user_id="alice")
        await chat.say("one", user_id="bob")
        before = backends(db)
        away(db, code, message)
        with pytest.raises(SessionsUnavailableError) as told:
            await chat.say("two", user_id="bob")
        assert isinstance(told.value.__cause__, psycopg.Error)
        assert told.value.__cause__.sqlstate == code
        with pytest.raises(SessionsUnavailableError):  # This one is not tried again.
            await chat.session("create_user_session", "bob")
        said = await chat.say("two", user_id="alice")
        assert texts(said) == ["one", "1 so far", "two", "3 so far"]
        assert saver.durable
        assert before <= backends(db)
        back(db)
        assert texts(await chat.say("three", user_id="bob"))[-2:] == ["three", "3 so far"]
        assert len(await chat.sessions("bob")) == 1
        if kind == "async":
            await saver.close()


async def test_a_node_that_comes_back_within_retry_for_is_waited_for(
    kind: str, url: str, db: psycopg.Connection[Any]
) -> None:
    """A turn that began while it was away ends as if nothing had been."""
    with saving(kind, url, retry_for=60) as saver:
        chat = Chat(saver)
        await chat.say("one", user_id="bob")
        away(db, *SAID[0])
        turn = asyncio.create_task(chat.say("two", user_id="bob"))
        await until(lambda: saver._database._failure)
        back(db)
        assert texts(await turn) == ["one", "1 so far", "two", "3 so far"]
        if kind == "async":
            await saver.close()


def test_the_last_word_of_a_server_that_ends_a_connection_is_of_no_other_node(
    url: str, db: psycopg.Connection[Any]
) -> None:
    """Our own backend that is terminated says 57P01, too: that one is a broken connection."""
    with psycopg.connect(url) as conn:
        db.execute("SELECT pg_terminate_backend(%s::int)", [conn.info.backend_pid])
        with pytest.raises(psycopg.OperationalError) as told:
            conn.execute("SELECT 1")
    assert failures.is_broken(told.value)
    assert not failures.is_remote(told.value)
