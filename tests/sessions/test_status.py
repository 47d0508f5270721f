"""What a listing says a session waits for, from LangGraph's own pending writes."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_sessions import SessionPage
from tests.graphs import DURABILITIES, ask, chain, delta_graph, says
from tests.sessions.at_work import under_way
from tests.support import Chat, config, graph_builder

Connection = psycopg.Connection[Any]

ALICE = config(user_id="alice")


async def status(chat: Chat, user_id: str = "alice") -> str | None:
    """Return the status of a user's only session, by every way to list it."""
    (session,) = await chat.sessions(user_id)
    (active,) = await chat.session("list_active_sessions", user_id)
    assert active.status == session.status == session["status"]
    for asked in ("idle", "interrupted", "error"):
        found = await chat.sessions(user_id, status=asked)
        assert [s.id for s in found] == ([session.id] if asked == session.status else [])
    return session.status


async def test_a_session_without_a_run_is_idle(chat: Chat) -> None:
    """A session that nobody has talked in, and one that has answered, wait for nothing."""
    await chat.session("create_user_session", "alice")
    assert await status(chat) == "idle"
    await chat.say("one", user_id="alice")
    assert await status(chat) == "idle"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_interrupted_run_waits_until_it_is_resumed(chat: Chat, durability: str) -> None:
    """It is interrupted until the last question is answered, and then idle."""

    def twice(state: MessagesState) -> dict[str, Any]:
        return says(f"{interrupt('First?')} {interrupt('Second?')}")(state)

    graph = chat.compile(chain(first=says("Well?"), twice=twice, last=says("Bye")))
    found = []
    for given in ({"messages": ["one"]}, Command(resume="a"), Command(resume="b")):
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
        found.append(await status(chat))
    assert found == ["interrupted", "interrupted", "idle"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_interrupt_in_a_subgraph_counts(chat: Chat, durability: str) -> None:
    """A run that waits two levels down is interrupted, and idle when it is resumed."""
    innermost = chain(once=says("Well?"), ask=ask).compile()
    inner = chain(innermost=innermost).compile()
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    await chat.call(graph, "invoke", {"messages": ["one"]}, ALICE, durability=durability)
    assert await status(chat) == "interrupted"
    await chat.call(graph, "invoke", Command(resume="so"), ALICE, durability=durability)
    assert await status(chat) == "idle"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_failed_run_is_an_error_until_it_is_tried_again(
    chat: Chat, durability: str
) -> None:
    """A run that raised is in error; tried again with success, or talked over, it is idle."""
    broken = [True]

    def fragile(state: MessagesState) -> dict[str, Any]:
        if broken[0]:
            raise ZeroDivisionError
        return says("ok")(state)

    graph = chat.compile(chain(first=says("Well?"), fragile=fragile))
    for given in ({"messages": ["one"]}, None):
        broken[0] = True
        with pytest.raises(ZeroDivisionError):
            await chat.call(graph, "invoke", given, ALICE, durability=durability)
        assert await status(chat) == "error"
    broken[0] = False
    await chat.call(graph, "invoke", None, ALICE, durability=durability)
    assert await status(chat) == "idle"
    broken[0] = True
    with pytest.raises(ZeroDivisionError):
        await chat.call(graph, "invoke", {"messages": ["two"]}, ALICE, durability=durability)
    assert await status(chat) == "error"
    broken[0] = False
    await chat.call(graph, "invoke", {"messages": ["three"]}, ALICE, durability=durability)
    assert await status(chat) == "idle"


async def test_an_error_in_a_subgraph_counts(chat: Chat) -> None:
    """A run that failed in a subgraph is in error."""

    def fail(state: Any) -> Any:
        raise ZeroDivisionError

    graph = chat.compile(chain(inner=chain(once=says("Well?"), fail=fail).compile()))
    with pytest.raises(ZeroDivisionError):
        await chat.say("one", graph, user_id="alice")
    assert await status(chat) == "error"


def beside(first: Any, second: Any) -> Any:
    """Return a graph of two nodes side by side."""
    builder = StateGraph(MessagesState)
    for name, node in (("first", first), ("second", second)):
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


async def test_of_two_tasks_one_that_waits_is_enough(chat: Chat) -> None:
    """A question beside an answer, and beside another question, is interrupted to the last."""

    def other(state: MessagesState) -> dict[str, Any]:
        return says(interrupt("And why?"))(state)

    graph = chat.compile(beside(ask, says("ok")))
    await chat.say("one", graph, user_id="alice")
    assert await status(chat) == "interrupted"
    await chat.call(graph, "invoke", Command(resume="so"), ALICE)
    assert await status(chat) == "idle"
    both = chat.compile(beside(ask, other))
    state = await chat.say("one", both, user_id="bob")
    for question in state["__interrupt__"]:
        assert await status(chat, "bob") == "interrupted"
        answer = Command(resume={question.id: "so"})
        await chat.call(both, "invoke", answer, config(user_id="bob"))
    assert await status(chat, "bob") == "idle"


async def test_a_question_talked_over_no_longer_waits(chat: Chat) -> None:
    """A new message to a session that waits leaves the question behind."""
    graph = chat.compile(chain(ask=ask))
    await chat.say("one", graph, user_id="alice")
    assert await status(chat) == "interrupted"
    await chat.say("two", user_id="alice")
    assert await status(chat) == "idle"


async def test_a_deltas_question_waits(chat: Chat) -> None:
    """A graph with a `DeltaChannel` is interrupted, too."""
    graph = delta_graph(chat, 100, ask=lambda state: ask(state))
    await chat.call(graph, "invoke", {"messages": [("user", "one")]}, ALICE)
    assert await status(chat) == "interrupted"


async def test_a_run_at_work_waits_for_nothing(chat: Chat) -> None:
    """A session whose run is in a node is idle: it waits for nobody."""
    async with under_way(chat, user_id="alice"):
        assert await status(chat) == "idle"


async def test_a_listing_by_status_goes_in_pages(chat: Chat) -> None:
    """The filter goes with the others, through the cursors, and is part of what they are for."""
    waiting = chat.compile(chain(ask=ask))
    for number in range(8):
        graph = waiting if number % 2 else None
        await chat.say(f"Chat {number}", graph, user_id="alice", new_session=True)
    await chat.session("deactivate_session", "alice", thread_id=(await chat.current()).thread_id)
    seen: list[str] = []
    cursor = None
    given: dict[str, Any] = {"status": "interrupted", "limit": 1, "active": True, "title": "chat"}
    while True:
        page = await chat.session("list_sessions", "alice", **given, cursor=cursor)
        assert isinstance(page, SessionPage)
        seen += [session.title for session in page]
        if (cursor := page.next_cursor) is None:
            break
        with pytest.raises(ValueError, match="cursor"):
            await chat.sessions(**{**given, "status": "idle"}, cursor=cursor)
    assert seen == ["Chat 5", "Chat 3", "Chat 1"]


async def test_only_listings_know_a_status(chat: Chat) -> None:
    """A session from elsewhere has none, and equals the one that has."""
    await chat.say("one", user_id="alice")
    session = await chat.current()
    (listed,) = await chat.sessions()
    assert (session.status, listed.status) == (None, "idle")
    assert (dict(session)["status"], dict(listed)["status"]) == (None, "idle")
    assert session == listed
    assert "idle" in (await chat.session("list_sessions", "alice"))._repr_html_()


async def test_a_cached_session_has_no_status(chat: Chat) -> None:
    """Neither has one that a run, or a method, has just written: it would soon be an old one."""
    await chat.say("one", user_id="alice")
    found = await chat.session("get_current_user_session", "alice")
    made = await chat.session("get_or_create_user_session", "bob")
    assert (found.status, made.status) == (None, None)


async def test_a_graph_that_stops_before_a_node_is_idle(chat: Chat) -> None:
    """A breakpoint is not a question: nobody is asked for an answer."""
    graph = chat.compile(graph_builder(), interrupt_before=["node"])
    await chat.say("one", graph, user_id="alice")
    assert await status(chat) == "idle"
