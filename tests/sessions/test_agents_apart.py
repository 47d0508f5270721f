"""Several agents on one database: each has its own sessions of a user, and its own current one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    Session,
    SessionNotFoundError,
    SessionSaver,
)
from langgraph_sessions.checks import EVERYBODY
from tests.agents import Agents, names
from tests.support import Chat, config, graph_builder, past_pooler, texts

Db = psycopg.Connection[Any]


# --- Each its own ---------------------------------------------------------------------------------


async def test_each_agent_has_its_own_current_session(agents: Agents) -> None:
    """Two graphs on one database go on with a session each, in turns."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    for text in ("One", "Two"):
        for agent in (cook, guide):
            await agent.say(text, user_id="alice")
    for agent, name in ((cook, "cook"), (guide, "guide")):
        session = await agent.current()
        assert session.agent == session["agent"] == name
        assert await agent.history(session) == ["One", "1 so far", "Two", "3 so far"]
        assert await agent.sessions() == [session]


async def test_without_an_agent_all_sessions_are_seen(agents: Agents) -> None:
    """A saver without an agent goes on with the session used last, whichever agent's."""
    cook, nobody = await agents.of("cook"), agents.nobody
    await nobody.say("Mine", user_id="alice")
    await cook.say("Soup", user_id="alice")
    assert await names(nobody) == ["cook", None]
    assert await names(cook) == ["cook"]
    await nobody.say("Salt", user_id="alice")
    assert await cook.history(await cook.current()) == ["Soup", "1 so far", "Salt", "3 so far"]
    assert await nobody.current() == await cook.current()


async def test_a_session_can_be_given_to_an_agent(agents: Agents, db: Db) -> None:
    """By SQL, as the README says: the agent goes on with it."""
    cook, nobody = await agents.of("cook"), agents.nobody
    await nobody.say("Soup", user_id="alice")
    db.execute("UPDATE user_sessions SET agent = 'cook'")
    await cook.say("Salt", user_id="alice")
    assert await cook.history(await cook.current()) == ["Soup", "1 so far", "Salt", "3 so far"]


async def test_a_run_does_not_find_another_agents_thread(agents: Agents, db: Db) -> None:
    """Named by an agent, the thread of another, or of none, looks like none; nothing is written."""
    cook, guide, nobody = await agents.of("cook"), await agents.of("guide"), agents.nobody
    await guide.say("Rome", user_id="alice")
    await nobody.say("Mine", user_id="alice")

    def rows() -> list[list[Any]]:
        tables = (b"user_sessions", b"checkpoints")
        return [db.execute(b"SELECT * FROM " + name + b" ORDER BY 1").fetchall() for name in tables]

    before = rows()
    for session in await nobody.sessions():
        where = {"user_id": "alice", "thread_id": session.thread_id}
        with pytest.raises(SessionNotFoundError):
            await cook.say("Hello", **where)
        with pytest.raises(SessionNotFoundError):
            await cook.call(cook.graph, "get_state", session.config)
        with pytest.raises(SessionNotFoundError):
            await cook.call(cook.saver, "list", config(**where))
        with pytest.raises(SessionNotFoundError):
            await cook.call(cook.graph, "update_state", session.config, {"messages": ["x"]})
    assert rows() == before


async def test_a_thread_that_another_agent_took_is_not_saved_to(agents: Agents) -> None:
    """Where it was nobody's when the run began, the save is refused, and nothing of it is kept."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    taken = AgentSessionManager(agents.url, agent="guide")

    def node(state: Any) -> dict[str, Any]:
        taken.create_user_session("alice", thread_id="t")
        return {"messages": []}

    where, given = config(user_id="alice", thread_id="t"), {"messages": ["Soup"]}
    graph = cook.compile(graph_builder(node))
    with pytest.raises(SessionNotFoundError):
        await cook.call(graph, "invoke", given, where, durability="exit")
    assert await guide.history(await guide.current()) == []
    taken.close()


HERS: tuple[str, str] = ("alice", "theirs")
METHODS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("get_session", HERS, {}),
    ("run_config", HERS[:1], {"thread_id": "theirs"}),
    ("update_session", ("alice", {"title": "Mine"}), {"thread_id": "theirs"}),
    ("switch_session", HERS, {}),
    ("fork_session", HERS, {}),
    ("adopt_session", HERS, {}),
    ("delete_session", HERS, {}),
]


@pytest.mark.parametrize(("method", "given", "named"), METHODS, ids=[each[0] for each in METHODS])
async def test_a_method_does_not_find_another_agents_session(
    agents: Agents, method: str, given: Any, named: Any
) -> None:
    """To an agent's manager, the session of another agent, or of none, looks like none."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    for other in (guide, agents.nobody):
        theirs = await other.session("create_user_session", "alice", thread_id="theirs")
        with pytest.raises(SessionNotFoundError):
            await cook.session(method, *given, **named)
        assert await cook.session("deactivate_session", "alice", thread_id="theirs") == 0
        assert await other.sessions() == [theirs]
        await other.session("delete_session", *HERS)


