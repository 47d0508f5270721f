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
        who = f"user_id {user_id!r}" if user_id is not None else "a run without user_id"
        what = "current session" if thread_id is None else f"session {thread_id!r}"
        if checkpoint_id is not None:
            what = f"{what} with a checkpoint {checkpoint_id!r}"
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
            f"another run saved to session {thread_id!r} while this one was under way: run it "
            "again, or make runs wait for each other with saver.sessions.exclusive(…)"
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
            f"the current session of user_id {user_id!r}, {thread_id!r}, waits for no answer: "
            "give the thread_id of the session that asked"
        )

    def __reduce__(self) -> tuple[type[NotInterruptedError], tuple[str, str]]:
        """Let it cross process boundaries, as in `concurrent.futures`."""
        return type(self), (self.user_id, self.thread_id)


class SessionsUnavailableError(SessionError):
    """The database is away, and memory cannot answer this, or has no room (`outage_limit`)."""
