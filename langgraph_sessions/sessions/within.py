"""What a node or tool does to sessions before its run has saved its own, and made that current."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from langgraph_sessions.models import Session
from langgraph_sessions.plans import Call, Plan, T
from langgraph_sessions.runs.active import ActiveRun, active_run
from langgraph_sessions.runs.guarding import refusal
from langgraph_sessions.runs.turns import Turns

Hold = Callable[[Turns], Any]  # `Turns.hold`, or `Turns.ahold`


def made(
    plan: Plan[T], user_id: str, thread_id: str | None, home: str | None, hold: Hold
) -> Plan[T]:
    """Do *plan*; what the run inside which it is done asks for its session is done before.

    A run's first save goes on beside its first nodes, or comes at its end: they would not find
    the session, or find the one that was current before; and what they change, delete or make
    current would be undone by that save.

    Args:
        plan: What is done.
        user_id: Whose sessions it is done to.
        thread_id: Of a run on which thread; `None`: any.
        home: The saver whose runs are meant: another one may have another database.
        hold: Waits for a save of the run's that is under way.

    Raises as *plan*, and:
        SessionNotFoundError: The thread became another user's.
    """
    run = _run(user_id, thread_id, home)
    if run is not None and not (run.saved or run.made):
        yield from _settle(run, hold)
    return (yield from plan)


def left(plan: Plan[Session], user_id: str, home: str | None, hold: Hold) -> Plan[Session]:
    """Do *plan*, as `made`, by which a session becomes current: the run does not take that back."""
    run = _run(user_id, None, home)
    if run is None:
        return (yield from plan)
    made_current = run.makes_current
    if not run.saved:
        yield from _settle(run, hold, leaves=True)
    try:
        session = yield from plan
    except BaseException:
        run.makes_current = made_current
        raise
    run.makes_current = session.thread_id == run.thread_id
    return session


def _run(user_id: str, thread_id: str | None, home: str | None) -> ActiveRun | None:
    run = active_run({"configurable": {"user_id": user_id, "thread_id": thread_id}})
    return run if run is not None and run.home == home else None


def _settle(run: ActiveRun, hold: Hold, *, leaves: bool = False) -> Plan[None]:
    """Do what the first save of *run* would do to its session, if that is yet to come.

    One that is under way cannot be told any more what is done already: it is waited for. What
    *leaves* the session for another one has no save of the run's make it current any more.
    """
    release: Callable[[], None] = yield Call(hold, (run.turns,))
    try:
        if not (run.saved or run.made):
            yield from _make(run)
        if leaves:
            run.makes_current = False
    finally:
        release()


def _make(run: ActiveRun) -> Plan[None]:
    """Make the session of *run*, or make it current, and carry out what its config says of it."""
    put = run.put(None, first=True)
    try:
        (row,) = yield put
    except psycopg.Error as error:
        raise refusal(error, put) from None
    # What comes next is not undone by the first save, nor is what was deleted brought back.
    run.title = run.is_active = None
    run.made = True
    run.words.note(row["title_source"], row["titler_tries"])
