"""`create_agent`: tools, middleware, a human in the loop."""

from __future__ import annotations

from typing import Any, NotRequired

import pytest
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    SummarizationMiddleware,
    hook_config,
)
from langchain_core.messages import ToolMessage
from langgraph.config import get_stream_writer

from tests.agent_kinds.beside import Beside, decide
from tests.agent_kinds.following import OSLO, RITZ, ROME, Follower, book, weather
from tests.support import Chat

TOOLS = [weather, book]


def agent(chat: Chat, *middleware: Any, **options: Any) -> Any:
    """Return an agent with both tools."""
    model, saver = Follower(), chat.saver
    return create_agent(model, TOOLS, middleware=middleware, checkpointer=saver, **options)


@pytest.mark.parametrize(
    ("durability", "by"),
    [("sync", "run_config"), ("async", "user_id"), ("exit", "run_config"), ("exit", "user_id")],
)
async def test_turns_with_tools_are_what_they_are_with_langgraphs_saver(
    beside: Beside, durability: str, by: str
) -> None:
    """Two turns, the second with two calls, show the same; the session is titled by the first."""
    told = await beside.compare(agent, ROME, f"{OSLO}\n{RITZ}", by=by, durability=durability)
    assert told.texts[1:4] == ["", "sun in Rome", "3: sun in Rome"]
    assert told.texts[-1] == "9: booked Ritz"
    session = await told.session()
    assert (session.title, told.statuses) == (ROME, ["idle"] * 2)


async def test_summaries_take_the_place_of_what_they_sum_up(beside: Beside) -> None:
    """`SummarizationMiddleware` removes messages, and the title stays what was first said."""

    def make(chat: Chat) -> Any:
        summing = SummarizationMiddleware(Follower(), trigger=("messages", 5), keep=("messages", 2))
        return agent(chat, summing)

    told = await beside.compare(make, ROME, OSLO, RITZ)
    assert "summary of the conversation" in told.texts[0]
    assert len(told.texts) < 8
    assert (await told.session()).title == ROME


class Counting(AgentMiddleware[Any, Any]):
    """Middleware with a state of its own, and with all hooks."""

    class State(AgentState[Any]):
        """A count of the model's calls."""

        calls: NotRequired[int]

    state_schema = State

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any]:
        get_stream_writer()({"before": state.get("calls", 0)})
        return {"calls": state.get("calls", 0)}

    def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"calls": state["calls"] + 1}

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        return {"jump_to": "end"} if state["calls"] > 3 else None

    def wrap_tool_call(self, request: Any, handler: Any) -> ToolMessage:
        return counted(handler(request), request.state)

    async def awrap_tool_call(self, request: Any, handler: Any) -> ToolMessage:
        return counted(await handler(request), request.state)


def counted(answer: ToolMessage, state: Any) -> ToolMessage:
    """Return a tool's answer with the count of the model's calls."""
    return answer.model_copy(update={"content": f"{answer.text} ({state['calls']})"})


async def test_middleware_keeps_its_own_state(beside: Beside) -> None:
    """A custom middleware's channel goes on from turn to turn, and ends the second."""
    told = await beside.compare(lambda chat: agent(chat, Counting()), ROME, OSLO)
    assert told.values["calls"] == 4
    assert told.texts[2] == "sun in Rome (1)"
    assert told.statuses == ["idle", "idle"]


EDIT = {"type": "edit", "edited_action": {"name": "book", "args": {"hotel": "Savoy"}}}
REJECT = {"type": "reject", "message": "Too dear."}
DECISIONS: dict[str, tuple[dict[str, Any], str]] = {
    "approve": ({"type": "approve"}, "booked Ritz"),
    "edit": (EDIT, "booked Savoy"),
    "reject": (REJECT, "Too dear."),
}


def asks(chat: Chat) -> Any:
    """Return an agent whose bookings a human decides on."""
    return agent(chat, HumanInTheLoopMiddleware(interrupt_on={"book": True}))


@pytest.mark.parametrize(
    ("decision", "by"),
    [("approve", "run_config"), ("edit", "user_id"), ("reject", "run_config")],
)
async def test_a_human_decides(beside: Beside, decision: str, by: str) -> None:
    """The run waits, its session says so, and the answer does what the human decides."""
    given, expected = DECISIONS[decision]
    told = await beside.compare(asks, f"{ROME}\n{RITZ}", decide(given), OSLO, by=by)
    assert told.statuses == ["interrupted", "idle", "idle"]
    assert expected in told.texts[4]
    assert told.texts[5].startswith("5: ")
    assert (await told.session()).title == f"{ROME} {RITZ}"


async def test_a_human_decides_on_a_second_try(beside: Beside) -> None:
    """Who rejects is asked again for the next booking, in the same session."""
    told = await beside.compare(asks, RITZ, decide(REJECT), RITZ, decide(DECISIONS["edit"][0]))
    assert told.statuses == ["interrupted", "idle"] * 2
    assert told.waiting == ()
    assert "Too dear." in told.texts[2]
    assert "booked Savoy" in told.texts[-2]
