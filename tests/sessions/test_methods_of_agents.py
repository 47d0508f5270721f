"""A manager of an agent: whatever it asks, it asks as that agent; without a database."""

from __future__ import annotations

from typing import Any, Final

import pytest

from langgraph_sessions.plans import Call
from langgraph_sessions.sessions.deletion import DeleteUser
from langgraph_sessions.sql.deletion import OwnedThreads
from langgraph_sessions.sql.listing import CountSessions, ListSessions
from langgraph_sessions.sql.upkeep import ThreadOwner
from tests.sessions import test_methods, test_methods_of_operators
from tests.sessions.methods import Method, call

# Of a user, or of all threads, whichever agent's: erasure, preferences, what nobody adopted yet.
WHOLE: Final = (
    "delete_user",
    "export_user",
    "get_preferences",
    "update_preferences",
)
CASES = [
    case
    for case in (*test_methods.DOES, *test_methods_of_operators.DOES)
    if str(case.id).partition(":")[0] not in WHOLE
]


def agents(step: Any) -> list[Any]:
    """Return the agent as which *step* is asked, if it is one of those that have any."""
    if isinstance(step, ListSessions | CountSessions):
        names = step.values.keys() & {"agent", "everybodys_agent"}
        return [step.values[name] for name in names] or [None]
    return [step.agent] if hasattr(step, "agent") else []


def cooks(answer: Any) -> Any:
    """Return *answer* with every session in it the cook's."""
    if isinstance(answer, list):
        return [cooks(each) for each in answer]
    if isinstance(answer, dict) and answer.get("session_id"):
        return {**answer, "session_agent": "cook"}
    return answer


@pytest.mark.parametrize(("method", "answers", "asked", "result"), CASES)
def test_a_method_asks_as_its_agent(
    method: Method, answers: list[Any], asked: list[Any], result: Any
) -> None:
    """Every statement that can be an agent's is: sessions that are made, found, listed, changed."""
    _, steps = call(method, *cooks(answers), agent="cook")
    assert [type(step) for step in steps] == [type(step) for step in asked]
    said = [agent for step in steps for agent in agents(step)]
    assert set(said) <= {"cook"}
    assert said or all(isinstance(step, Call | ThreadOwner) for step in steps)


def test_a_deletion_looks_for_the_agents_session() -> None:
    """The threads that are locked and deleted are the user's with the agent; an erasure's all."""
    _, (deletion,) = call(lambda sessions: sessions.delete_session("alice", "t"), 1, agent="cook")
    assert next(deletion.plan()) == OwnedThreads(["t"], "alice", "cook")
    _, (erasure,) = call(lambda sessions: sessions.delete_user("alice"), {}, agent="cook")
    assert erasure == DeleteUser("alice")
