"""What can go wrong, as exceptions.

    SessionError
    ├── SessionNotFoundError (also a ValueError)
    ├── ConcurrentRunError
    ├── NotInterruptedError
    └── SessionsUnavailableError

A wrong argument is a plain `ValueError` or `TypeError` that names it. Any other
database error is raised as psycopg raises it.
"""

from __future__ import annotations

import traceback
from typing import Final, TypeGuard

# The classes of SQLSTATEs whose messages are about the server, rights and names, never values.
_ABOUT_SERVER: Final = ("08", "25", "28", "3D", "40", "42", "53", "55", "57", "58")
# Errors without an SQLSTATE: the client's own, about a connection.
_OF_CONNECTIONS: Final = ("OperationalError", "PoolTimeout", "PoolClosed", "ConnectionTimeout")


class SessionError(Exception):
    """The root of this package's errors.

    Raised itself where the tables are missing and `auto_setup` is off, are newer by a breaking
    migration, are gone, or are somebody else's; where a search path leads past them; where the
    embedded server cannot be used; and where a saver or manager is used in a process that was
    forked after it was opened.
    """


class SessionNotFoundError(SessionError, ValueError):
    """There is no such session *for that user*: another user's looks like none.

    Attributes:
        user_id: Who asked; `None` for a run that gave only a `thread_id`.
        thread_id: What was asked for; `None` for the user's current session.
        checkpoint_id: The checkpoint that the session was to have; `None` for none in particular.
    """

    def __init__(
        self, user_id: str | None, thread_id: str | None = None, checkpoint_id: str | None = None
    ) -> None:
        """Say who asked for what."""
        self.user_id = user_id
        self.thread_id = thread_id
        self.checkpoint_id = checkpoint_id
        who = f"user_id {quoted(user_id)}" if user_id is not None else "a run without user_id"
        what = "current session" if thread_id is None else f"session {quoted(thread_id)}"
        if checkpoint_id is not None:
            what = f"{what} with a checkpoint {quoted(checkpoint_id)}"
        super().__init__(f"{who} has no {what}")

    def __reduce__(self) -> tuple[type[SessionNotFoundError], tuple[str | None, ...]]:
        """Let it cross process boundaries, as in `concurrent.futures`."""
        return type(self), (self.user_id, self.thread_id, self.checkpoint_id)


class ConcurrentRunError(SessionError):
    """Two runs of one session overlapped; this one would have lost or overwritten messages.

    What it wanted to save was not saved; what it saved before the other did stays. The session
    is as the other run leaves it, and ready for the same run again.

    Attributes:
        thread_id: The session's thread.
    """

    def __init__(self, thread_id: str) -> None:
        """Say in which session."""
        self.thread_id = thread_id
        super().__init__(
            f"another run saved to session {quoted(thread_id)} while this one was under way: run "
            "it again, or make runs wait for each other with saver.sessions.exclusive(…)"
        )

    def __reduce__(self) -> tuple[type[ConcurrentRunError], tuple[str]]:
        """Let it cross process boundaries, as in `concurrent.futures`."""
        return type(self), (self.thread_id,)


class NotInterruptedError(SessionError):
    """An answer was given, `Command(resume=…)`, and the current session waits for none.

    Nothing ran and nothing was saved. The question may be another session's: name its
    `thread_id`. A run that waits at a static breakpoint goes on with the input `None`.

    Attributes:
        user_id: Who answered.
        thread_id: The session in which nothing waits for an answer.
    """

    def __init__(self, user_id: str, thread_id: str) -> None:
        """Say who answered in which session."""
        self.user_id = user_id
        self.thread_id = thread_id
        super().__init__(
            f"the current session of user_id {quoted(user_id)}, {quoted(thread_id)}, waits for no "
            "answer: give the thread_id of the session that asked"
        )

    def __reduce__(self) -> tuple[type[NotInterruptedError], tuple[str, str]]:
        """Let it cross process boundaries, as in `concurrent.futures`."""
        return type(self), (self.user_id, self.thread_id)


class SessionsUnavailableError(SessionError):
    """The database is away, and memory cannot answer this, or has no room (`outage_limit`).

    Or a node of a database on several (Citus) is away, on which this is: `__cause__` is psycopg's
    error.
    """


def described(error: BaseException) -> str:
    """Describe *error* for a log, without anything that somebody may have written.

    The text of an error may quote it, be it a model's, a serializer's or the database's; those of
    this package, and of connections, do not. Of others it says the kind, and where it came from.
    """
    if isinstance(error, SessionError):
        return str(error)
    kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
    if sqlstate is not None:
        diag = getattr(error, "diag", None)
        names = (getattr(diag, f"{what}_name", None) for what in ("table", "column", "constraint"))
        about = getattr(diag, "message_primary", None) if sqlstate[:2] in _ABOUT_SERVER else None
        return ", ".join(filter(None, [f"{kind} ({sqlstate})", about, *names]))
    if hasattr(error, "pgconn") and kind in _OF_CONNECTIONS:
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind} at {frames[-1].filename}:{frames[-1].lineno}" if frames else kind


def quoted(value: object, length: int = 80) -> str:
    """Return *value* as an error quotes it: long text is cut in the middle."""
    shown = repr(value[: 2 * length] + value[-length:] if _is_long(value, length) else value)
    if len(shown) <= length:
        return shown
    return f"{shown[: length // 2]}…{shown[-length // 2 :]}"


def _is_long(value: object, length: int) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) > 3 * length
