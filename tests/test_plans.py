"""Plans without a database: what is asked, and what an answer means."""

from __future__ import annotations

import pytest

from langgraph_sessions import Session, SessionError, SessionNotFoundError
from langgraph_sessions.database.database import one_step
from langgraph_sessions.outage import memory, sessions
from langgraph_sessions.plans import Fetch, Run
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import Request
from langgraph_sessions.sessions import operations
from langgraph_sessions.sql import statements
from langgraph_sessions.sql.functions import FUNCTIONS_VERSION
from langgraph_sessions.sql.migrations import MIGRATIONS, VERSION_TABLES
from langgraph_sessions.sql.schema import migrate
from tests.support import config


def test_deleting_what_is_not_there_is_not_found() -> None:
    """A deletion that counts no session says that there is none."""
    plan = operations.delete("alice", "t")
    asked = next(plan)
    params = {"thread_ids": ["t"], "user_id": "alice"}
    assert asked == Fetch(statements.DELETE_THREADS, params, repeatable=False)
    with pytest.raises(SessionNotFoundError):
        plan.send([{"count": 0}])


def test_a_migration_takes_up_where_the_last_one_stopped() -> None:
    """Only LangGraph's missing migrations run, none of them concurrently."""
    plan = migrate(["first", "second", "CREATE INDEX CONCURRENTLY third"])
    assert isinstance(next(plan), Fetch)  # the lock
    assert plan.send([]) == Run("first")
    assert isinstance(plan.send([]), Fetch)
    assert plan.send([{"version": 1}]) == Run("CREATE INDEX  third")
    recorded = plan.send([])
    assert recorded.params == {"v": 2}
    for table in VERSION_TABLES:
        assert plan.send([]) == Run(table)
    assert isinstance(plan.send([]), Fetch)
    assert isinstance(plan.send([{"version": len(MIGRATIONS), "breaking": 0}]), Fetch)
    with pytest.raises(StopIteration):
        plan.send([{"version": FUNCTIONS_VERSION}])


@pytest.mark.parametrize("found", [True, False])
def test_a_session_that_a_lost_try_created_is_created(found: bool) -> None:
    """Only where there is none of the user's is a second try to create it told as a failure."""
    plan = one_step(Fetch(statements.CREATE_SESSION, {"user_id": "alice", "thread_id": "t"}))
    next(plan)
    assert plan.send([]) == Fetch(statements.GET_SESSION, {"user_id": "alice", "thread_id": "t"})
    with pytest.raises(StopIteration if found else SessionError):
        plan.send([{"id": 1}] if found else [])


def test_a_row_in_memory_has_the_columns_of_one_in_the_database() -> None:
    """In an outage, rows are made that the statements' answers can be taken from."""
    row = sessions._new_row("alice", "t")
    run = ActiveRun.start(Request.of(config(user_id="alice")), Session.from_row(row), known=True)
    assert set(row) == set(memory._row_of(run)) == set(statements._ROW)
