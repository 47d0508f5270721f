"""A history that cannot be seen is neither continued nor mistaken for another."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from langgraph.types import Command, interrupt

from langgraph_sessions import SessionsUnavailableError
from tests.outage.talking import DURABILITIES, chatting, conversations, returned
from tests.servers import Server
from tests.support import Chat, config, graph_builder, texts


async def test_a_history_in_the_database_is_not_continued_as_if_it_were_empty(
    chat: Chat, server: Server, place: str
) -> None:
    """The user's next turn is a new session; by its thread id the old one cannot be used."""
    await chat.say("before", user_id="alice")
    old = await chat.current()
    server.stop()
    assert texts(await chat.say("new", user_id="alice")) == ["new", "1 so far"]
    with pytest.raises(SessionsUnavailableError):
        await chat.say("old", user_id="alice", thread_id=old.thread_id)
    for method in ("get_state", "get_state_history"):
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.graph, method, old.config)
    for method in ("get_tuple", "list"):
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.saver, method, old.config)
    with pytest.raises(SessionsUnavailableError):
        await chat.call(chat.graph, "update_state", old.config, {"messages": ["old"]})
    server.start()
    await returned(chat)
    assert await conversations(place) == [["before", "1 so far"], ["new", "1 so far"]]
    said = await chat.say("again", user_id="alice", thread_id=old.thread_id)
    assert texts(said) == ["before", "1 so far", "again", "3 so far"]


async def test_other_users_cannot_read_what_is_held(chat: Chat, server: Server) -> None:
    """A session in memory is its user's alone; to others it looks like one that is not there."""
    server.stop()
    await chat.say("secret", user_id="alice")
    theirs = await chat.session("get_current_user_session", "alice")
    mine = config(user_id="bob", thread_id=theirs.thread_id)
    unknown = config(user_id="bob", thread_id="nothing has this")
    for asked in (mine, unknown):
        thread_id = asked["configurable"]["thread_id"]
        with pytest.raises(SessionsUnavailableError):
            await chat.say("hello", user_id="bob", thread_id=thread_id)
        for method in ("get_state", "get_state_history"):
            with pytest.raises(SessionsUnavailableError):
                await chat.call(chat.graph, method, asked)
        for method in ("get_tuple", "list"):
            with pytest.raises(SessionsUnavailableError):
                await chat.call(chat.saver, method, asked)
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.graph, "update_state", asked, {"messages": ["hello"]})
        for method in ("get_session", "switch_session", "delete_session", "fork_session"):
            with pytest.raises(SessionsUnavailableError):
                await chat.session(method, "bob", thread_id)
        with pytest.raises(SessionsUnavailableError):
            await chat.session("deactivate_session", "bob", thread_id=thread_id)
    copies = (theirs.thread_id, "copy")
    with pytest.raises((SessionsUnavailableError, psycopg.OperationalError)):
        await chat.call(chat.saver, "copy_thread", *copies)
    with pytest.raises(psycopg.OperationalError):
        await chat.say("hello", thread_id=theirs.thread_id)
    assert await chat.history(theirs) == ["secret", "1 so far"]


async def test_one_conversation_for_each_user_is_not_hidden(
    kind: str, place: str, server: Server
) -> None:
    """Where the factory gives a user the same id again, the old conversation stays to be seen."""
    factory = {"thread_id_factory": lambda user_id: f"chat-{user_id}"}
    async with chatting(kind, place, **factory) as chat:
        await chat.say("old", user_id="alice")
        server.stop()
        await chat.say("meanwhile", user_id="alice")
        server.start()
        await returned(chat)
        assert await chat.history(await chat.session("get_session", "alice", "chat-alice")) == [
            "old",
            "1 so far",
        ]
    assert await conversations(place) == [["old", "1 so far"], ["meanwhile", "1 so far"]]


