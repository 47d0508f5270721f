"""A run that another overtakes raises, and leaves nothing of what it had not saved before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph, add_messages

from langgraph_sessions import ConcurrentRunError, SessionSaver
from tests.answering import answer, apart
from tests.support import PATIENCE, Chat, config, graph_builder, texts

Connection = psycopg.Connection[Any]


def late_graph(chat: Chat, overtake: Callable[[], object]) -> Any:
    """Return a graph whose run calls *overtake*, once, when it has loaded and not yet saved.

    By the time that anything of the graph is called, its reducers included, LangGraph has sent
    off the input's checkpoint.
    """
    overtakes = iter([overtake])
    name = "aget_tuple" if chat.is_async else "get_tuple"
    load = getattr(chat.saver, name)

    def overtaken(config: Any) -> Any:
        loaded = load(config)
        next(overtakes, bool)()
        return loaded

    async def aovertaken(config: Any) -> Any:
        loaded = await load(config)
        await asyncio.to_thread(next(overtakes, bool))
        return loaded

    setattr(chat.saver, name, aovertaken if chat.is_async else overtaken)
    return chat.compile(graph_builder(answer))


def rows(db: Connection) -> list[list[str]]:
    """Return all that is saved."""
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "user_sessions")
    statements = [f"SELECT t::text AS row FROM {table} AS t ORDER BY 1" for table in tables]
    return [[row["row"] for row in db.execute(statement)] for statement in statements]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("before", [(), ("first",)], ids=["new session", "known session"])
async def test_a_refused_run_changes_nothing(
    chat: Chat, url: str, db: Connection, before: tuple[str, ...], durability: str
) -> None:
    """A run that another one overtook raises, every row stays as it is, and it can be run again."""
    apart(url, *before)
    saved: list[Any] = []
    graph = late_graph(chat, lambda: (apart(url, "early"), saved.append(rows(db))))
    late = (graph, "invoke", {"messages": ["late"]}, config(user_id="alice", title="Late"))
    with pytest.raises(ConcurrentRunError):
        await chat.call(*late, durability=durability)
    assert [rows(db)] == saved
    await chat.call(*late, durability=durability)
    expected = [word for text in (*before, "early", "late") for word in (text, f"re {text}")]
    assert await chat.history(await chat.current()) == expected


async def test_with_allow_the_later_branch_hides_the_earlier(url: str) -> None:
    """As in plain LangGraph, a run that another overtook goes on, without the other's words."""
    with SessionSaver(url, concurrent_runs="allow") as saver:
        chat = Chat(saver)
        graph = late_graph(chat, lambda: apart(url, "early"))
        await chat.say("late", graph, user_id="alice")
        assert await chat.history(await chat.current()) == ["late", "re late"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_overtaken_in_its_midst_raises(chat: Chat, url: str, durability: str) -> None:
    """A run that another passes while a node is at work raises, and the other's words are kept."""

    def overtaken(state: MessagesState) -> dict[str, Any]:
        apart(url, "early")
        return {"messages": [AIMessage("too late")]}

    graph = chat.compile(graph_builder(overtaken))
    late = (graph, "invoke", {"messages": ["late"]}, config(user_id="alice"))
    with pytest.raises(ConcurrentRunError):
        await chat.call(*late, durability=durability)
    history = await chat.history(await chat.current())
    assert history[-2:] == ["early", "re early"]
    assert "too late" not in history


async def test_what_a_run_saved_before_it_was_overtaken_is_kept(chat: Chat, url: str) -> None:
    """Who overtakes a run started from what that had saved, and so has read it."""
    graph = chat.compile(graph_builder(lambda state: apart(url, "early")))
    late = (graph, "invoke", {"messages": ["late"]}, config(user_id="alice"))
    with pytest.raises(ConcurrentRunError):
        await chat.call(*late, durability="sync")
    assert await chat.history(await chat.current()) == ["late", "early", "re early"]


def remembering(together: threading.Barrier) -> Any:
    """Return a graph with a subgraph that remembers, in which runs meet that say "yes" or "no"."""

    def recall(state: Any) -> dict[str, Any]:
        heard = state["messages"][-1].content
        if heard in ("yes", "no"):
            together.wait(PATIENCE)
        seen = [*state.get("seen", []), heard]
        return {"seen": seen, "messages": [AIMessage(f"seen {seen}")]}

    fields = {"messages": Annotated[list[Any], add_messages], "seen": list[str]}
    builder: Any = StateGraph(TypedDict("state", fields))  # type: ignore[operator,arg-type]
    builder.add_node("recall", recall)
    builder.add_edge(START, "recall")
    return graph_builder(builder.compile(checkpointer=True))


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_refused_run_leaves_nothing_in_a_subgraphs_memory(
    chat: Chat, durability: str
) -> None:
    """What a subgraph remembers is of the runs that succeeded alone.

    Which of two runs saves first is chance, so there are ten pairs. A run that was overtaken
    after it saved what it was told has left that among the subgraph's messages, and the other
    may have read it: the messages do not tell which of the two succeeded.
    """
    graph = chat.compile(remembering(threading.Barrier(2)))
    for pair in range(10):
        who = config(user_id=f"user-{pair}")
        await chat.call(graph, "invoke", {"messages": ["first"]}, who)
        said = ("yes", "no")
        runs = (
            chat.call(graph, "invoke", {"messages": [text]}, who, durability=durability)
            for text in said
        )
        outcomes = zip(said, await asyncio.gather(*runs, return_exceptions=True), strict=True)
        (kept,) = (text for text, outcome in outcomes if isinstance(outcome, dict))
        last = await chat.call(graph, "invoke", {"messages": ["last"]}, who)
        assert texts(last)[-1] == f"seen {['first', kept, 'last']}"
