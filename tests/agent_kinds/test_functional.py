"""The functional API: entrypoints, tasks, what was before, and a human in the loop."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.func import entrypoint, task
from langgraph.types import Command, interrupt

from tests.agent_kinds.beside import Beside
from tests.support import Chat


def essay(chat: Chat) -> Any:
    """Return a workflow that drafts, asks for a name, and counts what it wrote before."""

    @task
    def draft(topic: str) -> str:
        return f"On {topic}"

    @task
    async def adraft(topic: str) -> str:
        return f"On {topic}"

    def signed(text: str, previous: Any) -> Any:
        written = [*(previous or []), f"{text}, by {interrupt('Your name?')}"]
        return entrypoint.final(value="; ".join(written), save=written)

    async def awrite(given: dict[str, Any], *, previous: Any = None) -> Any:
        return signed(await adraft(given["topic"]), previous)

    def write(given: dict[str, Any], *, previous: Any = None) -> Any:
        return signed(draft(given["topic"]).result(), previous)

    return entrypoint(checkpointer=chat.saver)(awrite if chat.is_async else write)


@pytest.mark.parametrize("by", ["run_config", "user_id"])
async def test_an_entrypoint_is_what_it_is_with_langgraphs_saver(beside: Beside, by: str) -> None:
    """Two essays, each with a question: `previous` is what the first one saved."""
    cats, dogs = {"topic": "cats"}, {"topic": "dogs"}
    names = [Command(resume=name) for name in ("Ann", "Bob")]
    told = await beside.compare(essay, cats, names[0], dogs, names[1], by=by)
    assert told.values == "On cats, by Ann; On dogs, by Bob"
    assert told.statuses == ["interrupted", "idle"] * 2
    assert (await told.session()).title == "New Chat"
