"""A user's preferences, and `get_session(config)`, by which nodes and tools read them."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import MessagesState

from langgraph_sessions import AgentSessionManager, Session, SessionNotFoundError, get_session
from tests.answering import FORKING
from tests.graphs import Model, chain, says
from tests.support import Chat, config, graph_builder

Connection = psycopg.Connection[Any]

ALICE = config(user_id="alice")


async def test_preferences_merge(chat: Chat) -> None:
    """Changes are merged key by key; `None` removes a key; what is returned is all of them."""
    assert await chat.session("get_preferences", "alice") == {}
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"language": "it", "units": "metric"}, {"language": "it", "units": "metric"}),
        ({"language": "de"}, {"language": "de", "units": "metric"}),
        ({"units": None, "gone": None}, {"language": "de"}),
        ({}, {"language": "de"}),
        ({"theme": {"dark": True}}, {"language": "de", "theme": {"dark": True}}),
        ({"theme": {"size": [1, 2]}}, {"language": "de", "theme": {"size": [1, 2]}}),
    ]
    for change, result in changes:
        assert await chat.session("update_preferences", "alice", change) == result
        assert await chat.session("get_preferences", "alice") == result
    assert await chat.session("get_preferences", "bob") == {}


async def test_the_first_update_removes_nothing_that_nests(chat: Chat) -> None:
    """A `None` inside a value is a value, in a user's first update as in a later one."""
    for user in ("alice", "bob"):
        if user == "bob":
            await chat.session("update_preferences", user, {"x": 1})
        changed = await chat.session("update_preferences", user, {"x": None, "a": {"b": None}})
        assert changed == {"a": {"b": None}}


async def test_odd_keys_are_just_keys(chat: Chat) -> None:
    """Keys that look like SQL, parameters or array elements are kept, and removed, as they are."""
    odd = {"'; DROP TABLE session_users; --": 1, "%s": 2, "a,b": 3, '{"x"}': 4, "": 5, "NULL": 6}
    assert await chat.session("update_preferences", "alice", odd) == odd
    removed = dict.fromkeys(list(odd)[:-1])
    assert await chat.session("update_preferences", "alice", removed) == {"NULL": 6}


async def test_preferences_are_the_users_not_the_sessions(chat: Chat, db: Connection) -> None:
    """They are kept across sessions, and when one is deleted; a first run keeps them."""
    await chat.session("update_preferences", 42, {"language": "it"})
    await chat.say("one", user_id=42)
    await chat.session("delete_session", 42, (await chat.current("42")).thread_id)
    await chat.say("two", user_id="42", new_session=True)
    assert await chat.session("get_preferences", "42") == {"language": "it"}
    await chat.session("delete_user", "42")
    assert await chat.session("get_preferences", "42") == {}
    assert db.execute("SELECT FROM session_users").fetchall() == []


def update(url: str, number: int, start: Any) -> None:
    """Update ten keys of one's own, at the same moment as the others."""
    manager = AgentSessionManager(url)
    manager.count_sessions()
    start.wait()
    for index in range(10):
        manager.update_preferences("alice", {f"{number}-{index}": index, f"{number}-x": None})
    manager.close()


