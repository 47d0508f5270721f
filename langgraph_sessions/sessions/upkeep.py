"""Plans over whole threads, users and databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg

from langgraph_sessions import checks, json_checks
from langgraph_sessions.errors import SessionNotFoundError, quoted
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Composite, Plan, Statement
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, in_use, new_thread_ids
from langgraph_sessions.sessions.operations import bounded
from langgraph_sessions.sql import functions
from langgraph_sessions.sql.saving import LockNewThread
from langgraph_sessions.sql.sessions import GetSession
from langgraph_sessions.sql.upkeep import (
    CopySession,
    GetPreferences,
    InsertAdopted,
    NextThreads,
    PlainThreads,
    ThreadOwner,
    UpdatePreferences,
)

Row = Mapping[str, Any]


# --- Copies ------------------------------------------------------------------------------------


def fork(
    user_id: object,
    thread_id: object,
    checkpoint_id: object,
    title: object,
    factory: ThreadIdFactory,
    agent: str | None,
) -> Plan[Session]:
    """Copy a session up to a checkpoint, by default its newest, as a new one."""
    source, user = checks.thread_id(thread_id), checks.user_id(user_id)
    if checkpoint_id is not None:
        checks.text("checkpoint_id", checkpoint_id)
    name = None if title is None else checks.title(title)
    return _fork(source, user, cast("str | None", checkpoint_id), name, factory, agent)


def _fork(
    source: str,
    user_id: str,
    checkpoint_id: str | None,
    title: str | None,
    factory: ThreadIdFactory,
    agent: str | None,
) -> Plan[Session]:
    for target in (yield from new_thread_ids(factory, user_id)):
        copy = CopySession(
            source=source,
            target=target,
            user_id=user_id,
            agent=agent,
            checkpoint_id=checkpoint_id,
            title=title,
        )
        if (rows := (yield from _copied(copy))) is not None:
            return Session.from_row(rows[0])
    raise AssertionError("a random thread id is in use")


def copy_thread(source: object, target: object) -> Plan[None]:
    """Copy a whole thread, and its session for the same user, if it has one, right behind it."""
    copy = CopySession(
        source=checks.thread_id(source, "source_thread_id"),
        target=checks.thread_id(target, "target_thread_id"),
    )
    return _copy_thread(copy)


def _copy_thread(copy: CopySession) -> Plan[None]:
    if (yield from _copied(copy)) is None:
        raise in_use("target_thread_id", copy.target)


def _copied(copy: CopySession) -> Plan[Sequence[Row] | None]:
    """Copy a session, or a thread without one; `None` where the target is in use."""
    try:
        rows: Sequence[Row] = yield copy
    except psycopg.Error as error:
        if error.sqlstate == functions.NOT_FOUND:
            raise SessionNotFoundError(copy.user_id, copy.source) from None
        if error.sqlstate == functions.IN_USE:
            return None
        if error.sqlstate == functions.NO_CHECKPOINT:
            raise ValueError(
                f"checkpoint_id {quoted(copy.checkpoint_id)} is not in the session"
            ) from None
        raise
    return rows


# --- Preferences -------------------------------------------------------------------------------


def get_preferences(user_id: object) -> Plan[dict[str, Any]]:
    """Return the user's preferences."""
    return _preferences(GetPreferences(checks.user_id(user_id)))


def update_preferences(user_id: object, changes: object) -> Plan[dict[str, Any]]:
    """Merge *changes* into them; `None` removes a key."""
    user = checks.user_id(user_id)
    kept, removed = json_checks.changes(changes, "changes")
    statement = UpdatePreferences(user, kept, removed)
    return bounded(_preferences(statement), "preferences")


def _preferences(statement: Statement) -> Plan[dict[str, Any]]:
    for row in (yield statement):
        preferences: dict[str, Any] = row["preferences"]
        return preferences
    return {}


# --- Adoption ----------------------------------------------------------------------------------


def may_adopt(
    user_id: object, thread_id: object, title: object, agent: str | None
) -> Plan[Session | None]:
    """Return the session that the user has on a thread; else check that it may be adopted.

    Raises:
        SessionNotFoundError: There is no such thread, or it is another's.
    """
    if title is not None:
        checks.title(title)
    return _may_adopt(checks.user_id(user_id), checks.thread_id(thread_id), agent)