async def test_an_agent_alone_is_current_active_and_listed(agents: Agents) -> None:
    """What a manager says of a user, and ends, is its agent's alone."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    theirs = await guide.session("create_user_session", "alice")
    await guide.session("update_preferences", "alice", {"language": "it"})  # Which are the user's.
    assert await cook.session("get_preferences", "alice") == {"language": "it"}
    assert not await cook.session("has_session", "alice")
    assert await cook.session("list_active_sessions", "alice") == []
    assert await cook.session("list_active_sessions") == []
    assert await cook.session("count_sessions", "alice") == 0
    with pytest.raises(SessionNotFoundError):
        await cook.session("get_current_user_session", "alice")
    with pytest.raises(SessionNotFoundError):
        await cook.session("update_session", "alice", {"title": "Mine"})
    mine = await cook.session("get_or_create_user_session", "alice", "Mine")
    assert mine.agent == "cook"
    assert await cook.session("deactivate_session", "alice") == 1
    assert await guide.current() == theirs
    assert not await cook.session("has_session", "alice")


async def test_a_lock_is_of_the_agents_session(agents: Agents) -> None:
    """`exclusive` has the agent's current session, and not another's."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    theirs = await guide.session("create_user_session", "alice")
    mine = await cook.session("create_user_session", "alice")
    for chat, own, other in ((cook, mine, theirs), (guide, theirs, mine)):
        assert await held(chat, "alice") == own
        with pytest.raises(SessionNotFoundError):
            await held(chat, "alice", other.thread_id)


async def held(chat: Chat, *place: str) -> Session:
    """Return the session that *chat* has to itself for a moment."""
    exclusive: Any = chat.saver.sessions.exclusive(*place, timeout=5)
    if chat.is_async:
        async with exclusive as session:
            assert isinstance(session, Session)
            return session
    with exclusive as session:
        assert isinstance(session, Session)
        return session


# --- Who looks -----------------------------------------------------------------------------------


async def test_sessions_are_listed_and_counted_by_agent(agents: Agents) -> None:
    """Who has no agent may ask for one's, a user's or everybody's, page by page."""
    cook, guide, nobody = await agents.of("cook"), await agents.of("guide"), agents.nobody
    for user in ("alice", "bob"):
        for chat in (nobody, cook, guide, cook):
            await chat.session("create_user_session", user)
    assert await names(nobody, agent="cook") == ["cook"] * 2
    assert await names(nobody, None, agent="cook") == ["cook"] * 4
    assert await nobody.session("count_sessions", "alice", agent="guide") == 1
    assert await nobody.session("count_sessions", agent="guide") == 2
    assert await nobody.session("count_sessions", agent="nobody's") == 0
    assert await cook.session("count_sessions", EVERYBODY) == 4
    page = await nobody.session("list_sessions", agent="cook", limit=3)
    rest = {"agent": "cook", "cursor": page.next_cursor}
    assert len(page) + len(await nobody.sessions(None, **rest)) == 4
    with pytest.raises(ValueError, match="cursor"):
        await nobody.sessions(None, cursor=page.next_cursor)


async def test_a_manager_of_an_agent_is_not_asked_for_another(agents: Agents) -> None:
    """It lists its own, also by name; for another's the error names `agent`."""
    cook = await agents.of("cook")
    await cook.session("create_user_session", "alice")
    assert await names(cook, agent="cook") == ["cook"]
    for method in ("list_sessions", "count_sessions"):
        with pytest.raises(ValueError, match="agent must be 'cook'"):
            await cook.session(method, "alice", agent="guide")


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 256, "a\0b", 7, b"cook", True])
def test_a_wrong_agent_is_named(wrong: Any, url: str) -> None:
    """Not a name of 1 to 255 characters: refused, by savers, managers and listings, before all."""
    error = ValueError if isinstance(wrong, str) else TypeError
    for kind in (SessionSaver, AgentSessionManager, AsyncAgentSessionManager):
        with pytest.raises(error, match="agent must"):
            kind(url, agent=wrong)
    manager = AgentSessionManager(url)
    for method in (manager.list_sessions, manager.count_sessions):
        with pytest.raises(error, match="agent must"):
            method(agent=wrong)
    manager.close()


async def test_an_agent_is_no_key_of_a_run(agents: Agents, db: Db) -> None:
    """Who calls a graph does not say which agent it is; the metadata of checkpoints do not, too."""
    cook = await agents.of("cook")
    await cook.say("Soup", user_id="alice")
    named = "SELECT FROM checkpoints WHERE metadata ? 'agent'"
    assert db.execute(named).fetchall() == []
    await cook.say("Salt", user_id="alice", agent="guide")
    assert await names(cook) == ["cook"]


# --- What becomes of sessions --------------------------------------------------------------------


