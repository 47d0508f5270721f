"""The results of the session manager: `Session` and `SessionPage`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, get_args, overload

from langgraph_sessions.tables import table
from langgraph_sessions.types import SessionStatus

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

DEFAULT_TITLE: Final = "New Chat"  # A session's title until its first message.
STATUSES: Final[tuple[str, ...]] = get_args(SessionStatus)


T = TypeVar("T")


class _Copied:
    """A field that hands out deep copies: what a caller does to one changes nothing.

    A property beside a private field would do for us, and not for FastAPI, pydantic, orjson and
    `dataclasses`: they take a dataclass's fields, so these must be what is meant to be seen.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: object, kind: type | None = None) -> Any:
        if owner is None:
            return self
        if self._name not in vars(owner):  # It is being made, by pickle or `copy`.
            raise AttributeError(self._name)
        return copy.deepcopy(vars(owner)[self._name])

    def __set__(self, owner: object, value: Any) -> None:
        vars(owner)[self._name] = value


def _copying(name: str) -> Callable[[type[T]], type[T]]:
    """Make the field *name* of a dataclass one that hands out copies."""

    def decorate(cls: type[T]) -> type[T]:
        setattr(cls, name, _Copied(name))
        return cls

    return decorate


# Without slots: orjson reads what is in `__dict__`, and of a slot, it lets go of what it got
# before it has written it, which must not be the only reference there is.
@_copying("metadata")
@dataclass(frozen=True, eq=False, repr=False)
class Session(Mapping[str, Any]):
    """A user's conversation: one row of `user_sessions`, paired with one LangGraph thread.

    It is immutable, and also a JSON-ready mapping of its fields, with ISO 8601 times:
    `session["thread_id"]`, `dict(session)`, `json.dumps(dict(session))`. FastAPI, pydantic, orjson,
    `dataclasses.asdict` and pandas give the same keys; pandas makes columns of times. Jupyter shows
    a table; `repr` and `str` tell no title, since they end up in logs.

    Attributes:
        id: The row's number.
        user_id: Whose session it is.
        thread_id: LangGraph's thread.
        title: At most 255 characters.
        created_at: When it was created (in UTC).
        updated_at: When it was last used: created, run or switched to (in UTC). Renaming,
            deactivating or changing metadata does not move it, so that a list stays in order.
        is_active: Whether it can be the user's current session.
        metadata: The application's own data, each time as a copy: changing it changes nothing
            here.
        agent: The agent of the saver or manager that made it; `None` for none.
        forked_from: Of a fork, where it began: the thread and the checkpoint, as of then: that
            session may be gone. `None` for what is no fork, or one of a session in which nothing
            had been said. In the mapping, a list.
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
    metadata: dict[str, Any]
    agent: str | None = None
    forked_from: tuple[str, str] | None = None
    status: SessionStatus | None = None

    # One record, not a list of its keys, for pandas: that is how it asks. It makes a row of the
    # fields then, with times as times, and not of the JSON-ready mapping.
    ndim: ClassVar[int] = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any], prefix: str = "", *, listed: bool = False) -> Session:
        """For this package: make one from a database row whose columns begin with *prefix*.

        Its status is told in listings alone: elsewhere it may be that of a moment ago.
        """
        session = object.__new__(cls)  # To freeze it field by field takes five times as long.
        columns = vars(session)
        for column, name in _names(prefix):
            columns[column] = row[name]
        columns["created_at"] = row[f"{prefix}created_at"].astimezone(UTC)
        columns["updated_at"] = row[f"{prefix}updated_at"].astimezone(UTC)
        if (origin := columns["forked_from"]) is not None:
            columns["forked_from"] = tuple(origin)
        columns["status"] = row["status"] if listed else None
        columns["_preferences"] = row.get("preferences") or {}
        return session

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
            metadata={},
        ).in_run(preferences)

    def used(self, at: datetime) -> Session:
        """For this package: return it as it is when it was used at *at*, or later, as it says."""
        session = object.__new__(type(self))
        vars(session).update(vars(self), updated_at=max(self.updated_at, at.astimezone(UTC)))
        return session

    def in_run(self, preferences: dict[str, Any] | None) -> Session:
        """For this package: return it, newly made, as a run's whose user has *preferences*.

        They are no field, so that they are in no JSON.
        """
        vars(self)["_preferences"] = preferences or {}
        return self

    @property
    def preferences(self) -> dict[str, Any]:
        """Within a run, the user's preferences as of its start, as a copy; elsewhere empty."""
        return copy.deepcopy(vars(self).get("_preferences", {}))

    @property
    def config(self) -> RunnableConfig:
        """What to give a graph to run or read this session, as a new dict."""
        return {"configurable": {"user_id": self.user_id, "thread_id": self.thread_id}}

    def __getitem__(self, key: str) -> Any:
        """Return a field's JSON-ready value."""
        if key not in FIELDS:
            raise KeyError(key)
        value = getattr(self, key)
        if isinstance(value, tuple):
            return list(value)
        return value.isoformat() if isinstance(value, datetime) else value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        return iter(FIELDS)

    def __len__(self) -> int:
        """Count the fields."""
        return len(FIELDS)

    def __eq__(self, other: object) -> bool:
        """Compare the columns; `status`, known in listings only, does not count."""
        if not isinstance(other, Session):
            return NotImplemented
        return all(getattr(self, column) == getattr(other, column) for column in COLUMNS)

    def __hash__(self) -> int:
        """Hash by what never changes."""
        return hash((self.id, self.thread_id))

    def __repr__(self) -> str:
        """Say which session it is in one line, without the title: that belongs in no log."""
        state = self.status or ("active" if self.is_active else "inactive")
        return f"<Session {self.thread_id!r} of {self.user_id!r}, {state}>"

    def _repr_html_(self) -> str:
        return _table([self])


