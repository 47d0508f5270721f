"""`run_config`: where a run would go, before it starts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from langgraph_sessions import AgentSessionManager, SessionNotFoundError
from tests.support import TABLES, Chat, texts


def contents(db: Connection[Any]) -> list[Any]:
    """Return all that is stored."""
    return [db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES]


async def run(chat: Chat, where: Any) -> list[str]:
    """Run the graph with a config."""
    return texts(await chat.call(chat.graph, "invoke", {"messages": ["hi"]}, where))


async def test_it_names_the_current_session_and_writes_nothing(
    chat: Chat, db: Connection[Any]
) -> None:
    """The run goes there even if another session is current by then, and that one is then."""
    await chat.say("one", user_id="alice", thread_id="t")
    before = contents(db)
    where = await chat.session("run_config", "alice")
    assert where == {"configurable": {"user_id": "alice", "thread_id": "t"}}
    assert contents(db) == before
    await chat.say("two", user_id="alice", new_session=True)
    assert len(await run(chat, where)) == 4
    assert (await chat.current()).thread_id == "t"


@pytest.mark.parametrize("asks", [{}, {"new_session": True}], ids=["current", "new"])
async def test_a_session_that_there_is_not_yet_is_made_by_the_run(
    chat: Chat, db: Connection[Any], asks: dict[str, Any]
) -> None:
    """Nothing is set aside: two configs of a user without sessions name two."""
    first, second = [await chat.session("run_config", "alice", **asks) for _ in range(2)]
    assert first != second
    assert not any(contents(db))
    await run(chat, first)
    assert (await chat.current()).config == first
    again = await chat.session("run_config", "alice")
    assert again == first


async def test_it_is_the_thread_of_a_first_run_under_way(chat: Chat) -> None:
    """A run that has begun, and saved nothing yet, has set its thread aside: it is that one."""
    begins = {"configurable": {"user_id": "alice"}}
    assert await chat.call(chat.saver, "get_tuple", begins) is None
    first, second = [await chat.session("run_config", "alice") for _ in range(2)]
    assert first == second


async def test_the_run_does_what_the_config_carries(chat: Chat) -> None:
    """A title is given, and a job's run makes nothing current."""
    await chat.say("one", user_id="alice", thread_id="t")
    await chat.say("two", user_id="alice", thread_id="u")
    where = await chat.session("run_config", "alice", thread_id="t", title="T", make_current=False)
    asked = {"user_id": "alice", "thread_id": "t", "title": "T", "make_current": False}
    assert where == {"configurable": asked}
    await run(chat, where)
    assert {session.title for session in await chat.sessions()} == {"T", "two"}
    assert (await chat.current()).thread_id == "u"


async def test_ids_are_taken_as_their_text(chat: Chat) -> None:
    """A config of theirs is JSON-ready."""
    where = await chat.session("run_config", 7, thread_id=UUID(int=5))
    assert where["configurable"] == {"user_id": "7", "thread_id": str(UUID(int=5))}


async def test_what_the_run_would_be_refused_is_refused(chat: Chat) -> None:
    """Another's thread is not found, and bad input is named."""
    await chat.say("one", user_id="bob", thread_id="his")
    with pytest.raises(SessionNotFoundError):
        await chat.session("run_config", "alice", thread_id="his")
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"new_session": True, "thread_id": "t"}, ValueError),
        ({"title": 5}, TypeError),
        ({"make_current": "no"}, TypeError),
        ({"thread_id": False}, TypeError),
    ]
    for arguments, error in wrong:
        with pytest.raises(error, match=next(iter(arguments))):
            await chat.session("run_config", "alice", **arguments)
    with pytest.raises(TypeError, match="user_id"):
        await chat.session("run_config", None)


def test_an_id_of_the_factorys_that_is_taken_is_not_named(url: str) -> None:
    """The default one is, so that nobody is sent into an old session, or locked out."""
    manager = AgentSessionManager(url, thread_id_factory=str.lower)
    manager.create_user_session("alice", thread_id="alice")
    manager.deactivate_session("alice")
    named = manager.run_config("alice")["configurable"]["thread_id"]
    assert named.startswith("alice_")
    manager.close()
