"""Titles by a model: once for a session, in the background, never in anybody's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.types import Command

from langgraph_sessions import AsyncSessionSaver, SessionSaver, titler
from tests.answering import FORKING
from tests.graphs import DURABILITIES, ask, chain, delta_graph, says
from tests.support import PATIENCE, config, graph_builder, python
from tests.titles.titlers import Titler, title

Connection = psycopg.Connection[Any]
Open = Callable[..., Any]

ALICE = config(user_id="alice")


@pytest.mark.parametrize("kind", ["function", "coroutine"])
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_session_is_titled_after_its_first_answer(
    open_chat: Open, db: Connection, kind: str, durability: str
) -> None:
    """The titler gets the first turn, is called once over two turns, and `close` waits for it."""
    model = Titler()
    given = model if kind == "function" else model.as_coroutine
    async with open_chat(given) as chat:
        for text in ("Plan a trip", "In May"):
            invoked = (chat.graph, "invoke", {"messages": [text]}, ALICE)
            await chat.call(*invoked, durability=durability)
            await model.is_asked()
    assert title(db) == ("By the model", "model")
    assert len(model.asked) == 1
    assert model.asked[0][:2] == ["human: Plan a trip", "ai: 1 so far"]


async def test_a_titler_that_is_falsy_is_one_all_the_same(open_chat: Open, db: Connection) -> None:
    """An object that can be called and is empty, such as a list of rules, is called."""

    class Empty(Titler):
        def __len__(self) -> int:
            return 0

    async with open_chat(Empty()) as chat:
        await chat.say("Hello", user_id="alice")
    assert title(db) == ("By the model", "model")


async def test_each_session_is_titled(open_chat: Open) -> None:
    """Two sessions of a user, and one of another's, call the titler once each."""
    model = Titler()
    async with open_chat(model) as chat:
        for user, text in (("alice", "one"), ("alice", "two"), ("bob", "three")):
            await chat.say(text, user_id=user, new_session=True)
    async with open_chat(None) as chat:
        assert {session.title for session in await chat.sessions(None)} == {"By the model"}
    assert sorted(asked[0] for asked in model.asked) == ["human: one", "human: three", "human: two"]


async def test_a_title_by_the_model_is_kept_and_cached_nowhere(open_chat: Open) -> None:
    """The manager sees the new title, and the next turns keep it."""
    model = Titler(waits=True)
    async with open_chat(model) as chat:
        await chat.say("one", user_id="alice")
        await model.is_asked()
        before = await chat.session("get_current_user_session", "alice")
        model.go_on.set()
    async with open_chat(model) as chat:
        await chat.say("two", user_id="alice")
        assert (before.title, (await chat.current()).title) == ("one", "By the model")
    assert len(model.asked) == 1


@pytest.mark.parametrize("how", ["at the start", "before", "while it is asked", "in a run"])
async def test_a_given_title_is_never_replaced(open_chat: Open, db: Connection, how: str) -> None:
    """A title that somebody gave stays, also when it is given while the titler is at work."""
    model = Titler(waits=how in ("while it is asked", "in a run"))
    async with open_chat(model) as chat:
        if how == "before":
            await chat.session("create_user_session", "alice", "Mine")
        given = {"title": "Mine"} if how == "at the start" else {}
        await chat.say("one", user_id="alice", **given)
        if not model.go_on.is_set():
            await model.is_asked()
            if how == "in a run":
                await chat.say("two", user_id="alice", title="Mine")
            else:
                await chat.session("update_session", "alice", {"title": "Mine"})
            model.go_on.set()
        else:
            await chat.say("two", user_id="alice")
    assert title(db) == ("Mine", "user")
    assert len(model.asked) == (1 if how in ("while it is asked", "in a run") else 0)


async def test_a_models_title_is_made_fit(open_chat: Open, db: Connection) -> None:
    """Quotes and line breaks go, and it is cut at a word to 80 characters."""
    async with open_chat(Titler(' "A trip\n to  Rome' + " and back" * 20 + '" ')) as chat:
        await chat.say("one", user_id="alice")
    made, _ = title(db)
    assert made.startswith("A trip to Rome and back and")
    assert 70 < len(made) <= 80


