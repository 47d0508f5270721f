"""Configs that nodes kept: after their run they work as with LangGraph's own saver."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, interrupt

from langgraph_sessions import get_session
from tests.graphs import DURABILITIES, chain, says
from tests.runs import nesting
from tests.runs.nesting import CALLERS, inner
from tests.support import Chat, config, texts, until

HI = {"messages": ["hi"]}
USER = {"user_id": "alice"}


class Keeper:
    """What keeps a node's config, in conversations with *chat*."""

    def __init__(self, chat: Chat, caller: Any, who: dict[str, Any]) -> None:
        """Make a graph whose *caller* keeps its config."""
        self.chat, self.where = chat, config(**who, thread_id=f"kept {len(who)}")
        self.kept: list[RunnableConfig] = []

        async def akeep(config: RunnableConfig) -> str:
            return self._keep(config)

        self.graph = caller(chat, akeep if chat.is_async else self._keep)

    def _keep(self, config: RunnableConfig) -> str:
        self.kept.append(config)
        return f"answer {len(self.kept)}"

    async def say(self, text: str, durability: str = "sync") -> Any:
        """Have a turn."""
        given = {"messages": [text]}
        return await self.chat.call(self.graph, "invoke", given, self.where, durability=durability)

    async def use(self, method: str, graph: Any = None) -> Any:
        """Call *method* with the first config; return what it comes to, or the kind of error."""
        graph, kept = graph or self.graph, self.kept[0]
        arguments = {"invoke": (HI, kept), "update_state": (kept, HI)}.get(method, (kept,))
        try:
            result = await self.chat.call(graph, method, *arguments)
        except Exception as error:
            return type(error).__name__
        if method == "update_state":
            return sorted(set(result["configurable"]) - {"user_id"})
        return [said(each) for each in (result if method == "get_state_history" else [result])]


def said(state: Any) -> list[str]:
    """Return what a state, or an entrypoint's result, says, whatever that is made of."""
    values = state if isinstance(state, dict) else state.values
    messages = values.get("messages", []) if isinstance(values, dict) else [values]
    return [str(getattr(message, "content", message)) for message in messages]


METHODS = ["get_state", "update_state", "get_state_history", "invoke", "update_state", "get_state"]


@pytest.mark.parametrize("caller", CALLERS)
async def test_a_kept_config_works_as_with_langgraphs_saver(
    ours: Chat, plain: Chat, caller: Any
) -> None:
    """When other runs have followed, all that is done with it ends as there, one after another."""
    found: list[list[Any]] = []
    for chat, who in ((plain, {}), (ours, USER)):
        keeper, called = Keeper(chat, caller, who), inner(chat)
        for text in ("one", "two", "three"):
            await keeper.say(text)
        done = [await keeper.use(method) for method in METHODS]
        done += [await keeper.use(method, called) for method in METHODS]
        done.append(said(await keeper.say("four")))
        states = await chat.call(keeper.graph, "get_state_history", keeper.where)
        done.append([(each.metadata["step"], each.next, said(each)) for each in states])
        found.append(done)
    assert found[1] == found[0]
    (session,) = await ours.sessions()
    assert session.thread_id == "kept 1"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_the_run_that_follows_is_not_disturbed(ours: Chat, durability: str) -> None:
    """In a node of a later run, an earlier one's config is used: neither is refused."""
    keeper = Keeper(ours, nesting.node, USER)
    await keeper.say("one", durability)
    called = inner(ours)

    def use(_: RunnableConfig) -> str:
        called.update_state(keeper.kept[0], HI, "shallow")
        return str(len(called.invoke(HI, keeper.kept[0])))

    async def ause(_: RunnableConfig) -> str:
        await called.aupdate_state(keeper.kept[0], HI, "shallow")
        return str(len(await called.ainvoke(HI, keeper.kept[0])))

    outer = nesting.node(ours, ause if ours.is_async else use)
    for text in ("two", "three"):
        given = (outer, "invoke", {"messages": [text]}, keeper.where)
        ended = await ours.call(*given, durability=durability)
    assert len(texts(ended)) == 6


async def test_a_config_kept_by_a_run_that_asked(ours: Chat) -> None:
    """A run that ended with a question has ended: when it was answered, the config still works."""
    kept: list[RunnableConfig] = []

    def ask(_: Any, config: RunnableConfig) -> dict[str, Any]:
        kept.append(config)
        return {"messages": [f"You said {interrupt('Why?')}"]}

    graph, called = ours.compile(chain(ask=ask)), inner(ours)
    where = config(user_id="alice")
    await ours.call(graph, "invoke", HI, where)
    await ours.call(graph, "invoke", Command(resume="because"), where)
    await ours.call(called, "update_state", kept[0], HI, "shallow")
    await ours.call(called, "invoke", HI, kept[0])
    current = await ours.current()
    assert texts(await ours.call(graph, "get_state", current.config)) == ["hi", "You said because"]


