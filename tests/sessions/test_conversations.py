"""Reading one conversation without its graph: its messages, and its checkpoints."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langgraph_sessions import CheckpointInfo, SessionNotFoundError
from langgraph_sessions.sql.checkpoints import ListCheckpoints
from langgraph_sessions.sql.sessions import GetConversation
from tests.graphs import ask, chain, delta_graph, says
from tests.sessions.contents import Connection, checkpoint_id, everything, states
from tests.sessions.methods import ROW, call
from tests.support import Chat, texts


async def iterated(chat: Chat, *users: Any, **filters: Any) -> list[Any]:
    """Return all that `iter_sessions` yields."""
    sessions = chat.saver.sessions.iter_sessions(*users, **filters)
    if hasattr(sessions, "__aiter__"):
        return [session async for session in sessions]
    return await asyncio.to_thread(list, sessions)


async def test_messages_are_the_states(chat: Chat) -> None:
    """A conversation's messages are those in the state of its graph, as LangChain's messages."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    session = await chat.current()
    state = await chat.call(chat.graph, "get_state", session.config)
    assert (
        await chat.session("get_messages", "alice", session.thread_id) == state.values["messages"]
    )


async def test_messages_up_to_a_checkpoint_are_that_states(chat: Chat) -> None:
    """At each checkpoint, but for the input's, which has no state, they are what its state has."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    session = await chat.current()
    for state in await states(chat, chat.graph, session):
        if state.metadata["source"] != "input":
            found = await chat.session(
                "get_messages", "alice", session.thread_id, checkpoint_id=checkpoint_id(state)
            )
            assert [message.content for message in found] == texts(state)


async def test_messages_of_delta_channels(chat: Chat) -> None:
    """Messages that are rebuilt from their history are read, too."""
    graph = delta_graph(chat, 3, a=says("a"))
    for text in ("one", "two", "three"):
        await chat.say(text, graph, user_id="alice")
    session = await chat.current()
    found = await chat.session("get_messages", "alice", session.thread_id)
    assert [m.content for m in found] == ["one", "a", "two", "a", "three", "a"]


async def test_a_waiting_conversation_is_read(chat: Chat) -> None:
    """What was said before a question is there while the answer is waited for."""
    await chat.say("one", chat.compile(chain(a=says("a"), ask=ask)), user_id="alice")
    session = await chat.current()
    found = await chat.session("get_messages", "alice", session.thread_id)
    assert [message.content for message in found] == ["one", "a"]


async def test_a_session_in_which_nothing_was_said_has_no_messages(chat: Chat) -> None:
    """It has no messages and no checkpoints; neither is an error."""
    session = await chat.session("create_user_session", "alice")
    assert await chat.session("get_messages", "alice", session.thread_id) == []
    assert await chat.session("list_checkpoints", "alice", session.thread_id) == []


async def test_checkpoints_are_the_history(chat: Chat) -> None:
    """They are the graph's history, newest first, with parents, sources, steps and times."""
    await chat.say("one", user_id="alice")
    session = await chat.current()
    await chat.call(chat.graph, "update_state", session.config, {"messages": ["two"]})
    listed = await chat.session("list_checkpoints", "alice", session.thread_id)
    history = await chat.call(chat.graph, "get_state_history", session.config)
    parents = [state.parent_config for state in history]
    assert [each.checkpoint_id for each in listed] == [checkpoint_id(state) for state in history]
    assert [each.parent_id for each in listed] == [
        parent and parent["configurable"]["checkpoint_id"] for parent in parents
    ]
    assert [each.source for each in listed] == ["update", "loop", "loop", "input"]
    assert [each.step for each in listed] == [2, 1, 0, -1]
    assert [each.created_at.isoformat() for each in listed] == [s.created_at for s in history]


