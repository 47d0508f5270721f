"""The results of the session manager: `Session` and `SessionPage`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

DEFAULT_TITLE: Final = "New Chat"  # A session's title until its first message.
STATUSES: Final = ("idle", "interrupted", "error")


@dataclass(frozen=True, slots=True, eq=False)
class Session(Mapping[str, Any]):
    """A user's conversation: one row of `user_sessions`, paired with one LangGraph thread.

    It is immutable, and also a JSON-ready mapping of its columns, with ISO 8601 times:
    `session["thread_id"]`, `dict(session)`, `json.dumps(dict(session))`.

    Attributes:
        id: The row's number.
        user_id: Whose session it is.
        thread_id: LangGraph's thread.
        title: At most 255 characters.
        created_at: When it was created (aware).
        updated_at: When it was last used: created, run or switched to (aware). Renaming,
            deactivating or changing metadata does not move it, so that a list stays in order.
        is_active: Whether it can be the user's current session.
        agent: The agent of the saver or manager that made it; `None` for none.
        status: In listings, what its newest checkpoint waits for: `"idle"`, `"interrupted"`
            (an answer) or `"error"` (another try); elsewhere `None`.
    """

    id: int
    user_id: str
    thread_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    is_active: bool
    _metadata: dict[str, Any] = field(repr=False)
    agent: str | None = None
    status: str | None = None
    _preferences: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], prefix: str = "") -> Session:
        """For this package: make one from a database row whose columns begin with *prefix*."""
        columns = {field: row[prefix + column] for column, field in _FIELDS.items()}
        preferences = row.get("preferences") or {}
        return cls(**columns, status=row.get("status"), _preferences=preferences)

    @classmethod
    def draft(
        cls,
        user_id: str,
        thread_id: str,
        *,
        title: str = DEFAULT_TITLE,
        is_active: bool = True,
        agent: str | None = None,
        preferences: dict[str, Any] | None = None,
    ) -> Session:
        """For this package: return a session that is yet to be stored; its id is 0."""
        now = datetime.now(UTC)
        return cls(
            id=0,
            user_id=user_id,
            thread_id=thread_id,
            title=title,
            created_at=now,
            updated_at=now,
            is_active=is_active,
            agent=agent,
            _metadata={},
            _preferences=preferences or {},
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """The application's own data, as a copy: changing it changes nothing here."""
        return copy.deepcopy(self._metadata)

    @property
    def preferences(self) -> dict[str, Any]:
        """Within a run, the user's preferences as of its start, as a copy; elsewhere empty."""
        return copy.deepcopy(self._preferences)

    @property
    def config(self) -> RunnableConfig:
        """What to give a graph to run or read this session, as a new dict."""
        return {"configurable": {"user_id": self.user_id, "thread_id": self.thread_id}}

    def __getitem__(self, key: str) -> Any:
        """Return a column's JSON-ready value."""
        if key not in self._keys:
            raise KeyError(key)
        value = getattr(self, key)
        return value.isoformat() if isinstance(value, datetime) else value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the column names, in listings with `status`."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._keys)

    @property
    def _keys(self) -> tuple[str, ...]:
        return COLUMNS if self.status is None else (*COLUMNS, "status")

    def __eq__(self, other: object) -> bool:
        """Compare the columns; `status`, known in listings only, does not count."""
        if not isinstance(other, Session):
            return NotImplemented
        return all(getattr(self, column) == getattr(other, column) for column in COLUMNS)

    def __hash__(self) -> int:
        """Hash by what never changes."""
        return hash((self.id, self.thread_id))

    def _repr_html_(self) -> str:
        return html_table([self])


# The fields that are columns of the table, by the columns' names, which are its keys; a field that
# begins with an underscore is handed out as a copy. The rest is known in some places alone.
_FIELDS: Final = {
    each.name.removeprefix("_"): each.name
    for each in fields(Session)
    if each.name not in ("status", "_preferences")
}
COLUMNS: Final = tuple(_FIELDS)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of a listing.

    Attributes:
        sessions: The page's sessions, newest first.
        next_cursor: What to pass as `cursor` for the next page; `None` on the last one.
    """

    sessions: tuple[Session, ...]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[Session]:
        """Iterate over the sessions."""
        return iter(self.sessions)

    def __len__(self) -> int:
        """Count the sessions on this page."""
        return len(self.sessions)

    def _repr_html_(self) -> str:
        more = "<p>more: pass <code>next_cursor</code></p>" if self.next_cursor else ""
        return html_table(self.sessions) + more


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint of a session, as far as people see it: what `fork_session` takes, and why.

    Attributes:
        checkpoint_id: LangGraph's id of it.
        parent_id: The id of the checkpoint from which it followed; `None` for the first.
        created_at: When it was saved (aware), by the clock of the program that saved it.
        source: What made it: `"input"`, `"loop"` (a step), `"update"` or `"fork"`.
        step: The number of its step: -1 is the first input, 0 the first step.
        run_id: The run's id, if it was given one; else `None`.
    """

    checkpoint_id: str
    parent_id: str | None
    created_at: datetime
    source: str
    step: int
    run_id: str | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CheckpointInfo:
        """For this package: make one from a database row."""
        created_at = datetime.fromisoformat(row["created_at"])
        return cls(**{**row, "created_at": created_at})


def html_table(sessions: Sequence[Session]) -> str:
    """Render *sessions* as an HTML table, everything a user wrote escaped."""
    shown = ["title", "user_id", "is_active", "updated_at", "created_at", "thread_id"]
    if any(session.status for session in sessions):
        shown.insert(3, "status")
    if any(session.agent for session in sessions):
        shown.insert(2, "agent")
    head = "".join(f'<th style="text-align:left">{column}</th>' for column in shown)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:left">{escape(display(getattr(session, column)))}</td>'
            for column in shown
        )
        + "</tr>"
        for session in sessions
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def display(value: object) -> str:
    """Return *value* as people read it: times to the second, truth as yes or no."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
