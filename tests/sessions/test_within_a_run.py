"""What a node does to its own session before the run has saved it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    SessionNotFoundError,
    SessionSaver,
)
from langgraph_sessions.sessions import within
from tests.plans import play, session_row
from tests.runs.saves import new
from tests.support import PATIENCE, Chat, config, graph_builder

# Until it ends, such a run has saved nothing.
LATE = {"durability": "exit"}


def doing(
    chat: Chat,
    method: str,
    *args: Any,
    of: Any = None,
    began: asyncio.Event | None = None,
    did: asyncio.Event | None = None,
    **kwargs: Any,
) -> Any:
    """Return a graph whose node calls *method* of the saver's manager, or of another one.

    It tells *began* before it does, and *did* afterwards.
    """
    loop = asyncio.get_running_loop()

    def tell(event: asyncio.Event | None) -> None:
        if event is not None:
            loop.call_soon_threadsafe(event.set)

    bound = getattr(of or chat.saver.sessions, method)

    def node(state: Any) -> dict[str, Any]:
        tell(began)
        answer = str(bound(*args, **kwargs))
        tell(did)
        return {"messages": [AIMessage(answer)]}

    async def anode(state: Any) -> dict[str, Any]:
        tell(began)
        answer = str(await bound(*args, **kwargs))
        tell(did)
        return {"messages": [AIMessage(answer)]}

    return chat.compile(graph_builder(anode if chat.is_async else node))


async def run(chat: Chat, graph: Any, **where: Any) -> None:
    """Run *graph* for alice."""
    given = {"messages": ["Hello"]}
    await chat.call(graph, "invoke", given, config(user_id="alice", **where), **LATE)


@pytest.mark.parametrize("named", [{}, {"thread_id": "t"}], ids=["current", "named"])
async def test_a_node_updates_the_session_that_its_run_makes(chat: Chat, named: Any) -> None:
    """Not the one that was current before, and what it says is not undone at the run's end."""
    await chat.say("before", user_id="alice", thread_id="before")
    updates = {"title": "Ours", "metadata": {"seen": 1}}
    graph = doing(chat, "update_session", "alice", updates, **named)
    await run(chat, graph, title="The config's", thread_id="t")
    found = {session.thread_id: session for session in await chat.sessions()}
    assert {thread_id: session.title for thread_id, session in found.items()} == {
        "before": "before",
        "t": "Ours",
    }
    assert found["t"].metadata == {"seen": 1}
    assert (await chat.current()).thread_id == "t"
    assert await chat.history(found["t"]) != []


async def test_what_a_config_says_stands_where_the_node_says_nothing(chat: Chat) -> None:
    """A node that changes the metadata leaves the title that the run gives."""
    graph = doing(chat, "update_session", "alice", {"metadata": {"seen": 1}})
    await run(chat, graph, title="The config's")
    (session,) = await chat.sessions()
    assert (session.title, session.metadata) == ("The config's", {"seen": 1})


async def test_a_node_ends_the_conversation_that_its_run_begins(chat: Chat) -> None:
    """It is deactivated, and stays so when the run ends."""
    await run(chat, doing(chat, "deactivate_session", "alice", thread_id="t"), thread_id="t")
    (session,) = await chat.sessions()
    assert not session.is_active
    assert await chat.history(session) == ["Hello", "1"]


async def test_a_node_of_a_job_makes_its_session_current(chat: Chat) -> None:
    """A job's session is not current, unless the node switches to it."""
    graph = doing(chat, "switch_session", "alice", "t")
    await run(chat, graph, thread_id="t", make_current=False)
    assert (await chat.current()).thread_id == "t"


