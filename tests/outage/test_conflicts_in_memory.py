"""Who is refused in memory: the rules of `user_sessions_put` there."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from langgraph_sessions import (
    ConcurrentRunError,
    SessionsUnavailableError,
)
from langgraph_sessions.outage.journal import Journal
from langgraph_sessions.outage.sessions import STATEMENT_SIZE, THREAD_SIZE, HeldSessions
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import CreateSession, GetSession, UpdateSession
from tests.plans import Row, session_row


def holding(row: Row | None = None, limit: int = 20 * STATEMENT_SIZE) -> HeldSessions:
    """Return what holds alice's session of that row."""
    held = HeldSessions(Journal(limit))
    if row is not None:
        held.begin(row["user_id"], row["thread_id"])
        held.keep({"last_save": None, **row})
    return held


def put(**given: Any) -> PutSession:
    """Return what puts a save of alice's run, called b.0."""
    return PutSession(
        **{"user_id": "alice", "thread_id": "t", "checked": True, "save": "b.0", **given}
    )


# --- Another run --------------------------------------------------------------------------------

# What was saved last, what the run says, and whether it is refused.
SAVES = [
    pytest.param(None, {}, False, id="nothing was saved"),
    pytest.param("a.3", {"seen": "a.3"}, False, id="by what the run has seen"),
    pytest.param("b.5", {"seen": "a.3"}, False, id="by the run itself"),
    pytest.param("b.5", {}, False, id="by the run itself, which began before the session"),
    pytest.param("c.0", {"seen": "a.3"}, True, id="by another run since"),
    pytest.param("a.4", {"seen": "a.3"}, True, id="by the run that it has seen, later"),
    pytest.param("a.3", {}, True, id="by another run, which made the session"),
    pytest.param("bb.0", {}, True, id="by another run, whose name begins alike"),
    pytest.param("c.0", {"seen": "a.3", "checked": False}, False, id="concurrent_runs='allow'"),
    pytest.param("c.0", {"seen": "c.0", "save": None, "checked": False}, False, id="an update"),
]


@pytest.mark.parametrize(("last", "said", "refused"), SAVES)
def test_who_was_overtaken_is_refused(
    last: str | None, said: dict[str, Any], refused: bool
) -> None:
    """A save goes on from what the run has seen, or from its own; else another was faster."""
    held = holding(session_row(last_save=last))
    if refused:
        with pytest.raises(ConcurrentRunError, match="'t'"):
            held.put(put(**said))
    else:
        row = held.put(put(**said))
        assert row["last_save"] == (put(**said).save or last)


def test_another_user_has_a_session_of_their_own_on_the_same_id() -> None:
    """Of alice's they see nothing; which of the two has to move, the database says later."""
    held = holding(session_row(last_save="a.3", title="Hers"))
    held.begin("bob", "t")
    row = held.put(put(user_id="bob"))
    assert (row["user_id"], row["title"]) == ("bob", "New Chat")
    held.keep(row)
    (hers,) = held.answer(GetSession("alice", "t"))
    assert (hers["user_id"], hers["title"]) == ("alice", "Hers")


def test_of_a_session_that_is_not_held_nothing_is_known() -> None:
    """Nothing is refused; a save makes a row."""
    row = holding().put(put(seen="a.3"))
    assert (row["user_id"], row["thread_id"], row["last_save"]) == ("alice", "t", "b.0")


def test_what_is_refused_or_not_yet_kept_changes_nothing() -> None:
    """The row is the journal's to keep: what there is no room for must not be seen."""
    held = holding(session_row(last_save="a.3"))
    before = dict(held._rows["alice"]["t"])
    held.put(put(seen="a.3", first=True, title="New", is_active=False))
    assert held._rows["alice"]["t"] == before


# --- The row ------------------------------------------------------------------------------------

