"""The sessions that are begun while the database is away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NoReturn

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from langgraph_sessions import json_checks
from langgraph_sessions.errors import (
    ConcurrentRunError,
    SessionNotFoundError,
    SessionsUnavailableError,
)
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.outage.journal import Entry, Journal
from langgraph_sessions.outage.rows import Row, new_row, opened, unopened
from langgraph_sessions.plans import Question, Statement
from langgraph_sessions.runs.active import IDLE
from langgraph_sessions.sql.opening import (
    ContinueThread,
    FindCurrent,
    FindNext,
    OpenCurrent,
    OpenNew,
    OpenReserved,
    OpenThread,
)
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import (
    CreateGivenSession,
    CreateSession,
    DeactivateSessions,
    GetCurrent,
    GetSession,
    HasSession,
    SwitchSession,
    UpdateSession,
)

STATEMENT_SIZE: Final = 1000  # The bytes that a change of a session counts for, about.
THREAD_SIZE: Final = 500  # And a thread that was begun.


def unavailable() -> SessionsUnavailableError:
    """Return the error for a question that only the database can answer."""
    return SessionsUnavailableError(
        "the database is away; until it is back, only what was begun since then can be used"
    )


def refuse() -> NoReturn:
    """Raise `unavailable()`, where memory has no answer."""
    raise unavailable()


class HeldSessions:
    """Answers the statements that can be answered without the database.

    It knows the sessions that were begun here alone: where there may be another in the database,
    it raises `SessionsUnavailableError`. What it changes is put into the journal.

    Each user's are kept apart, so that two may have a thread of one id here, such as one with a
    run that was under way, and one that a factory named: what is written later moves.
    """

    def __init__(self, journal: Journal) -> None:
        """Begin with none."""
        self._journal = journal
        self._rows: dict[str, dict[str, Row]] = {}  # By user, and thread.
        self._reserved: dict[tuple[str, str | None], str] = {}  # For a user, and an agent.
        self._begun: set[tuple[str, str]] = set()  # Users, and threads.
        self._owners: dict[str, str] = {}  # Of these threads, who began them first.

    def is_begun(self, user_id: str, thread_id: str) -> bool:
        """Say whether the user began a thread here: all that there is of it is here."""
        return (user_id, thread_id) in self._begun

    def begin(self, user_id: str, thread_id: str) -> None:
        """Note a thread of which the database has nothing.

        Raises:
            SessionsUnavailableError: There is no room for it in the user's share.
        """
        if not self.is_begun(user_id, thread_id):
            self._journal.count(user_id, THREAD_SIZE)
            self._begun.add((user_id, thread_id))
            self._owners.setdefault(thread_id, user_id)

    def answer(self, question: Question) -> list[Row]:
        """Answer *question* as PostgreSQL would, if it can be answered here.

        Raises:
            SessionsUnavailableError: Only the database has the answer.
        """
        match question:  # Subclasses stand before their bases.
            case FindCurrent():
                return self._find_current(question)
            case OpenCurrent():
                return self._open_current(question)
            case ContinueThread():
                return [unopened(question.thread_id)]
            case FindNext():
                return [
                    opened(row) for row in self._current(question.user_id or "", question.agent)
                ]
            case OpenNew():
                return self._open_new(question)
            case OpenThread():  # Trusted or not: it is known by its id.
                return self._open_thread(question)
            case OpenReserved():
                return self._open_reserved(question)
            case _:
                return self._answer_manager(question)

    # --- Where a run goes --------------------------------------------------------------------

    def _open_current(self, asked: OpenCurrent) -> list[Row]:
        assert asked.user_id is not None
        return [opened(row) for row in self._active(asked.user_id, asked.agent)[:1]]

    def _find_current(self, asked: FindCurrent) -> list[Row]:
        assert asked.user_id is not None
        return [opened(row) for row in self._current(asked.user_id, asked.agent)]

    def _open_thread(self, asked: OpenThread) -> list[Row]:
        assert asked.thread_id is not None
        user_id = asked.user_id or self._owners.get(asked.thread_id, "")
        return [opened(self._known(user_id, asked.thread_id))]

    def _open_new(self, asked: OpenNew) -> list[Row]:
        assert asked.user_id is not None
        assert asked.thread_id is not None
        return self._begin_new(asked.user_id, asked.thread_id)

    def _begin_new(self, user_id: str, thread_id: str) -> list[Row]:
        """Begin a thread, unless a session, or somebody's first run, has that id here."""
        owner = user_id if self.is_begun(user_id, thread_id) else self._owners.get(thread_id)
        if row := self._mine(owner or user_id).get(thread_id):
            return [opened(row)]
        if owner not in (None, user_id):
            return [{**unopened(thread_id), "newest_thread_id": thread_id, "newest_user_id": owner}]
        self.begin(user_id, thread_id)
        return [unopened(thread_id)]

    def _open_reserved(self, asked: OpenReserved) -> list[Row]:
        """Open the thread of the user's next session: the same for two runs at once."""
        assert asked.user_id is not None
        key = asked.user_id, asked.agent
        reserved = self._reserved.get(key)
        row = self._mine(asked.user_id).get(reserved or "")
        is_current = row is not None and row["is_active"] and row["current_at"]
        if row is not None and row["agent"] == asked.agent and is_current:
            return [opened(row)]
        if reserved is None or row is not None or reserved == asked.taken:
            reserved = self._reserved[key] = asked.thread_id
        return self._begin_new(asked.user_id, reserved)

    # --- The session manager -----------------------------------------------------------------

    def _answer_manager(self, question: Question) -> list[Row]:
        match question:
            case GetCurrent():
                return self._current(question.user_id, question.agent)
            case GetSession():
                return self._owned(question.user_id, question.thread_id, question.agent)
            case HasSession():
                return [{"count": len(self._current(question.user_id, question.agent))}]
            case CreateGivenSession():  # Only the database knows whether the id is in use.
                raise unavailable()
            case CreateSession():
                return self._create(question)
            case UpdateSession():
                return self._update(question)
            case SwitchSession():
                return self._switch(question)
            case DeactivateSessions():
                return self._deactivate(question)
            case PutSession():
                return self._put_session(question)
            case _:
                raise unavailable()

    def _create(self, asked: CreateSession) -> list[Row]:
        owner = self._owners.get(asked.thread_id, asked.user_id)
        if owner != asked.user_id or asked.thread_id in self._mine(asked.user_id):
            return []
        row = new_row(asked.user_id, asked.thread_id, asked.agent)
        row["title"], row["title_source"] = asked.title, asked.title_source
        row["metadata"], row["current_at"] = asked.metadata, row["updated_at"]
        return [self._change(replace(asked, at=row["updated_at"]), row)]

    def _update(self, asked: UpdateSession) -> list[Row]:
        if asked.thread_id is None:
            (current,) = self._current(asked.user_id, asked.agent)
            asked = replace(asked, thread_id=current["thread_id"])
        assert asked.thread_id is not None
        for row in self._owned(asked.user_id, asked.thread_id, asked.agent):
            row = dict(row)
            if asked.title is not None:
                row["title"], row["title_source"] = asked.title, "user"
            if asked.is_active is not None:
                row["is_active"] = asked.is_active
            if asked.metadata is not None:
                merged = {**row["metadata"], **asked.metadata}
                row["metadata"] = json_checks.metadata(
                    {key: merged[key] for key in merged if key not in asked.removed}
                )
            return [self._change(asked, row)]
        return []

    def _switch(self, asked: SwitchSession) -> list[Row]:
        now = datetime.now(UTC)
        for row in self._owned(asked.user_id, asked.thread_id, asked.agent):
            row = {**row, "is_active": True, "updated_at": now, "current_at": now}
            return [self._change(replace(asked, at=now), row)]
        return []

    def _deactivate(self, asked: DeactivateSessions) -> list[Row]:
        if asked.thread_id is None:  # Not all of the user's are here.
            raise unavailable()
        rows = self._owned(asked.user_id, asked.thread_id, asked.agent)
        active = [row for row in rows if row["is_active"]]
        for row in active:
            self._change(asked, {**row, "is_active": False})
        return [{"count": len(active)}]

    def _put_session(self, asked: PutSession) -> list[Row]:
        """Create the session that a first run would."""
        row = self.put(asked)
        return [self._change(replace(asked, at=row["updated_at"]), row)]

    # --- Saves -------------------------------------------------------------------------------

    def put(self, put: PutSession) -> Row:
        """Return the row of a session as a save makes it: what `user_sessions_put` does.

        Raises:
            SessionNotFoundError: The session is another agent's.
            ConcurrentRunError: Another run saved to it meanwhile.
        """
        old = self._mine(put.user_id).get(put.thread_id)
        if old is None:
            row = new_row(put.user_id, put.thread_id, put.agent)
            row["title"] = put.default_title or DEFAULT_TITLE
        else:
            row = self._checked(put, old)
        row["last_save"] = put.save or row["last_save"]
        row["status"] = _status_after(row["status"], put)
        if old is None or put.first:
            if put.is_active is not None:
                row["is_active"] = put.is_active
            row["updated_at"] = now = datetime.now(UTC)
            if put.make_current is not False:
                row["current_at"] = now
        if put.title is not None and (old is None or put.first):
            row["title"], row["title_source"] = put.title, "user"
        elif row["title_source"] == "default" and put.message_title is not None:
            row["title"], row["title_source"] = put.message_title, "message"
        return row

    def _checked(self, put: PutSession, row: Row) -> Row:
        """Return a copy of *row*, if *put* may be saved: what `user_sessions_check` does."""
        if not _is_of(row, put.agent):
            raise SessionNotFoundError(put.user_id, put.thread_id)
        last = row["last_save"]
        if put.checked and last != put.seen and _run_of(last) != _run_of(put.save):
            raise ConcurrentRunError(put.thread_id)
        return dict(row)

    def keep(self, row: Row) -> None:
        """Hold the *row* of a session that was saved to."""
        self._rows.setdefault(row["user_id"], {})[row["thread_id"]] = row

    # --- What is here ------------------------------------------------------------------------

    def _mine(self, user_id: str) -> Mapping[str, Row]:
        """Return the user's sessions, by thread."""
        return self._rows.get(user_id, {})

    def _active(self, user_id: str, agent: str | None) -> list[Row]:
        """Return the user's active sessions that were made current, the last one first."""
        rows = (row for row in self._mine(user_id).values() if _is_of(row, agent))
        active = [row for row in rows if row["is_active"] and row["current_at"]]
        return sorted(active, key=lambda row: row["current_at"], reverse=True)

    def _current(self, user_id: str, agent: str | None) -> list[Row]:
        if rows := self._active(user_id, agent):
            return rows[:1]
        raise unavailable()

    def _owned(self, user_id: str, thread_id: str, agent: str | None) -> list[Row]:
        row = self._known(user_id, thread_id)
        return [row] if _is_of(row, agent) else []

    def _known(self, user_id: str, thread_id: str) -> Row:
        """Return a session of the user's; of others' it says no more than of one that is not here.

        Raises:
            SessionsUnavailableError: There is none here.
        """
        if row := self._mine(user_id).get(thread_id):
            return row
        raise unavailable()

    def _change(self, statement: Statement, row: Row) -> Row:
        self.begin(row["user_id"], row["thread_id"])
        self._journal.append(Entry(STATEMENT_SIZE, statement, row["user_id"]))
        self.keep(row)
        return row


def _is_of(row: Row, agent: str | None) -> bool:
    """Say whether a session is the agent's, if one is given."""
    return agent in (None, row["agent"])


def _status_after(status: str, put: PutSession) -> str:
    """Return what a session waits for after a save, by what that says alone."""
    if put.own is None:  # A subgraph's.
        return status
    if INTERRUPT in put.channels:
        return "interrupted"
    if ERROR in put.channels and status == IDLE:
        return "error"
    return status if put.task else IDLE


def _run_of(save: str | None) -> str | None:
    """Return the run in the name of a *save*."""
    return save and save.partition(".")[0]
