"""Plans without a database: what is asked, and what an answer means."""

from __future__ import annotations

import pytest

from langgraph_sessions import Session, SessionError, SessionNotFoundError
from langgraph_sessions.outage import memory, rows, writing
from langgraph_sessions.plans import Execute, Fetch
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import Request
from langgraph_sessions.sessions import deletion
from langgraph_sessions.sessions.deletion import DeleteThreads
from langgraph_sessions.sql.columns import IN_RUNS
from langgraph_sessions.sql.functions import FUNCTIONS_VERSION
from langgraph_sessions.sql.migrations import MIGRATIONS, VERSION_TABLES
from langgraph_sessions.sql.place import TABLES
from langgraph_sessions.sql.schema import Tables, migrate
from langgraph_sessions.sql.sessions import CreateSession, GetSession
from tests.support import config

HERE = [
    {
        "schema": "public",
        "path": "public",
        "is_first": True,
        "has_citus": False,
        "is_hidden": False,
        "name": table,
        "kind": "table",
        "columns": ["version", "applied_at"],
        "types": ["integer", "timestamp with time zone"],
    }
    for table in TABLES
]


def test_deleting_what_is_not_there_is_not_found() -> None:
    """A deletion that counts no session says that there is none."""
    plan = deletion.delete("alice", "t", None)
    asked = next(plan)
    assert asked == DeleteThreads(["t"], "alice")
    with pytest.raises(SessionNotFoundError):
        plan.send(0)


def test_a_migration_takes_up_where_the_last_one_stopped() -> None:
    """Only LangGraph's missing migrations run, none of them concurrently."""
    plan = migrate(["first", "second", "CREATE INDEX CONCURRENTLY third"])
    assert isinstance(next(plan), Fetch)  # the lock
    assert isinstance(plan.send([]), Fetch)  # what is there
    assert isinstance(plan.send(HERE), Fetch)  # no other schema than this
    assert isinstance(plan.send([]), Fetch)
    assert plan.send([{"version": len(MIGRATIONS), "breaking": 0}]) == Execute("first")
    assert isinstance(plan.send([]), Fetch)
    assert plan.send([{"version": 1}]) == Execute("CREATE INDEX  third")
    recorded = plan.send([])
    assert recorded.params == {"v": 2}
    for table in VERSION_TABLES:
        assert plan.send([]) == Execute(table)
    assert isinstance(plan.send([]), Fetch)
    assert isinstance(plan.send([{"version": FUNCTIONS_VERSION}]), Fetch)  # whether all is there
    with pytest.raises(StopIteration) as done:
        plan.send(HERE)
    assert done.value.value == Tables("public", are_distributed=False)


@pytest.mark.parametrize("found", [True, False])
def test_a_session_that_a_lost_try_created_is_created(found: bool) -> None:
    """Only where there is none of the user's is a second try to create it told as a failure."""
    created = CreateSession(user_id="alice", thread_id="t", title="T", title_source="user")
    plan = writing.write(created)
    assert next(plan) == created
    assert plan.send([]) == GetSession("alice", "t")
    with pytest.raises(StopIteration if found else SessionError):
        plan.send([{"id": 1}] if found else [])


def test_a_row_in_memory_has_the_columns_of_one_in_the_database() -> None:
    """In an outage, rows are made that the statements' answers can be taken from.

    What the database keeps with the thread stands beside it.
    """
    row = rows.new_row("alice", "t", None)
    run = ActiveRun.start(Request.of(config(user_id="alice")), Session.from_row(row), known=True)
    assert set(row) == set(memory._row_of(run)) == {*IN_RUNS, "last_save"}