async def test_a_session_deleted_meanwhile_stays_deleted(open_chat: Open, db: Connection) -> None:
    """A title that comes when its session is gone is dropped, without a word."""
    model = Titler(waits=True)
    async with open_chat(model) as chat:
        await chat.say("one", user_id="alice")
        await model.is_asked()
        await chat.session("delete_user", "alice")
        model.go_on.set()
    assert db.execute("SELECT FROM user_sessions").fetchall() == []


async def test_a_run_does_not_wait_for_the_titler(open_chat: Open, db: Connection) -> None:
    """Runs and the sidebar go on while a titler takes its time."""
    model = Titler(waits=True)
    async with open_chat(model) as chat:
        for text in ("one", "two", "three"):
            state = await chat.say(text, user_id="alice")
        await model.is_asked()
        assert len(state["messages"]) == 6
        assert title(db) == ("one", "message")
        model.go_on.set()
    assert title(db) == ("By the model", "model")


async def test_nobodys_thread_is_not_titled(open_chat: Open) -> None:
    """A run without a user calls no titler."""
    model = Titler()
    async with open_chat(model) as chat:
        await chat.say("one", thread_id="plain")
    assert model.asked == []


async def test_without_an_answer_there_is_nothing_to_title(open_chat: Open, db: Connection) -> None:
    """A run that waits, or says nothing, is not titled before the first answer in words."""
    model = Titler()
    async with open_chat(model) as chat:
        graph = chat.compile(chain(silent=lambda state: {"messages": [AIMessage("")]}, ask=ask))
        await chat.say("one", graph, user_id="alice")
        assert model.asked == []
        await chat.call(graph, "invoke", Command(resume="so"), ALICE)
    assert [asked[-1] for asked in model.asked] == ["ai: You said so"]
    assert title(db) == ("By the model", "model")


async def test_an_answer_beside_a_question_counts(open_chat: Open, db: Connection) -> None:
    """An answer that is saved before the run waits is enough."""
    model = Titler()
    async with open_chat(model) as chat:
        graph = chat.compile(chain(first=says("Well?"), ask=ask))
        await chat.say("one", graph, user_id="alice")
        await model.is_asked()
    assert model.asked == [["human: one", "ai: Well?"]]
    assert title(db) == ("By the model", "model")


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("snapshot_frequency", [1, 100])
async def test_a_conversation_kept_as_deltas_is_titled(
    open_chat: Open, db: Connection, snapshot_frequency: int, durability: str
) -> None:
    """The titler gets the messages of a `DeltaChannel`, too."""
    model = Titler()
    async with open_chat(model) as chat:
        graph = delta_graph(chat, snapshot_frequency, node=says("ok"))
        given = {"messages": [HumanMessage("Plan a trip")]}
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
    assert model.asked == [["human: Plan a trip", "ai: ok"]]
    assert title(db) == ("By the model", "model")


async def test_two_savers_call_it_once(open_chat: Open, db: Connection) -> None:
    """A second saver, as another server has it, does not ask again."""
    first, second = Titler("First", waits=True), Titler("Second")
    async with open_chat(first) as one, open_chat(second) as two:
        await one.say("one", user_id="alice")
        await first.is_asked()
        await two.say("two", user_id="alice")
        first.go_on.set()
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert title(db) == ("First", "model")


def talk(url: str, number: int, start: Any, calls: Any) -> None:
    """Take a turn in one session, at the same moment as the others."""

    def name(messages: Any) -> str:
        calls.put(number)
        return f"By {number}"

    with SessionSaver(url, titler=name, concurrent_runs="allow") as saver:
        saver.sessions.count_sessions()
        graph = graph_builder().compile(checkpointer=saver)
        start.wait()
        graph.invoke({"messages": ["hi"]}, config(user_id="alice", thread_id="t"))


