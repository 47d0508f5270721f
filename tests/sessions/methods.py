"""What tests of the manager's methods share: a row of the contract's table, and its player."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from langgraph_sessions import AgentSessionManager
from langgraph_sessions.plans import Call
from langgraph_sessions.runs.thread_ids import new_thread_id
from langgraph_sessions.sql.listing import FILTERS
from tests.plans import Answering, session, session_row

Method = Callable[[AgentSessionManager], Any]

ROW, SESSION = session_row(), session()
HERS = ([FILTERS["user_id"]], {"user_id": "alice"})  # The conditions of a listing, and values.


def factory(user_id: str) -> str:
    """Stand for `thread_id_factory`: what it returns is an answer of each case."""
    raise AssertionError


ASKS_FACTORY = Call(new_thread_id, (factory, "alice"))


def call(method: Method, *answers: Any, agent: str | None = None) -> tuple[Any, list[Any]]:
    """Call a method whose plan gets these answers; return its result, and what was asked."""
    database = Answering(*answers)
    result = method(AgentSessionManager(database, thread_id_factory=factory, agent=agent))
    return [*result] if inspect.isgenerator(result) else result, database.asked


def case(
    name: str, method: Method, answers: list[Any], asked: list[Any], result: Any = SESSION
) -> Any:
    """Return a row: what is called, what is answered, what is asked, what is returned."""
    return pytest.param(method, answers, asked, result, id=name)


def uncovered(cases: list[Any], kind: type) -> set[str]:
    """Return the public methods that *kind* itself has, and no case."""
    covered = {case.id.partition(":")[0] for case in cases}
    return {name for name in vars(kind) if not name.startswith("_")} - covered
