"""What a node or tool does to the session of its own run, before a save has made that."""

from __future__ import annotations

import psycopg

from langgraph_sessions.plans import Plan, T
from langgraph_sessions.runs.active import ActiveRun, active_run
from langgraph_sessions.runs.guarding import refusal


def made(plan: Plan[T], user_id: str, thread_id: str | None, home: str | None) -> Plan[T]:
    """Do *plan* to a session; the one of the run inside which it is done is made before.

    A run's first save goes on beside its first nodes, or comes at its end: they would not find
    the session, or find the one that was current before.

    Args:
        plan: What is done.
        user_id: Whose session it is done to.
        thread_id: Its thread; `None`: the current one, or any.
        home: The saver whose runs are meant: another one may have another database.

    Raises as *plan*, and:
        SessionNotFoundError: The thread became another user's.
    """
    run = active_run({"configurable": {"user_id": user_id, "thread_id": thread_id}})
    if run is not None and run.home == home and not run.known:
        yield from _make(run)
    return (yield from plan)


def _make(run: ActiveRun) -> Plan[None]:
    """Make the session of *run*, and carry out what the run's config says of it."""
    put = run.put(None, first=True)
    try:
        yield put
    except psycopg.Error as error:
        raise refusal(error, put) from None
    run.title = run.is_active = None  # What comes next is not undone by the first save.
