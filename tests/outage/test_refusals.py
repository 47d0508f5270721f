"""What a run is refused in an outage, where the database may know more."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command

from langgraph_sessions import SessionNotFoundError, SessionsUnavailableError
from tests.outage.talking import DURABILITIES, returned
from tests.servers import Server
from tests.support import Chat, asking, config, texts

ALICE = config(user_id="alice")


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_answer_to_a_question_in_the_database_is_refused(
    chat: Chat, server: Server, durability: str
) -> None:
    """By a user alone, before a node runs, whatever else was said meanwhile; and taken later."""
    graph = chat.compile(asking())
    await chat.say("one", graph, user_id="alice", thread_id="t")
    server.stop()
    answer: Any = Command(resume="yes")
    with pytest.raises(SessionsUnavailableError, match="question"):
        await chat.call(graph, "invoke", answer, ALICE, durability=durability)
    await chat.say("two", user_id="alice")
    with pytest.raises(SessionsUnavailableError, match="question"):
        await chat.call(graph, "invoke", answer, ALICE, durability=durability)
    server.start()
    await returned(chat)
    taken = await chat.call(graph, "invoke", answer, config(user_id="alice", thread_id="t"))
    assert texts(taken) == ["one", "You said yes"]


async def test_a_checkpoint_that_may_be_in_the_database_is_not_taken_for_none(
    chat: Chat, server: Server
) -> None:
    """By a user alone nobody knows; of a thread begun in the outage, all is here."""
    server.stop()
    await chat.say("one", user_id="alice")
    session = await chat.session("get_current_user_session", "alice")
    with pytest.raises(SessionsUnavailableError, match="checkpoint"):
        await chat.say("two", user_id="alice", checkpoint_id="c")
    with pytest.raises(SessionNotFoundError):
        await chat.say("two", **session.config["configurable"], checkpoint_id="c")
    assert (await chat.session("run_config", "alice")) == session.config
    server.start()
    await returned(chat)


async def test_a_job_of_an_outage_makes_nothing_current_after_it(
    chat: Chat, server: Server
) -> None:
    """The session that was current is so when the database is back, although used before."""
    await chat.say("one", user_id="alice", thread_id="t")
    server.stop()
    await chat.say("job", user_id="alice", make_current=False, title="Job")
    server.start()
    await returned(chat)
    assert (await chat.current()).thread_id == "t"
    assert [session.title for session in await chat.sessions()] == ["Job", "one"]
