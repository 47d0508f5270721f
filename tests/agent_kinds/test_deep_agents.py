"""`deepagents`: files, sub-agents, and a human in the loop."""

from __future__ import annotations

import json
from typing import Any

from deepagents import create_deep_agent

from tests.agent_kinds.beside import Beside, decide
from tests.agent_kinds.following import RITZ, ROME, Follower, book, weather
from tests.support import Chat

PLAN = '/plan.md", "content": "Rome, then Oslo"'
WRITE = f'write_file {{"file_path": "{PLAN}}}'
READ = 'read_file {"file_path": "/plan.md"}'


def task(description: str) -> str:
    """Return the line that gives a task to the sub-agent."""
    return "task " + json.dumps({"description": description, "subagent_type": "forecaster"})


def deep_agent(chat: Chat) -> Any:
    """Return a deep agent with a sub-agent, whose bookings a human decides on."""
    forecaster = {
        "name": "forecaster",
        "description": "Knows the weather.",
        "system_prompt": "Look it up.",
        "tools": [weather],
        "model": Follower(),
    }
    return create_deep_agent(
        Follower(),
        [book],
        subagents=[forecaster],  # type: ignore[list-item]
        interrupt_on={"book": True},
        checkpointer=chat.saver,
    )


async def test_files_and_sub_agents_go_on_in_the_next_turn(beside: Beside) -> None:
    """A file that the first turn wrote is read in the second; a sub-agent reports to the first."""
    told = await beside.compare(deep_agent, f"{WRITE}\n{task(ROME)}", READ)
    assert set(told.values["files"]) == {"/plan.md"}
    assert any("sun in Rome" in text for text in told.texts)
    assert "Rome, then Oslo" in told.texts[-2]
    assert told.statuses == ["idle", "idle"]
    assert (await told.session()).title.startswith("write_file")


async def test_a_human_decides_in_a_deep_agent(beside: Beside) -> None:
    """By the user alone, too: the answer finds the session that waits."""
    told = await beside.compare(deep_agent, RITZ, decide({"type": "approve"}), by="user_id")
    assert told.statuses == ["interrupted", "idle"]
    assert told.texts[-2] == "booked Ritz"


async def test_a_human_decides_below_a_sub_agent(beside: Beside) -> None:
    """What waits in a sub-agent waits in the session, and goes on there."""

    def make(chat: Chat) -> Any:
        booker = {
            "name": "forecaster",
            "description": "Books.",
            "system_prompt": "Book it.",
            "tools": [book],
            "model": Follower(),
            "interrupt_on": {"book": True},
        }
        return create_deep_agent(Follower(), [], subagents=[booker], checkpointer=chat.saver)  # type: ignore[list-item]

    told = await beside.compare(make, task(RITZ), decide({"type": "approve"}))
    assert told.statuses == ["interrupted", "idle"]
    assert "booked Ritz" in told.texts[-2]