@pytest.mark.parametrize("method", ["create_user_session", "switch_session", "fork_session"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_what_a_node_makes_current_stays_current(
    chat: Chat, method: str, known: bool
) -> None:
    """The run's first save, which comes later, does not take that back."""
    await chat.say("before", user_id="alice", thread_id="other")
    if known:
        await chat.say("before", user_id="alice", thread_id="t")
    given = ("alice",) if method == "create_user_session" else ("alice", "other")
    await run(chat, doing(chat, method, *given), thread_id="t")
    threads = {session.thread_id for session in await chat.sessions()}
    new = threads - {"t", "other"} or {"other"}
    assert {(await chat.current()).thread_id} == new


async def test_a_node_says_more_of_a_known_session_than_the_config(chat: Chat) -> None:
    """What it does to a session that there was before stands, too, at the run's end."""
    await chat.say("before", user_id="alice", thread_id="t")
    await run(chat, doing(chat, "update_session", "alice", {"title": "Ours"}), title="Config's")
    assert (await chat.current()).title == "Ours"


async def test_a_node_ends_a_conversation_that_its_run_takes_up_again(chat: Chat) -> None:
    """The run, which activates the session, does so before the node deactivates it."""
    await chat.say("before", user_id="alice", thread_id="t", is_active=False)
    await run(chat, doing(chat, "deactivate_session", "alice"), thread_id="t")
    (session,) = await chat.sessions()
    assert not session.is_active


@pytest.mark.parametrize("method", ["delete_session", "delete_user", "transfer_sessions"])
async def test_what_a_node_deletes_or_moves_the_run_does_not_bring_back(
    chat: Chat, method: str
) -> None:
    """The rest of a run whose session is gone is refused, also of the session's first run."""
    given = {"delete_session": ("alice", "t"), "transfer_sessions": ("alice", "bob")}
    graph = doing(chat, method, *given.get(method, ("alice",)))
    with pytest.raises(SessionNotFoundError):
        await run(chat, graph, thread_id="t")
    assert await chat.sessions() == []
    assert len(await chat.sessions("bob")) == (method == "transfer_sessions")


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_a_node_makes_no_other_session(chat: Chat, who: str) -> None:
    """Another thread, and another user, have none before and after; the run fails."""
    thread_id = "t" if who == "bob" else "u"
    graph = doing(chat, "update_session", who, {"title": "No"}, thread_id=thread_id)
    with pytest.raises(SessionNotFoundError):
        await run(chat, graph, thread_id="t")
    (session,) = await chat.sessions(None)
    assert (session.user_id, session.thread_id, session.status) == ("alice", "t", "error")


async def test_a_manager_of_its_own_makes_no_session_of_a_run(chat: Chat, url: str) -> None:
    """It may be on another database than the run."""
    kind = AsyncAgentSessionManager if chat.is_async else AgentSessionManager
    manager = kind(url)
    graph = doing(chat, "update_session", "alice", {"title": "No"}, of=manager)
    with pytest.raises(SessionNotFoundError):
        await run(chat, graph)
    closed = manager.close()
    if closed is not None:
        await closed


def test_a_session_that_a_node_had_made_has_the_title_of_its_row() -> None:
    """The run knows that it is titled: its first save does not say so."""
    run = new()
    run.title = "Given"
    titled = session_row(title="Given", title_source="user")
    assert play(within._make(run), [titled]).error is None
    assert run.put("mine.0", first=True, own="c1", idle=True).title is None
    assert (run.words.untitled, run.words.may_ask) == (False, False)


@pytest.mark.parametrize(
    ("method", "arguments", "configured"),
    [
        ("create_user_session", (), {}),
        ("switch_session", ("other",), {}),
        ("fork_session", ("t",), {}),
        ("update_session", ({"title": "Ours"},), {"title": "The config's"}),
        ("deactivate_session", (), {"is_active": True}),
        ("delete_session", ("t",), {}),
    ],
)
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_a_save_under_way_undoes_nothing_of_what_a_node_does(
    chat: Chat, url: str, method: str, arguments: Any, configured: Any, known: bool
) -> None:
    """It goes on beside the first node, and was told before what the config says."""
    await chat.say("before", user_id="alice", thread_id="other")
    if known:
        is_active = "is_active" not in configured
        await chat.say("before", user_id="alice", thread_id="t", is_active=is_active)
    began, did = asyncio.Event(), asyncio.Event()
    graph = doing(chat, method, "alice", *arguments, began=began, did=did)
    given = config(user_id="alice", thread_id="t", **configured)
    async with await psycopg.AsyncConnection.connect(url) as beside:
        await beside.execute("LOCK TABLE checkpoints IN EXCLUSIVE MODE")  # Of saves, not of reads.
        running = asyncio.create_task(chat.call(graph, "invoke", {"messages": ["Hello"]}, given))
        async with asyncio.timeout(PATIENCE):
            await began.wait()
        with suppress(TimeoutError):  # It waits for the save, which waits for this.
            async with asyncio.timeout(0.2):
                await did.wait()
    with nullcontext() if method != "delete_session" else pytest.raises(SessionNotFoundError):
        await running
    found = {session.thread_id: session for session in await chat.sessions()}
    if method == "update_session":
        assert found["t"].title == "Ours"
    elif method == "deactivate_session":
        assert not any(session.is_active for session in found.values())
    elif method == "delete_session":
        assert set(found) == {"other"}
    else:
        assert (await chat.current()).thread_id != "t"


@pytest.mark.server
async def test_a_node_updates_its_session_in_an_outage() -> None:
    """Also where the session is made in memory."""
    with SessionSaver("postgresql://127.0.0.1:1/none", retry_for=0) as saver:
        chat = Chat(saver)
        await run(chat, doing(chat, "update_session", "alice", {"title": "Ours"}))
        assert (await chat.current()).title == "Ours"