async def test_copies_are_of_their_sources_agent(agents: Agents) -> None:
    """A fork, and a copied thread, carry the agent, whoever makes them."""
    cook, nobody = await agents.of("cook"), agents.nobody
    await cook.say("Soup", user_id="alice")
    source = await cook.current()
    for chat in (cook, nobody):
        fork = await chat.session("fork_session", "alice", source.thread_id)
        assert fork.agent == "cook"
        assert await cook.current() == fork
        await cook.say("Salt", user_id="alice")
    await nobody.call(nobody.saver, "copy_thread", source.thread_id, "copy")
    assert (await cook.session("get_session", "alice", "copy")).agent == "cook"


async def test_what_is_adopted_is_of_the_adopting_agent(agents: Agents, url: str) -> None:
    """By a run, by `adopt_session` and by `backfill`; who has no agent adopts for none."""
    from langgraph.checkpoint.postgres import PostgresSaver

    cook, nobody = await agents.of("cook"), agents.nobody
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        plain.setup()
        graph = agents.nobody.graph.builder.compile(checkpointer=plain)
        for thread in ("a", "b", "c", "d"):
            given = config(thread_id=thread, user_id="alice")
            graph.invoke({"messages": ["Hello"]}, given)
    await cook.say("Again", user_id="alice", thread_id="a")
    await cook.session("adopt_session", "alice", "b")
    await nobody.session("adopt_session", "alice", "c")
    await cook.session("backfill")
    found = {session.thread_id: session.agent for session in await nobody.sessions()}
    assert found == {"a": "cook", "b": "cook", "c": None, "d": "cook"}


async def test_an_erasure_and_an_export_are_of_all_agents(agents: Agents, db: Db) -> None:
    """Whoever asks: everything of the user, whichever agent made it."""
    cook, guide, nobody = await agents.of("cook"), await agents.of("guide"), agents.nobody
    for chat in (cook, guide, nobody):
        await chat.session("create_user_session", "alice")
        await chat.call(chat.saver, "get_tuple", config(user_id="bob"))
    exported = (
        [r async for r in cook.saver.sessions.export_user("alice")]
        if cook.is_async
        else [
            *cook.saver.sessions.export_user("alice")  # type: ignore[misc]
        ]
    )
    assert {record["agent"] for record in exported} == {"cook", "guide", None}
    assert (await cook.session("delete_user", "alice"))["sessions"] == 3
    assert (await cook.session("delete_user", "bob"))["users"] == 1
    for table in ("user_sessions", "session_threads", "session_reservations"):
        assert db.execute(f"SELECT FROM {table}".encode()).rowcount == 0


async def test_an_agents_purge_is_its_own(agents: Agents) -> None:
    """Sessions of other agents, and of none, stay, however old they are."""
    cook, guide, nobody = await agents.of("cook"), await agents.of("guide"), agents.nobody
    for chat in (cook, guide, nobody):
        await chat.session("create_user_session", "alice")
    purged = await cook.session("purge_sessions", idle_for=timedelta(0))
    assert purged == {"purged": 1, "kept": 0}
    assert await names(nobody) == [None, "guide"]


# --- Current -------------------------------------------------------------------------------------


async def test_a_job_makes_nothing_current_for_whoever_looks(agents: Agents) -> None:
    """With the agent or with none, current is what was so before the job's new session."""
    cook, guide, nobody = await agents.of("cook"), await agents.of("guide"), agents.nobody
    await cook.say("Soup", user_id="alice", thread_id="soup")
    await guide.say("Rome", user_id="alice", thread_id="rome")
    await cook.say("A job", user_id="alice", thread_id="job", make_current=False)
    assert (await cook.current()).thread_id == "soup"
    assert (await nobody.current()).thread_id == "rome"


async def test_a_switch_is_of_the_agent(agents: Agents) -> None:
    """What one agent makes current changes nothing for another; who has none sees the last."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    first, second = [await cook.session("create_user_session", "alice") for _ in range(2)]
    theirs = await guide.session("create_user_session", "alice")
    assert await cook.current() == second
    await cook.session("switch_session", "alice", first.thread_id)
    assert (await cook.current()).thread_id == first.thread_id
    assert await guide.current() == theirs
    assert (await agents.nobody.current()).thread_id == first.thread_id


async def test_a_trusted_thread_is_of_the_agent(agents: Agents) -> None:
    """With `trust_thread_id`, a thread named alone is its owner's, and not another agent's."""
    cook = await agents.of("cook", trust_thread_id=True)
    guide = await agents.of("guide", trust_thread_id=True)
    await cook.say("Soup", user_id="alice", thread_id="t")
    state = await cook.call(cook.graph, "get_state", config(thread_id="t"))
    assert texts(state) == ["Soup", "1 so far"]
    with pytest.raises(SessionNotFoundError):
        await guide.say("Rome", thread_id="t")


async def test_a_titler_titles_its_agents_sessions_alone(agents: Agents) -> None:
    """Called for a session of another agent, a titler is not asked."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    await cook.say("Soup", user_id="alice", thread_id="t")
    await guide.session("call_titler", lambda _: "Rome", "t")
    assert (await cook.current()).title == "Soup"
    await cook.session("call_titler", lambda _: "Recipes", "t")
    assert (await cook.current()).title == "Recipes"