def _may_adopt(user_id: str, thread_id: str, agent: str | None) -> Plan[Session | None]:
    for row in (yield GetSession(user_id, thread_id, agent)):
        return Session.from_row(row)
    if not _is_free((yield ThreadOwner(thread_id)), user_id):
        raise SessionNotFoundError(user_id, thread_id)
    return None


def thread_owner(thread_id: str) -> Plan[str | None]:
    """Return the user whom a thread's checkpoints name, '' if nobody; `None`: it has none."""
    for row in (yield ThreadOwner(thread_id)):
        return str(row["owner"] or "")
    return None


def _is_free(rows: Sequence[Row], user_id: str) -> bool:
    """Say whether a thread is there, and its checkpoints name the user, or nobody."""
    return bool(rows) and rows[0]["owner"] in (None, user_id)


def adopt(
    user_id: object,
    thread_id: str,
    title: object,
    message_title: str | None,
    agent: str | None,
    default_title: str = DEFAULT_TITLE,
) -> Plan[Session]:
    """Make a session for a thread; the user's own is simply returned."""
    given = None if title is None else checks.title(title)
    name = given or message_title or default_title
    source = "user" if given else "message" if message_title else "default"
    return _adopt(AdoptSession(checks.user_id(user_id), thread_id, name, source, agent))


def _adopt(question: AdoptSession) -> Plan[Session]:
    for row in (yield question):
        return Session.from_row(row)
    raise SessionNotFoundError(question.user_id, question.thread_id)


@dataclass(frozen=True)
class AdoptSession(Composite):
    """Make a session for a thread that has none, or return the user's own; no row: it is another's.

    Saves of nobody's are kept away meanwhile, and whose the thread is, is looked at after that:
    nothing that they have just saved becomes the user's.
    """

    user_id: str
    thread_id: str
    title: str
    title_source: str
    agent: str | None = None

    atomic = True

    def plan(self) -> Plan[Sequence[Row]]:
        """Make it under the lock; return its row."""
        yield LockNewThread(self.thread_id)
        if not _is_free((yield ThreadOwner(self.thread_id)), self.user_id):
            return []
        adopted: Sequence[Row] = yield InsertAdopted(**vars(self))
        return adopted


class Backfill:
    """A walk over all threads, batch by batch, for those that have an owner and no session.

    Attributes:
        counts: Threads so far: `seen`, `adopted`, `unowned`, which name no user, and `skipped`,
            which were deleted meanwhile or have an id too long for a session.
        nobodys: The thread ids of the last batch that name no user.
    """

    nobodys: Sequence[str] = ()

    def __init__(self, batch_size: object) -> None:
        """Check the arguments of `backfill`."""
        self._limit = checks.limit(batch_size, "batch_size")
        self._after = ""
        self.counts = {"seen": 0, "adopted": 0, "unowned": 0, "skipped": 0}

    def batch(self) -> Plan[Sequence[tuple[str, str]] | None]:
        """Return the next threads to adopt as (owner, thread id); `None`: there are no more."""
        rows = yield NextThreads(self._after, self._limit)
        if not rows:
            return None
        self._after = rows[-1]["thread_id"]
        self.counts["seen"] += len(rows)
        bare = [row for row in rows if not row["has_session"]]
        owned = [(row["owner"], row["thread_id"]) for row in bare if _is_owner(row["owner"])]
        self.nobodys = [row["thread_id"] for row in bare if not _is_owner(row["owner"])]
        self.counts["unowned"] += len(self.nobodys)
        return owned


def plain_threads(user_id: str) -> Plan[list[str]]:
    """Return the threads without a session that are a user's."""
    rows = yield PlainThreads(user_id)
    return [row["thread_id"] for row in rows]


def _is_owner(owner: object) -> bool:
    """Say whether metadata name somebody who can have sessions."""
    try:
        checks.user_id(owner)
    except (TypeError, ValueError):
        return False
    return True
