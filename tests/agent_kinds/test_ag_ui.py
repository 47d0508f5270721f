"""AG-UI: an agent behind the endpoint that CopilotKit and other front ends speak to."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
from ag_ui_langgraph import LangGraphAgent, add_langgraph_fastapi_endpoint
from fastapi import FastAPI
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware

from langgraph_sessions import AsyncSessionSaver
from tests.agent_kinds.beside import OURS, Plain, differences
from tests.agent_kinds.following import RITZ, ROME, Follower, book, weather
from tests.runs.nesting import plainly
from tests.support import Chat, config, texts

# What ag-ui-langgraph itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:`get_config_jsonschema` is deprecated")


class FrontEnd:
    """A front end: it speaks to an agent's endpoint, and keeps the messages."""

    def __init__(self, graph: Any, thread_id: str, **user: str) -> None:
        """Serve *graph*, for the user if one is given."""
        self.graph, self.thread_id, self.user = graph, thread_id, user
        app = FastAPI()
        agent = LangGraphAgent(name="agent", graph=graph, config=config(**user))
        add_langgraph_fastapi_endpoint(app, agent, "/agent")
        self.app, self.plain = app, Plain(OURS)
        self.messages: list[dict[str, Any]] = []

    async def say(self, *texts: str, **forwarded: Any) -> list[Any]:
        """Say *texts*; return the events."""
        said = [{"id": str(uuid.uuid4()), "role": "user", "content": text} for text in texts]
        self.messages += said
        given = {
            "threadId": self.thread_id,
            "runId": str(uuid.uuid4()),
            "state": {},
            "messages": self.messages,
            "tools": [],
            "context": [],
            "forwardedProps": forwarded,
        }
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            answer = await client.post("/agent", json=given)
        lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        for event in events:
            if event["type"] == "MESSAGES_SNAPSHOT":
                self.messages = event["messages"]
        return events


def booking(saver: Any) -> Any:
    """Return an agent whose bookings a human decides on."""
    approval = HumanInTheLoopMiddleware(interrupt_on={"book": True})
    return create_agent(Follower(), [weather, book], middleware=[approval], checkpointer=saver)


async def test_a_front_end_gets_what_it_gets_with_langgraphs_saver(url: str) -> None:
    """Turns, tool calls, a human in the loop, and a message that is edited: the same events."""
    async with AsyncSessionSaver(url) as saver, plainly("async", url) as plain:
        where = await saver.sessions.run_config("alice")
        thread_id = where["configurable"]["thread_id"]
        ours = FrontEnd(booking(saver), thread_id, user_id="alice")
        theirs = FrontEnd(booking(plain.saver), f"alice_{uuid.uuid4()}")
        decision = {"resume": {"decisions": [{"type": "approve"}]}}
        statuses, seen = [], set[str]()
        for texts_, forwarded in (
            ((ROME,), {}),
            ((RITZ,), {}),
            ((), {"command": decision}),
        ):
            expected = await theirs.say(*texts_, **forwarded)
            found = await ours.say(*texts_, **forwarded)
            wrong = list(differences(ours.plain(found), theirs.plain(expected)))
            assert not wrong, "\n".join(wrong[:10])
            seen |= {event["type"] for event in found}
            (session,) = await saver.sessions.list_sessions()
            statuses.append(session.status)
        assert {"TEXT_MESSAGE_CONTENT", "TOOL_CALL_ARGS", "RUN_FINISHED"} <= seen
        assert "RUN_ERROR" not in seen
        assert statuses == ["idle", "interrupted", "idle"]
        assert (session.user_id, session.thread_id, session.title) == ("alice", thread_id, ROME)
        state = await ours.graph.aget_state(session.config)
        assert "booked Ritz" in texts(state)


async def test_somebody_elses_thread_is_not_found(url: str) -> None:
    """The thread id is the client's word: the user in the agent's config decides."""
    async with AsyncSessionSaver(url) as saver:
        chat = Chat(saver)
        await chat.say("Hers", user_id="alice", thread_id="hers")
        told = await FrontEnd(booking(saver), "hers", user_id="bob").say(ROME)
        assert [event["type"] for event in told] == ["RUN_STARTED", "RUN_ERROR"]
        assert "has no session" in told[-1]["message"]
        assert await chat.history(await chat.current()) == ["Hers", "1 so far"]
        assert await chat.sessions("bob") == []