@pytest.mark.parametrize("first", ["say", "create", "get_or_create"])
async def test_a_conversation_whose_id_another_user_has_taken_is_not_lost(
    kind: str, place: str, server: Server, first: str
) -> None:
    """Whether they took it before the outage, or in it: nobody gets another's words, or none."""
    factory = {"thread_id_factory": lambda user_id: "main"}
    async with chatting(kind, place, **factory) as chat:
        await chat.say("bob's", user_id="bob")
        server.stop()
        for user in ("alice", "carol"):
            if first != "say":
                await chat.session(f"{first}_user_session", user, f"Of {user}")
            said = await chat.say(f"{user}'s", user_id=user)
            assert texts(said) == [f"{user}'s", "1 so far"]
            said = await chat.say("more", user_id=user)
            assert texts(said) == [f"{user}'s", "1 so far", "more", "3 so far"]
        server.start()
        await returned(chat)
        for user in ("alice", "carol"):
            (session,) = await chat.sessions(user)
            assert session.thread_id.startswith(f"{user}_")
            assert session.title == (f"{user}'s" if first == "say" else f"Of {user}")
            assert await chat.history(session) == [f"{user}'s", "1 so far", "more", "3 so far"]
        assert await chat.history(await chat.session("get_session", "bob", "main")) == [
            "bob's",
            "1 so far",
        ]


@pytest.mark.parametrize(
    ("reserved", "durability"),
    [(True, "exit"), *((False, durability) for durability in DURABILITIES)],
    ids=["reserved", *DURABILITIES],
)
async def test_a_conversation_of_an_outage_moves_as_a_whole(
    kind: str, place: str, server: Server, reserved: bool, durability: str
) -> None:
    """What is said, updated and named in a thread that another process has, too, stays together."""
    factory = {} if reserved else {"thread_id_factory": lambda user_id: f"chat-{user_id}"}
    async with chatting(kind, place, **factory) as chat:
        alice = config(user_id="alice")

        def answer(state: MessagesState) -> dict[str, Any]:
            if server.is_running:
                server.stop()  # Before the first save: only the thread's id is in the database.
            return {"messages": ["ok"]}

        graph = chat.compile(graph_builder(answer))
        if not reserved:
            await chat.say("theirs", user_id="alice")
            server.stop()
        for turn in ("one", "two"):
            given = {"messages": [turn]}
            await chat.call(graph, "invoke", given, alice, durability=durability)
        ours = await chat.current()
        await chat.call(graph, "update_state", ours.config, {"messages": ["noted"]})
        await chat.session("update_session", "alice", {"title": "Ours"})
        said = texts(await chat.call(graph, "invoke", {"messages": ["three"]}, alice))
        if reserved:
            server.start(hidden=True)
            async with chatting("sync", server.elsewhere) as other:
                await other.say("theirs", user_id="alice")
            server.stop()
        server.start()
        await returned(chat)
        assert said == ["one", "ok", "two", "ok", "noted", "three", "ok"]
        (moved,) = await chat.sessions(title="Ours")
        assert await chat.history(moved) == said
        (theirs,) = [each for each in await chat.sessions() if each.id != moved.id]
        assert await chat.history(theirs) == ["theirs", "1 so far"]
        assert theirs.thread_id == ours.thread_id


async def test_no_session_is_created_with_a_given_id(chat: Chat, server: Server) -> None:
    """Nobody knows whether the database has it: `thread_id` is refused."""
    await chat.say("old", user_id="bob", thread_id="bobs")
    server.stop()
    with pytest.raises(SessionsUnavailableError):
        await chat.session("create_user_session", "alice", thread_id="bobs")
    server.start()


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("by_id", [False, True], ids=["answer", "by id"])
async def test_an_answer_to_a_question_in_the_database_is_refused(
    chat: Chat, server: Server, place: str, by_id: bool, durability: str
) -> None:
    """It is not taken for the answer to another question, in a session begun for it."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(interrupt("Well?"))]}

    graph = chat.compile(graph_builder(ask))
    asked = await chat.say("book it", graph, user_id="alice")
    (question,) = asked["__interrupt__"]
    answer: Any = Command(resume={question.id: "no"} if by_id else "no")
    alice = config(user_id="alice")
    server.stop()
    with pytest.raises(SessionsUnavailableError):
        await chat.call(graph, "invoke", answer, alice, durability=durability)
    server.start()
    await returned(chat)
    await chat.call(graph, "invoke", Command(resume="yes"), alice)
    assert await conversations(place) == [["book it", "yes"]]