def test_updates_at_once_all_survive(url: str) -> None:
    """Four processes that change different keys of one user lose none of each other's."""
    start = FORKING.Barrier(4)
    workers = [FORKING.Process(target=update, args=(url, n, start)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    manager = AgentSessionManager(url)
    expected = {f"{number}-{index}": index for number in range(4) for index in range(10)}
    assert manager.get_preferences("alice") == expected
    manager.close()


# --- get_session(config) --------------------------------------------------------------------------


class Reading:
    """A node that keeps the sessions that it finds in its config."""

    def __init__(self) -> None:
        self.found: list[Session] = []

    def __call__(self, state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        self.found.append(get_session(config))
        return {"messages": [AIMessage("ok")]}


async def test_a_node_finds_its_session(chat: Chat) -> None:
    """Title, metadata and preferences are there, as of the run's start."""
    node = Reading()
    graph = chat.compile(graph_builder(node))
    await chat.session("create_user_session", "alice", "Trip", metadata={"a": [1]})
    await chat.session("update_preferences", "alice", {"language": "it"})
    session = await chat.current()
    await chat.say("one", graph, user_id="alice", title="Rome")
    (found,) = node.found
    assert (found.thread_id, found.id, found.user_id) == (session.thread_id, session.id, "alice")
    assert (found.metadata, found.preferences) == ({"a": [1]}, {"language": "it"})
    assert dict(found) == dict(session)
    found.preferences["language"] = "de"
    assert found.preferences == {"language": "it"}
    await chat.say("two", graph, user_id="alice")
    assert node.found[-1].title == "Rome"


async def test_a_session_does_not_change_within_a_run(chat: Chat, db: Connection) -> None:
    """A second node sees what the first one saw, whatever happened in between."""
    first, second = Reading(), Reading()

    def between(state: MessagesState) -> dict[str, Any]:
        db.execute("UPDATE user_sessions SET title = 'Renamed', metadata = '{\"x\": 1}'")
        db.execute("UPDATE session_users SET preferences = '{}'")
        return {}

    graph = chat.compile(chain(first=first, between=between, second=second))
    await chat.session("update_preferences", "alice", {"language": "it"})
    await chat.say("one", user_id="alice")
    await chat.say("two", graph, user_id="alice")
    assert dict(first.found[0]) == dict(second.found[0])
    assert second.found[0].preferences == {"language": "it"}


@pytest.mark.parametrize(
    "who",
    [
        {},
        {"new_session": True},
        {"thread_id": "t"},
        {"title": "Trip"},
        {"title": "Trip", "thread_id": "t"},
    ],
    ids=repr,
)
async def test_a_run_that_makes_its_session_finds_it(chat: Chat, who: dict[str, Any]) -> None:
    """A new session has its thread, its title and the user's preferences already."""
    node = Reading()
    await chat.session("update_preferences", "alice", {"language": "it"})
    await chat.say("one", chat.compile(graph_builder(node)), user_id="alice", **who)
    (found,) = node.found
    session = await chat.current()
    assert (found.user_id, found.thread_id) == ("alice", session.thread_id)
    assert found.title == who.get("title", "New Chat")
    assert (found.preferences, found.metadata, found.is_active) == ({"language": "it"}, {}, True)
    assert found.config == session.config


async def test_a_subgraph_finds_its_session(chat: Chat) -> None:
    """A node of a subgraph, two levels deep and with a memory of its own, finds the same."""
    deep, deeper, outer = Reading(), Reading(), Reading()
    innermost = chain(deeper=deeper).compile()
    inner = chain(deep=deep, innermost=innermost).compile(checkpointer=True)
    graph = chat.compile(chain(inner=inner, outer=outer))
    await chat.say("one", graph, user_id="alice")
    await chat.say("two", graph, user_id="alice")
    session = await chat.current()
    for node in (deep, deeper, outer):
        assert [found.thread_id for found in node.found] == [session.thread_id] * 2
        assert node.found[-1].id == session.id


async def test_a_tool_finds_its_session(chat: Chat) -> None:
    """A tool that an agent calls reads the preferences of the user who is served."""
    found: list[Session] = []

    @tool
    def weather(city: str, config: RunnableConfig) -> str:
        """Look up the weather."""
        found.append(get_session(config))
        return f"sun in {city}"

    agent = create_agent(Model(), [weather], checkpointer=chat.saver)
    await chat.session("update_preferences", "alice", {"units": "metric"})
    await chat.say("Rome", agent, user_id="alice")
    assert [(session.user_id, session.preferences) for session in found] == [
        ("alice", {"units": "metric"})
    ]


async def test_two_users_at_once_find_each_their_own(chat: Chat) -> None:
    """Runs side by side do not see each other's sessions."""
    node = Reading()
    graph = chat.compile(graph_builder(node))
    users = [f"user{number}" for number in range(8)]
    for user in users:
        await chat.session("update_preferences", user, {"me": user})
    await asyncio.gather(*(chat.say("one", graph, user_id=user) for user in users))
    assert sorted(session.user_id for session in node.found) == users
    assert all(session.preferences == {"me": session.user_id} for session in node.found)


async def test_a_run_of_nobody_has_no_session(chat: Chat) -> None:
    """Without a user there is none to find, nor in a config that is no run's."""
    graph = chat.compile(graph_builder(Reading()))
    with pytest.raises(SessionNotFoundError):
        await chat.say("one", graph, thread_id="plain")
    for given in (ALICE, config(thread_id="plain"), config(), RunnableConfig()):
        with pytest.raises(SessionNotFoundError):
            get_session(given)


async def test_says_nothing_of_ours(chat: Chat) -> None:
    """A run that reads its session saves and streams what one that does not would."""
    plain = await chat.say("one", chat.compile(graph_builder(says("ok"))), user_id="alice")
    read = await chat.say("one", chat.compile(graph_builder(Reading())), user_id="bob")
    assert [m.content for m in plain["messages"]] == [m.content for m in read["messages"]]


@pytest.mark.parametrize("given", [None, "alice", 5])
def test_what_is_no_config_is_named(given: Any) -> None:
    """A helper that got no config at all says so."""
    with pytest.raises(TypeError, match="config"):
        get_session(given)
