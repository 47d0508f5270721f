"""The sessions that are begun while the database is away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from langgraph_sessions.errors import (
    ConcurrentRunError,
    SessionNotFoundError,
    SessionsUnavailableError,
)
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.outage.journal import Entry, Journal
from langgraph_sessions.plans import Call, Done, Fetch, Plan, Run, T, proceed
from langgraph_sessions.sql import statements

Row = dict[str, Any]
Params = Mapping[str, Any]

STATEMENT_SIZE: Final = 1000  # The bytes that a change of a session counts for, about.


def unavailable() -> SessionsUnavailableError:
    """Return the error for what cannot be done, or known, without the database."""
    return SessionsUnavailableError(
        "the database is away; until it is back, only what was begun since then can be used"
    )


def refuse(_: object) -> NoReturn:
    """Raise that error: what is done in memory where nothing can be."""
    raise unavailable()


class HeldSessions:
    """Answers the statements that can be answered without the database.

    Those are `Fetch`es that name one of these methods as `held`. They know the sessions that
    were begun here alone: where there may be another in the database, they raise
    `SessionsUnavailableError`. What they change is put into the journal.
    """

    def __init__(self, journal: Journal) -> None:
        """Begin with none."""
        self._journal = journal
        self._rows: dict[str, Row] = {}
        self._reserved: dict[str, str] = {}
        self._begun: set[str] = set()

    def is_begun(self, thread_id: str) -> bool:
        """Say whether a thread was begun here: all that there is of it is here."""
        return thread_id in self._begun

    def begin(self, thread_id: str) -> None:
        """Take note of a thread that nothing has."""
        self._begun.add(thread_id)

    def run(self, plan: Plan[T]) -> T:
        """Run *plan* without the database. Raises what it raises, and as `answer`."""
        step = proceed(plan)
        while not isinstance(step, Done):
            step = proceed(plan, self.answer(step))
        value: T = step.value
        return value

    def answer(self, step: Fetch | Run | Call) -> Any:
        """Answer a step of a plan.

        Raises:
            SessionsUnavailableError: It takes the database.
        """
        if isinstance(step, Call):
            return step.function()
        if isinstance(step, Run) or step.held is None:
            raise unavailable()
        return getattr(self, step.held)(step.params)

    # --- Where a run goes --------------------------------------------------------------------

    def open_current(self, params: Params) -> list[Row]:
        """Open the user's current session, if there is one here."""
        return [_opened(row) for row in self._active(params["user_id"])[:1]]

    def read_current(self, params: Params) -> list[Row]:
        """Open the user's current session to read it."""
        return [_opened(row) for row in self.current(params)]

    def open_thread(self, params: Params) -> list[Row]:
        """Open a certain thread."""
        return [_opened(self._known(params["thread_id"]))]

    def open_new(self, params: Params) -> list[Row]:
        """Open a thread with a new id."""
        self.begin(params["thread_id"])
        return [_unopened(params["thread_id"])]

    def open_reserved(self, params: Params) -> list[Row]:
        """Open the thread of the user's next session: the same for two runs at once."""
        user_id = params["user_id"]
        reserved = self._reserved.get(user_id)
        row = self._rows.get(reserved or "")
        if row is not None and row["user_id"] == user_id and row["is_active"]:
            return [_opened(row)]
        if reserved is None or row is not None or reserved == params["taken"]:
            reserved = self._reserved[user_id] = params["new_thread_id"]
        return self.open_new({"thread_id": reserved})

    # --- The session manager -----------------------------------------------------------------

    def current(self, params: Params) -> list[Row]:
        """Return the user's current session."""
        if rows := self._active(params["user_id"]):
            return rows[:1]
        raise unavailable()

    def get(self, params: Params) -> list[Row]:
        """Return a certain session."""
        row = self._known(params["thread_id"])
        return [row] if row["user_id"] == params["user_id"] else []

    def has(self, params: Params) -> list[Row]:
        """Say whether the user has an active session."""
        return [{"count": len(self.current(params))}]

    def create(self, params: Params) -> list[Row]:
        """Create a session."""
        if params["thread_id"] in self._rows:
            return []
        row = _new_row(params["user_id"], params["thread_id"])
        row["title"], row["title_source"] = params["title"], params["title_source"]
        row["metadata"] = params["metadata"].obj
        return [self._change(statements.CREATE_SESSION, {**params, "at": row["updated_at"]}, row)]

    def update(self, params: Params) -> list[Row]:
        """Change a session, by default the current one."""
        if params["thread_id"] is None:
            params = {**params, "thread_id": self.current(params)[0]["thread_id"]}
        for row in self.get(params):
            row = dict(row)
            if params["title"] is not None:
                row["title"], row["title_source"] = params["title"], "user"
            if params["is_active"] is not None:
                row["is_active"] = params["is_active"]
            if params["metadata"] is not None:
                row["metadata"] = {**row["metadata"], **params["metadata"].obj}
            return [self._change(statements.UPDATE_SESSION, params, row)]
        return []

    def switch(self, params: Params) -> list[Row]:
        """Make a session current, and active."""
        now = datetime.now(UTC)
        for row in self.get(params):
            row = {**row, "is_active": True, "updated_at": now}
            return [self._change(statements.SWITCH_SESSION, {**params, "at": now}, row)]
        return []

    def deactivate(self, params: Params) -> list[Row]:
        """Deactivate a session; all of the user's are not here."""
        if params["thread_id"] is None:
            raise unavailable()
        active = [row for row in self.get(params) if row["is_active"]]
        for row in active:
            self._change(statements.DEACTIVATE_SESSIONS, params, {**row, "is_active": False})
        return [{"count": len(active)}]

    def put_session(self, params: Params) -> list[Row]:
        """Create the session that a first run would."""
        row = self.put(params)
        return [self._change(statements.PUT_SESSION, {**params, "at": row["updated_at"]}, row)]

    # --- Saves -------------------------------------------------------------------------------

    def put(self, params: Params) -> Row:
        """Return the row of a session as a save makes it: what `user_sessions_put` does.

        Raises:
            SessionNotFoundError: The session is another user's.
            ConcurrentRunError: Another run saved to it meanwhile.
        """
        user_id, thread_id = params["user_id"], params["thread_id"]
        old = self._rows.get(thread_id)
        new = {**_new_row(user_id, thread_id), "last_save": params["save"]}
        row = self.guard(params) or new
        if old is None or params["first"]:
            if params["is_active"] is not None:
                row["is_active"] = params["is_active"]
            row["updated_at"] = datetime.now(UTC)
        if params["title"] is not None and (old is None or params["first"]):
            row["title"], row["title_source"] = params["title"], "user"
        elif row["title_source"] == "default" and params["message_title"] is not None:
            row["title"], row["title_source"] = params["message_title"], "message"
        return row

    def guard(self, params: Params) -> Row | None:
        """Return the row of a session as writes leave it: what `user_sessions_guard` does.

        Raises as `put`.
        """
        user_id, thread_id, save = params["user_id"], params["thread_id"], params["save"]
        row = self._rows.get(thread_id)
        if row is None:
            return None
        if row["user_id"] != user_id:
            raise SessionNotFoundError(user_id, thread_id)
        last = row["last_save"]
        if params["checked"] and last != params["seen"] and _run_of(last) != _run_of(save):
            raise ConcurrentRunError(thread_id)
        return {**row, "last_save": save or last}

    def keep(self, row: Row) -> None:
        """Hold the *row* of a session that was saved to."""
        self._rows[row["thread_id"]] = row

    def _active(self, user_id: str) -> list[Row]:
        rows = (row for row in self._rows.values() if row["user_id"] == user_id)
        active = [row for row in rows if row["is_active"]]
        return sorted(active, key=lambda row: row["updated_at"], reverse=True)

    def _known(self, thread_id: str) -> Row:
        if row := self._rows.get(thread_id):
            return row
        raise unavailable()

    def _change(self, sql: str, params: Params, row: Row) -> Row:
        self._journal.append(Entry(STATEMENT_SIZE, Fetch(sql, params)))
        self.begin(row["thread_id"])
        self.keep(row)
        return row


def _new_row(user_id: str, thread_id: str) -> Row:
    now = datetime.now(UTC)
    return {
        "id": 0,  # The database will number it.
        "user_id": user_id,
        "thread_id": thread_id,
        "title": DEFAULT_TITLE,
        "created_at": now,
        "updated_at": now,
        "is_active": True,
        "metadata": {},
        "title_source": "default",
        "titler_called": False,
        "last_save": None,
    }


def _run_of(save: str | None) -> str | None:
    """Return whose save it is."""
    return save and save.partition(".")[0]


def _opened(row: Row) -> Row:
    """Return *row* as the statements that open a thread do."""
    return {**_unopened(row["thread_id"]), **{f"session_{key}": row[key] for key in row}}


def _unopened(thread_id: str) -> Row:
    return {
        "asked_thread_id": thread_id,
        "preferences": None,
        "newest_thread_id": None,
        "newest_user_id": None,
        "session_id": None,
        "session_user_id": None,
        "session_is_active": None,
        "session_titler_called": None,
        "session_last_save": None,
    }
