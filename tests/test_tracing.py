"""Traces: which of their attributes group the runs of one conversation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.agent_kinds.following import ROME, Follower, asking_an_expert, weather
from tests.documents import ROOT
from tests.support import Chat, config

# The graph, its nodes, the model's calls and the tool's.
RUNS = 7


class LangSmith(requests.Session):
    """LangSmith's server, as far as a tracer sees it.

    Attributes:
        runs: What it was told of runs that began.
    """

    def __init__(self) -> None:
        """Begin with no runs."""
        super().__init__()
        self.runs: list[dict[str, Any]] = []

    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:
        if method == "POST" and str(url).endswith("/runs"):
            self.runs.append(json.loads(options["data"]))
        response = requests.Response()
        response.status_code, response._content = 200, b"{}"
        return response

    def tracing(self, where: RunnableConfig, **options: Any) -> RunnableConfig:
        """Return the config *where* with a tracer that sends runs here."""
        client = Client("http://langsmith.test", api_key="k", session=self, info={}, **options)
        return {**where, "callbacks": [LangChainTracer(client=client)]}

    @property
    def metadata(self) -> list[dict[str, Any]]:
        """The metadata of the runs."""
        return [run["extra"]["metadata"] for run in self.runs]


async def ask(chat: Chat, where: RunnableConfig, agent: Any = None, text: str = ROME) -> None:
    """Run an agent with a tool."""
    agent = agent or create_agent(Follower(), [weather], checkpointer=chat.saver)
    await chat.call(agent, "invoke", {"messages": [text]}, where)


AT_ONCE = {"auto_batch_tracing": False}


async def test_langsmith_groups_the_runs_of_a_conversation(chat: Chat) -> None:
    """With `run_config`, and with `session.config`, all runs of both turns have its thread id."""
    langsmith = LangSmith()
    first = await chat.session("run_config", "alice")
    await ask(chat, langsmith.tracing(first, **AT_ONCE))
    second = (await chat.current()).config
    await ask(chat, langsmith.tracing(second, **AT_ONCE))
    assert len(langsmith.runs) == 2 * RUNS
    thread_id = first["configurable"]["thread_id"]
    assert {(each["thread_id"], each["user_id"]) for each in langsmith.metadata} == {
        (thread_id, "alice")
    }


async def test_langsmith_groups_what_runs_inside_a_conversation(chat: Chat) -> None:
    """An agent that a tool asks is of the same conversation."""
    langsmith = LangSmith()
    where = await chat.session("run_config", "alice")
    question = f"ask {json.dumps({'question': ROME})}"
    await ask(chat, langsmith.tracing(where, **AT_ONCE), asking_an_expert(chat), question)
    names = {run["name"] for run in langsmith.runs}
    assert {"expert", "weather"} <= names
    assert {each["thread_id"] for each in langsmith.metadata} == {
        where["configurable"]["thread_id"]
    }


async def test_a_run_by_the_user_alone_is_traced_without_its_thread(chat: Chat) -> None:
    """LangChain tells tracers of a run before the saver settles where it goes."""
    langsmith = LangSmith()
    await ask(chat, langsmith.tracing(config(user_id="alice"), **AT_ONCE))
    assert len(langsmith.runs) == RUNS
    assert [each for each in langsmith.metadata if "thread_id" in each] == []
    assert {each["user_id"] for each in langsmith.metadata} == {"alice"}


async def test_langsmith_gets_what_a_config_says_and_no_title_but_that(chat: Chat) -> None:
    """LangGraph gives tracers the configurable: a title there, and none that a session has."""
    langsmith = LangSmith()
    where = await chat.session("run_config", "alice", title="Given")
    await ask(chat, langsmith.tracing(where, **AT_ONCE))
    assert {each["title"] for each in langsmith.metadata} == {"Given"}
    langsmith.runs.clear()
    await ask(chat, langsmith.tracing((await chat.current()).config, **AT_ONCE))
    assert "Given" not in str(langsmith.metadata)


@pytest.fixture
def spans() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """An OpenTelemetry provider whose spans are kept in memory."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


async def test_langsmiths_opentelemetry_mode_groups_them_too(chat: Chat, spans: Any) -> None:
    """Each span says the thread in `langsmith.metadata.thread_id`."""
    provider, exporter = spans
    where = await chat.session("run_config", "alice")
    tracing = LangSmith().tracing(where, tracing_mode="otel", otel_tracer_provider=provider)
    await ask(chat, tracing)
    tracing["callbacks"][0].client.flush()
    finished = exporter.get_finished_spans()
    assert len(finished) == RUNS
    threads = {span.attributes["langsmith.metadata.thread_id"] for span in finished}
    assert threads == {where["configurable"]["thread_id"]}
    tracing["callbacks"][0].client.close()


# In a process of its own: what instruments LangChain does not leave it as it was.
INSTRUMENTED = """
import asyncio, json, sys
from langchain.agents import create_agent
from openinference.instrumentation.langchain import LangChainInstrumentor as OpenInference
from opentelemetry.instrumentation.langchain import LangchainInstrumentor as OpenLLMetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.agent_kinds.following import ROME, Follower, weather

provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
OpenInference().instrument(tracer_provider=provider)
OpenLLMetry().instrument(tracer_provider=provider)
given = {"messages": [ROME]}
runs = []


def note(where):
    said = {"asked": where["configurable"].get("thread_id")}
    for key in ("session.id", "gen_ai.conversation.id"):
        spans = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
        said[key] = sorted({span[key] for span in spans if key in span})
    exporter.clear()
    runs.append(said)


with SessionSaver(sys.argv[1]) as saver:
    agent = create_agent(Follower(), [weather], checkpointer=saver)
    for where in (saver.sessions.run_config("alice"), {"configurable": {"user_id": "alice"}}):
        agent.invoke(given, where)
        note(where)


async def main():
    async with AsyncSessionSaver(sys.argv[1]) as saver:
        agent = create_agent(Follower(), [weather], checkpointer=saver)
        where = await saver.sessions.run_config("alice")
        await agent.ainvoke(given, where)
        note(where)


asyncio.run(main())
print(json.dumps(runs))
"""


@pytest.mark.server
def test_opentelemetry_groups_runs_by_conversation(url: str) -> None:
    """In `session.id`, or in the graph's `gen_ai.conversation.id`; by the user alone in neither."""
    told = subprocess.check_output([sys.executable, "-c", INSTRUMENTED, url], text=True, cwd=ROOT)
    named, alone, awaited = json.loads(told)
    for run in (named, awaited):
        assert run["session.id"] == run["gen_ai.conversation.id"] == [run["asked"]]
    assert alone == {"asked": None, "session.id": [], "gen_ai.conversation.id": []}