async def test_checkpoints_are_listed_page_by_page(chat: Chat) -> None:
    """*before* goes on where a page ended; a fork at a checkpoint has what its state has."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    session = await chat.current()
    thread = session.thread_id
    listed = await chat.session("list_checkpoints", "alice", thread)
    pages: list[CheckpointInfo] = []
    while page := await chat.session(
        "list_checkpoints",
        "alice",
        thread,
        limit=2,
        before=pages[-1].checkpoint_id if pages else None,
    ):
        pages += page
    assert pages == listed
    (end,) = [each for each in listed if each.step == 1]
    fork = await chat.session("fork_session", "alice", thread, checkpoint_id=end.checkpoint_id)
    assert await chat.history(fork) == ["one", "1 so far"]


@pytest.mark.parametrize("method", ["get_messages", "list_checkpoints"])
async def test_another_users_conversation_looks_like_none(chat: Chat, method: str) -> None:
    """Another's thread, nobody's and one that is not there are refused alike."""
    await chat.say("secret", user_id="alice", thread_id="hers")
    await chat.say("plain", thread_id="nobodys")
    for thread_id in ("hers", "nobodys", "none"):
        with pytest.raises(SessionNotFoundError, match=f"'bob'.*'{thread_id}'"):
            await chat.session(method, "bob", thread_id)


@pytest.mark.parametrize(
    ("method", "given", "error"),
    [
        ("get_messages", {"checkpoint_id": "other"}, ValueError),
        ("get_messages", {"checkpoint_id": 1}, TypeError),
        ("list_checkpoints", {"before": "other"}, ValueError),
        ("list_checkpoints", {"before": b""}, TypeError),
        ("list_checkpoints", {"limit": 0}, ValueError),
        ("list_checkpoints", {"limit": "2"}, TypeError),
    ],
)
async def test_bad_arguments_are_named(
    chat: Chat, db: Connection, method: str, given: dict[str, Any], error: type[Exception]
) -> None:
    """A checkpoint of another thread, and a limit that is none, are errors that name them."""
    await chat.say("one", user_id="alice", thread_id="t")
    if list(given.values()) == ["other"]:
        await chat.say("two", user_id="alice", thread_id="u")
        (newest, *_) = await chat.session("list_checkpoints", "alice", "u")
        given = dict.fromkeys(given, newest.checkpoint_id)
    before = everything(db)
    with pytest.raises(error, match=next(iter(given))):
        await chat.session(method, "alice", "t", **given)
    assert everything(db) == before


async def test_iter_sessions_goes_through_all_pages(chat: Chat, db: Connection) -> None:
    """It yields what the pages of `list_sessions` have, in their order, with their filters."""
    db.execute("""
        INSERT INTO user_sessions (user_id, thread_id, title, updated_at, is_active)
        SELECT CASE WHEN i <= 250 THEN 'alice' ELSE 'bob' END, 't' || i, 'Chat ' || i,
            now() - i / 2 * interval '1 s', i % 2 = 0 FROM generate_series(1, 260) AS i""")
    whole = await chat.sessions("alice", limit=1000)
    assert await iterated(chat, "alice") == whole
    assert len(whole) == 250
    assert await iterated(chat, "alice", active=True, title="chat 1") == await chat.sessions(
        "alice", active=True, title="chat 1", limit=1000
    )
    assert len(await iterated(chat)) == 260
    with pytest.raises(TypeError, match="user_id"):
        await iterated(chat, None)


# --- As plans -----------------------------------------------------------------------------------

FOUND = {**ROW, "id": 1}
MADE_SINCE = {**ROW, "id": 2}


def test_a_thread_that_was_deleted_and_made_again_while_it_was_read() -> None:
    """What was read may be another's: the session is looked for before and after, by number."""
    with pytest.raises(SessionNotFoundError):
        call(lambda it: it.get_messages("alice", "t"), [FOUND], None, [MADE_SINCE])
    assert call(lambda it: it.get_messages("alice", "t"), [FOUND], None, [FOUND])[0] == []


def test_every_method_that_reads_has_no_way_around_the_session() -> None:
    """The first question of each is whose the session is, for the manager's agent."""
    for method in ("get_messages", "list_checkpoints"):
        with pytest.raises(SessionNotFoundError):
            call(lambda it, name=method: getattr(it, name)("alice", "t"), [], agent="writer")
    _, asked = call(lambda it: it.list_checkpoints("alice", "t"), [FOUND], [], agent="writer")
    assert asked == [GetConversation("alice", "t", "writer"), ListCheckpoints("alice", "t", 20)]
