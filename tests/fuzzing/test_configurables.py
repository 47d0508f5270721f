"""Configurables, and a saver's own arguments, of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.errors import EmptyInputError, GraphInterrupt, InvalidUpdateError

from langgraph_sessions import SessionError, SessionSaver
from langgraph_sessions.runs.request import AUTH_USER, AUTH_USER_ID, INSTRUCTIONS
from tests.doors.house import House
from tests.doors.table import METADATA, SAY
from tests.fuzzing.drawing import ANYTHING, TEXT, profile, rounds
from tests.support import graph_builder

pytestmark = pytest.mark.server

PLACES = ("thread_id", "checkpoint_ns", "checkpoint_id")
KEYS = ("user_id", AUTH_USER_ID, AUTH_USER, *INSTRUCTIONS, *PLACES, "checkpoint_map", "__pregel_x")
# Some keys are right, so that what is wrong is not always the first.
RIGHT: dict[str, Any] = {
    "user_id": st.just("mallory") | TEXT,
    "thread_id": st.sampled_from(["hers", "left", "waits", "mine"]) | TEXT,
    "checkpoint_ns": st.just(""),
}
CONFIGURABLES = st.fixed_dictionaries(
    {}, optional={key: RIGHT.get(key, ANYTHING) | ANYTHING for key in KEYS}
)
# LangGraph's own, of what it reads itself: a KeyError without a thread, an AttributeError of a
# namespace that is no text.
THEIRS = (KeyError, AttributeError, EmptyInputError, GraphInterrupt, InvalidUpdateError)


@pytest.fixture(scope="module")
def saver(house: House) -> Iterator[SessionSaver]:
    """A saver on the house's database."""
    with SessionSaver(house.url) as saver:
        yield saver


USES: dict[str, Callable[[SessionSaver, Any, Any], Any]] = {
    "invoke": lambda saver, graph, it: graph.invoke(SAY, it, durability="sync"),
    "get_state": lambda saver, graph, it: graph.get_state(it),
    "get_state_history": lambda saver, graph, it: list(graph.get_state_history(it)),
    "update_state": lambda saver, graph, it: graph.update_state(it, SAY),
    "get_tuple": lambda saver, graph, it: saver.get_tuple(it),
    "list": lambda saver, graph, it: list(saver.list(it, limit=5)),
    "list, before": lambda saver, graph, it: list(
        saver.list({"configurable": {"user_id": "bob", "thread_id": "his"}}, before=it)
    ),
    "history": lambda saver, graph, it: saver.get_delta_channel_history(
        config=it, channels=["messages"]
    ),
    "put": lambda saver, graph, it: saver.put(it, empty_checkpoint(), METADATA, {}),
    "put_writes": lambda saver, graph, it: saver.put_writes(it, [("messages", 1)], "task"),
}


@rounds(4500)
@pytest.mark.parametrize("use", USES)
def test_a_configurable_works_or_is_refused(
    use: str, examples: int, saver: SessionSaver, house: House
) -> None:
    """Whatever stands in it, no error is the database's, and nothing of alice's changes."""
    before, graph = house.of_alice(), graph_builder().compile(checkpointer=saver)

    @profile(examples)
    @given(CONFIGURABLES)
    def holds(configurable: dict[str, Any]) -> None:
        try:
            USES[use](saver, graph, {"configurable": configurable})
        except (SessionError, ValueError, TypeError, *THEIRS):
            pass

    holds()
    assert house.of_alice() == before