# What the held row has, what is put, and what the row then has.
PUTS: list[Any] = [
    pytest.param({}, {"title": "New"}, {"title": "T"}, id="a title, not first"),
    pytest.param({}, {"title": "New", "first": True}, {"title": "New"}, id="a title, first"),
    pytest.param({}, {"message_title": "Said"}, {"title": "T"}, id="said, and a title was given"),
    pytest.param(
        {"title_source": "default"},
        {"message_title": "Said"},
        {"title": "Said", "title_source": "message"},
        id="said, and there was none",
    ),
    pytest.param(
        {"title_source": "message"}, {"message_title": "Said"}, {"title": "T"}, id="said again"
    ),
    pytest.param({}, {"is_active": False}, {"is_active": True}, id="deactivated, not first"),
    pytest.param(
        {}, {"is_active": False, "first": True}, {"is_active": False}, id="deactivated, first"
    ),
    pytest.param(
        {"is_active": False}, {"first": True}, {"is_active": False}, id="a deactivation stands"
    ),
    pytest.param(
        {"is_active": False},
        {"is_active": True, "first": True},
        {"is_active": True},
        id="activated, first",
    ),
    pytest.param(None, {"title": "New"}, {"title": "New", "title_source": "user"}, id="made"),
    pytest.param(
        None, {"is_active": False}, {"is_active": False, "title": "New Chat"}, id="made inactive"
    ),
]


@pytest.mark.parametrize(("has", "puts", "gets"), PUTS)
def test_a_save_puts_the_row(
    has: dict[str, Any] | None, puts: dict[str, Any], gets: dict[str, Any]
) -> None:
    """Instructions are those of a run's first save; a title that was given stays."""
    held = holding(None if has is None else session_row(**has))
    row = held.put(put(checked=False, **puts))
    assert {key: row[key] for key in gets} == gets


def test_only_a_first_save_makes_current() -> None:
    """The others leave the time alone."""
    then = session_row()
    held = holding(then)
    assert held.put(put(checked=False))["updated_at"] == then["updated_at"]
    assert held.put(put(checked=False, first=True))["updated_at"] > then["updated_at"]


ROOT = {"own": "c1"}
OF_TASK = {**ROOT, "task": "task"}
# What the session waits for, what is saved, and what it waits for then.
WAITS = [
    pytest.param("idle", {**OF_TASK, "channels": ("topic",)}, "idle", id="an output"),
    pytest.param("idle", {**OF_TASK, "channels": (INTERRUPT,)}, "interrupted", id="a question"),
    pytest.param("error", {**OF_TASK, "channels": (INTERRUPT,)}, "interrupted", id="both"),
    pytest.param("idle", {**OF_TASK, "channels": (ERROR,)}, "error", id="an error"),
    pytest.param("interrupted", {**OF_TASK, "channels": (ERROR,)}, "interrupted", id="both, too"),
    pytest.param("idle", OF_TASK, "idle", id="a stop"),
    pytest.param("interrupted", ROOT, "idle", id="a checkpoint"),
    pytest.param("interrupted", {}, "interrupted", id="a subgraph's"),
]


@pytest.mark.parametrize(("before", "saves", "after"), WAITS)
def test_a_save_says_what_the_session_waits_for(
    before: str, saves: dict[str, Any], after: str
) -> None:
    """So the run's saves end what it waits for, also when the database is back."""
    held = holding(session_row(status=before))
    assert held.put(put(checked=False, **saves))["status"] == after


# --- The journal --------------------------------------------------------------------------------


def test_a_change_is_held_as_it_is_to_be_written() -> None:
    """A session is named where the statement meant the current one, and times are those of then."""
    held = holding()
    create = CreateSession(user_id="alice", thread_id="t", title="T", title_source="user")
    (row,) = held.answer(create)
    held.answer(UpdateSession(user_id="alice", title="New"))
    made = held._journal.first()
    assert made is not None
    assert made.item == CreateSession(**{**vars(create), "at": row["updated_at"]})
    held._journal.drop_first()
    changed = held._journal.first()
    assert changed is not None
    assert changed.item == UpdateSession(user_id="alice", thread_id="t", title="New")


def test_what_there_is_no_room_for_is_not_held() -> None:
    """The change is refused, and nothing of it is seen."""
    limit = 2 * (THREAD_SIZE + STATEMENT_SIZE)
    held = holding(session_row(), limit=limit)
    rename = UpdateSession(user_id="alice", thread_id="t", title="New")
    assert held.answer(rename)[0]["title"] == "New"
    with pytest.raises(SessionsUnavailableError, match=f"outage_limit, {limit} bytes"):
        held.answer(UpdateSession(user_id="alice", thread_id="t", title="Newer"))
    (row,) = held.answer(GetSession("alice", "t"))
    assert row["title"] == "New"