def _table(sessions: Sequence[Session]) -> str:
    """Return *sessions* as Jupyter shows them; what none of them has takes no place."""
    said = [name for name in ("agent", "status") if any(getattr(each, name) for each in sessions)]
    columns = ("title", "user_id", *said, "is_active", "updated_at", "created_at", "thread_id")
    return table(sessions, columns, "sessions")


# Its fields, which are its keys; all are columns of the table, `status` known in listings alone.
FIELDS: Final = tuple(each.name for each in fields(Session))
COLUMNS: Final = tuple(name for name in FIELDS if name != "status")


class SessionList(list[Session]):
    """A list of sessions that Jupyter shows as a table."""

    def _repr_html_(self) -> str:
        return _table(self)


@dataclass(frozen=True, slots=True, repr=False)
class SessionPage(Sequence[Session]):
    """One page of a listing: a sequence of its sessions.

    Attributes:
        sessions: The page's sessions, newest first.
        next_cursor: What to pass as `cursor` for the next page; `None` on the last one.
    """

    sessions: tuple[Session, ...]
    next_cursor: str | None = None

    @overload
    def __getitem__(self, index: int) -> Session: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Session, ...]: ...

    def __getitem__(self, index: int | slice) -> Session | tuple[Session, ...]:
        """Return a session by its place on the page, or some by a slice."""
        return self.sessions[index]

    def __len__(self) -> int:
        """Count the sessions on this page."""
        return len(self.sessions)

    def __repr__(self) -> str:
        """Say which sessions they are, a line for each, without titles."""
        head = f"<SessionPage of {len(self)}{', and more' if self.next_cursor else ''}"
        return "\n  ".join([head, *map(repr, self.sessions)]) + ">"

    def _repr_html_(self) -> str:
        more = "<p>More: pass <code>cursor=page.next_cursor</code>.</p>" if self.next_cursor else ""
        return _table(self.sessions) + more


@dataclass(frozen=True, slots=True, repr=False)
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
        return cls(**{**row, "created_at": _saved_at(row["created_at"])})

    def __repr__(self) -> str:
        """Say which checkpoint it is in one line."""
        return f"<CheckpointInfo {self.checkpoint_id!r}: step {self.step}, {self.source}>"

    def _repr_html_(self) -> str:
        return CheckpointList([self])._repr_html_()


class CheckpointList(list[CheckpointInfo]):
    """A list of checkpoints that Jupyter shows as a table."""

    def _repr_html_(self) -> str:
        runs = ["run_id"] if any(each.run_id for each in self) else []
        columns = ("step", "source", "created_at", "checkpoint_id", "parent_id", *runs)
        return table(self, columns, "checkpoints")


@cache
def _names(prefix: str) -> Sequence[tuple[str, str]]:
    """Return the columns that a row holds as a session does, each with its name in the row."""
    return [(column, prefix + column) for column in COLUMNS]


def _saved_at(said: object) -> datetime:
    """Return when a checkpoint says it was saved; one that says no time is as old as can be."""
    try:
        moment = datetime.fromisoformat(str(said))
        aware = moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)