def test_processes_call_it_once(url: str, db: Connection) -> None:
    """Four processes that answer in one session at once call the titler once between them."""
    start, calls = FORKING.Barrier(4), FORKING.Queue()
    workers = [FORKING.Process(target=talk, args=(url, n, start, calls)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    asked = calls.get(timeout=PATIENCE)
    assert calls.empty()
    assert title(db) == (f"By {asked}", "model")


# --- The ready one --------------------------------------------------------------------------------


class Recorder(BaseChatModel):
    """A chat model that keeps what it was asked."""

    asked: list[list[BaseMessage]] = []  # noqa: RUF012 (pydantic copies it)

    @property
    def _llm_type(self) -> str:
        return "recorder"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append(messages)
        answer = AIMessage([{"type": "text", "text": '"A trip to Rome"'}])
        return ChatResult(generations=[ChatGeneration(message=answer)])


async def test_a_chat_model_titles(open_chat: Open, db: Connection) -> None:
    """`titler(model)` asks any chat model once, with what was said, and takes the bare title."""
    model = Recorder()
    async with open_chat(titler(model)) as chat:
        for text in ("Plan a trip to Rome", "In May"):
            await chat.say(text, user_id="alice")
    assert title(db) == ("A trip to Rome", "model")
    ((instruction, transcript),) = model.asked
    assert "title" in instruction.text
    assert "Plan a trip to Rome" in transcript.text


async def test_the_titlers_model_is_no_part_of_the_run(open_chat: Open) -> None:
    """What the titler's model says is in no stream and no checkpoint of the conversation."""
    model = GenericFakeChatModel(messages=iter([AIMessage("A secret title")]))
    async with open_chat(titler(model)) as chat:
        given = ({"messages": ["one"]}, ALICE)
        chunks = await chat.call(chat.graph, "stream", *given, stream_mode="messages")
        assert "secret" not in repr(chunks)
        session = await chat.current()
        assert await chat.history(session) == ["one", "1 so far"]


@pytest.mark.parametrize("kind", [SessionSaver, AsyncSessionSaver])
async def test_a_titler_is_a_function(url: str, kind: Any) -> None:
    """What cannot be called is refused by name."""
    with pytest.raises(TypeError, match="titler"):
        kind(url, titler="gpt")


# --- A slow titler and the end of the program ---------------------------------------------------

SYNC = """
saver = SessionSaver(sys.argv[1], titler={titler})
graph(saver).invoke(*HELLO)
asked.wait()
{close}
"""
ASYNC = """
async def main():
    saver = AsyncSessionSaver(sys.argv[1], titler={titler})
    await graph(saver).ainvoke(*HELLO)
    await asyncio.to_thread(asked.wait)
    {close}
asyncio.run(main())
"""
SLOW = """
import asyncio, sys, threading, time
from langchain_core.language_models import FakeListChatModel
from langgraph_sessions import AsyncSessionSaver, SessionSaver, titler
from langgraph_sessions.titles import background
from tests.support import config, graph_builder

HELLO = ({{"messages": ["hi"]}}, config(user_id="alice"))
background.CLOSE_SECONDS = 0.01
asked = threading.Event()

def slow(messages):
    asked.set()
    time.sleep(1000)

async def slow_async(messages):
    asked.set()
    await asyncio.sleep(1000)

class SlowModel(FakeListChatModel):
    def _call(self, *args, **kwargs):
        slow(args)

def graph(saver):
    return graph_builder().compile(checkpointer=saver)
{program}
print("the end")
"""


@pytest.mark.parametrize("titler", ["slow", "slow_async", "titler(SlowModel(responses=['A']))"])
@pytest.mark.parametrize(
    ("program", "close"),
    [(SYNC, ""), (SYNC, "saver.close()"), (ASYNC, "await saver.close()")],
    ids=["sync, not closed", "sync", "async"],
)
def test_no_program_waits_for_a_slow_titler(
    url: str, program: str, close: str, titler: str
) -> None:
    """The program ends while the titler sleeps, whether or not the saver was closed."""
    program = program.format(titler=titler, close=close)
    ended = python(SLOW.format(program=program), url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the end\n", "")


async def test_what_is_no_function_is_no_titler(open_chat: Open, db: Connection) -> None:
    """It is refused before the session's one call of a titler counts as made."""
    async with open_chat(None) as chat:
        await chat.say("one", user_id="alice")
        thread_id = (await chat.current()).thread_id
        with pytest.raises(TypeError, match="titler must be a function"):
            await chat.session("call_titler", "no function", thread_id)
        await chat.session("call_titler", lambda messages: "A title", thread_id)
        assert title(db) == ("A title", "model")
