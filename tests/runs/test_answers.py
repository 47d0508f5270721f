"""A question answered twice: one answer is taken, and the other raises."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_sessions import ConcurrentRunError
from tests.support import PATIENCE, Chat, asking, config, in_one_moment, texts


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("below", [False, True], ids=["node", "subgraph"])
@pytest.mark.parametrize("addressed", [False, True], ids=["session", "checkpoint"])
async def test_of_two_answers_at_once_one_is_taken(
    chat: Chat, below: bool, addressed: bool, durability: str
) -> None:
    """A double-clicked answer succeeds once and raises once; the history has the one it took."""
    graph = chat.compile(asking(together=threading.Barrier(2), below=below))
    await chat.say("Hello", graph, user_id="alice")
    answers = [Command(resume="yes"), Command(resume="no")]
    waits = (await chat.call(graph, "get_state", (await chat.current()).config)).config
    where = waits if addressed else None
    outcomes = await in_one_moment(chat, graph, answers, durability, where)
    assert [type(each) for each in outcomes].count(ConcurrentRunError) == 1, outcomes
    (taken,) = (texts(each) for each in outcomes if isinstance(each, dict))
    assert taken in (["Hello", "You said yes"], ["Hello", "You said no"])
    session = await chat.current()
    assert await chat.history(session) == taken
    assert (await chat.call(graph, "get_state", session.config)).next == ()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("below", [False, True], ids=["node", "subgraph"])
async def test_of_two_answers_to_the_first_of_two_questions_one_is_taken(
    chat: Chat, below: bool, durability: str
) -> None:
    """One answer raises although no checkpoint comes between two questions of a node."""
    graph = chat.compile(asking(2, together=threading.Barrier(2), below=below))
    await chat.say("Hello", graph, user_id="alice")
    answers = [Command(resume="yes"), Command(resume="no")]
    outcomes = await in_one_moment(chat, graph, answers, durability)
    refused = [isinstance(each, ConcurrentRunError) for each in outcomes]
    assert sorted(refused) == [False, True], outcomes
    taken = answers[refused.index(False)].resume
    alone = chat.compile(asking(2, below=below))
    last = await chat.call(alone, "invoke", Command(resume="so"), config(user_id="alice"))
    assert texts(last) == ["Hello", f"You said {taken} and so"]


class Questions:
    """A graph that asks alice several questions at once; a node that is told *slow* waits."""

    def __init__(self, chat: Chat, names: list[str], slow: str) -> None:
        self.chat, self.slow = chat, slow
        self.heard, self.go_on = threading.Event(), threading.Event()
        self.ids: dict[str, str] = {}
        builder = StateGraph(MessagesState)
        for name in names:
            builder.add_node(name, lambda state, name=name: self.node(name))
            builder.add_edge(START, name)
        self.graph = chat.compile(builder)

    def node(self, name: str) -> dict[str, Any]:
        """Ask, and say what was answered."""
        said = interrupt(name)
        if said == self.slow:
            self.heard.set()
            assert self.go_on.wait(PATIENCE)
        return {"messages": [AIMessage(f"{name} {said}")]}

    async def ask(self) -> None:
        """Have all questions asked."""
        asked = await self.chat.say("Hello", self.graph, user_id="alice")
        self.ids = {each.value: each.id for each in asked["__interrupt__"]}

    async def answer(self, name: str, said: str, durability: str = "sync") -> list[str]:
        """Answer one of them."""
        resume, alice = Command(resume={self.ids[name]: said}), config(user_id="alice")
        run = self.chat.call(self.graph, "invoke", resume, alice, durability=durability)
        return texts(await run)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_of_two_answers_by_id_one_is_taken(chat: Chat, durability: str) -> None:
    """Of two parallel questions one is answered twice; who succeeds has the answer that is kept."""
    questions = Questions(chat, ["first", "second"], slow="yes")
    await questions.ask()
    slow = asyncio.create_task(questions.answer("first", "yes", durability))
    assert await asyncio.to_thread(questions.heard.wait, PATIENCE)
    (quick,) = await asyncio.gather(
        questions.answer("first", "no", durability), return_exceptions=True
    )
    questions.go_on.set()
    (late,) = await asyncio.gather(slow, return_exceptions=True)
    assert sorted(isinstance(each, ConcurrentRunError) for each in (quick, late)) == [False, True]
    kept = "first no" if isinstance(late, ConcurrentRunError) else "first yes"
    assert await questions.answer("second", "so") == ["Hello", kept, "second so"]


async def test_an_answer_that_was_refused_can_be_given_again(chat: Chat) -> None:
    """What a refused run's tasks wrote to the checkpoint that all start from is not there."""
    questions = Questions(chat, ["a", "b", "c"], slow="early")
    await questions.ask()
    slow = asyncio.create_task(questions.answer("b", "early", "exit"))
    assert await asyncio.to_thread(questions.heard.wait, PATIENCE)
    await questions.answer("a", "so")
    questions.go_on.set()
    with pytest.raises(ConcurrentRunError):
        await slow
    assert await questions.answer("b", "again") == ["Hello", "a so", "b again"]