async def test_a_config_kept_by_a_run_that_failed(ours: Chat) -> None:
    """A run that ended with an error has ended."""
    kept: list[RunnableConfig] = []

    def fail(_: Any, config: RunnableConfig) -> dict[str, Any]:
        kept.append(config)
        raise RuntimeError("no")

    graph, called = ours.compile(chain(fail=fail)), inner(ours)
    where = config(user_id="alice", thread_id="t")
    with pytest.raises(RuntimeError, match="no"):
        await ours.call(graph, "invoke", HI, where)
    await ours.say("again", user_id="alice", thread_id="t")
    await ours.call(called, "update_state", kept[0], HI, "shallow")
    await ours.call(called, "invoke", HI, kept[0])
    await ours.say("and again", user_id="alice", thread_id="t")


async def test_work_that_outlives_its_run(ours: Chat) -> None:
    """What a node left behind, in its context, goes on when others have followed."""
    called, go = inner(ours), threading.Event()
    done: list[Any] = []
    tasks: list[Any] = []

    def later(place: RunnableConfig | None) -> None:
        go.wait()
        done.append(texts(called.invoke(HI, place)))

    async def alater(place: RunnableConfig | None) -> None:
        await asyncio.to_thread(go.wait)
        done.append(texts(await called.ainvoke(HI, place)))

    def begin(_: RunnableConfig) -> str:
        for place in (None, config(thread_id="outer"), config(thread_id="aside")):
            context = contextvars.copy_context()
            tasks.append(threading.Thread(target=context.run, args=(later, place)))
            tasks[-1].start()
        return "begun"

    async def abegin(_: RunnableConfig) -> str:
        for place in (None, config(thread_id="outer"), config(thread_id="aside")):
            tasks.append(asyncio.create_task(alater(place)))
        return "begun"

    outer = nesting.node(ours, abegin if ours.is_async else begin)
    await ours.say("one", outer, user_id="alice", thread_id="outer")
    await ours.say("two", user_id="alice", thread_id="outer")
    go.set()
    if ours.is_async:
        await asyncio.gather(*tasks)
    else:
        await asyncio.to_thread(until, lambda: not any(task.is_alive() for task in tasks))
    assert sorted(map(len, done)) == [2, 2, 6]
    assert {session.thread_id for session in await ours.sessions()} == {"outer", "aside"}
    assert (await ours.current()).thread_id == "outer"
    await ours.say("three", user_id="alice", thread_id="outer")


async def test_a_kept_config_does_not_move_the_user(ours: Chat) -> None:
    """Work with it changes neither which session is current nor which are active."""
    keeper = Keeper(ours, nesting.node, USER)
    await keeper.say("one")
    await ours.session("deactivate_session", "alice")
    await ours.say("two", user_id="alice", thread_id="another")
    assert await keeper.use("invoke", inner(ours)) == [["hi", "1 inside"]]
    active = {session.thread_id: session.is_active for session in await ours.sessions()}
    assert active == {"kept 1": False, "another": True}
    assert (await ours.current()).thread_id == "another"


async def test_a_kept_config_still_tells_the_session(ours: Chat) -> None:
    """`get_session` returns it as of the start of its run."""
    keeper = Keeper(ours, nesting.node, USER)
    for text in ("one", "two"):
        await keeper.say(text)
    assert get_session(keeper.kept[0]).thread_id == "kept 1"
    assert get_session(keeper.kept[0]) is not get_session(keeper.kept[1])


async def test_steps_before_are_past_for_their_own_run(ours: Chat) -> None:
    """A later node may use the config of an earlier one, and be noticed by nobody for it."""
    kept: list[RunnableConfig] = []
    called = inner(ours)

    def keep(_: Any, config: RunnableConfig) -> dict[str, Any]:
        kept.append(config)
        return {}

    async def ause(_: RunnableConfig) -> str:
        return texts(await called.ainvoke(HI, kept[-1]))[-1]

    use = ause if ours.is_async else lambda _: texts(called.invoke(HI, kept[-1]))[-1]
    graph = ours.compile(chain(keep=keep, use=nesting.acting(ours, use), after=says("after")))
    for _ in range(2):
        ended = await ours.say("one", graph, user_id="alice", thread_id="t")
    assert texts(ended) == ["one", "1 inside", "after"] * 2
