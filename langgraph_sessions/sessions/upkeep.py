"""Plans over whole threads, users and databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import psycopg
from langgraph.checkpoint.postgres.base import PRUNE_DELTA_THREADS_SQL
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from langgraph_sessions import checks
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Call, Fetch, Plan
from langgraph_sessions.runs.thread_ids import FACTORY_ID, ThreadIdFactory, in_use, new_thread_id
from langgraph_sessions.sql import functions, statements

LONGEST: Final = timedelta(days=36500)

# --- Copies ------------------------------------------------------------------------------------


def fork(
    user_id: object,
    thread_id: object,
    checkpoint_id: object,
    title: object,
    factory: ThreadIdFactory,
) -> Plan[Session]:
    """Copy a session up to a checkpoint, by default its newest, as a new one."""
    return _fork(
        {
            "source": checks.text("thread_id", thread_id),
            "user_id": checks.user_id(user_id),
            "checkpoint_id": None
            if checkpoint_id is None
            else checks.text("checkpoint_id", checkpoint_id),
            "title": None if title is None else checks.title(title),
        },
        factory,
    )


def _fork(params: Mapping[str, Any], factory: ThreadIdFactory) -> Plan[Session]:
    target = yield Call(partial(new_thread_id, factory, params["user_id"]))
    copy = {**params, "target_name": FACTORY_ID, "target": target}
    (row,) = yield from _copied(copy)
    return Session.from_row(row)


def copy_thread(source: object, target: object) -> Plan[None]:
    """Copy a whole thread, and its session for the same user, if it has one, right behind it."""
    return _copy_thread(
        {
            "source": checks.text("source_thread_id", source),
            "target_name": "target_thread_id",
            "target": checks.text("target_thread_id", target),
            "user_id": None,
            "checkpoint_id": None,
            "title": None,
        }
    )


def _copy_thread(params: Mapping[str, Any]) -> Plan[None]:
    yield from _copied(params)


def _copied(params: Mapping[str, Any]) -> Plan[Sequence[DictRow]]:
    try:
        rows: Sequence[DictRow] = yield Fetch(statements.COPY_SESSION, params, repeatable=False)
    except psycopg.Error as error:
        if error.sqlstate == functions.NOT_FOUND:
            raise SessionNotFoundError(params["user_id"], params["source"]) from None
        if error.sqlstate == functions.IN_USE:
            raise in_use(params["target_name"], params["target"]) from None
        if error.sqlstate == functions.NO_CHECKPOINT:
            raise ValueError(
                f"checkpoint_id {params['checkpoint_id']!r} is not in the session"
            ) from None
        raise
    return rows


# --- Deletions ---------------------------------------------------------------------------------


def delete_runs(run_ids: Sequence[str]) -> Plan[None]:
    """Delete what runs saved, with the sessions of threads of which nothing is left.

    To be run in one transaction.

    Raises:
        TypeError: *run_ids* is a single string.
        NotImplementedError: A later run of the thread rebuilds a `DeltaChannel` from it.
    """
    if isinstance(run_ids, str) or not isinstance(run_ids, Sequence):
        raise TypeError(f"run_ids must be a sequence of run ids, not {type(run_ids).__name__}")
    return _delete_runs([str(run_id) for run_id in run_ids])


def _delete_runs(run_ids: list[str]) -> Plan[None]:
    rows = yield Fetch(statements.RUN_THREADS, {"run_ids": run_ids})
    threads = [row["thread_id"] for row in rows]
    yield Fetch(statements.LOCK_WRITES, {"thread_ids": threads})
    yield Fetch(statements.LOCK_SESSIONS, {"thread_ids": threads})
    delta = yield Fetch(PRUNE_DELTA_THREADS_SQL, (threads, threads))
    delta_threads = sorted(row["thread_id"] for row in delta)
    params = {"thread_ids": delta_threads, "run_ids": run_ids}
    (below,) = yield Fetch(statements.RUNS_BELOW_OTHERS, params)
    if below["count"]:
        raise NotImplementedError(
            "later runs rebuild a DeltaChannel from these: " + ", ".join(delta_threads)
        )
    yield Fetch(statements.DELETE_RUNS, {"run_ids": run_ids})


def delete_user(user_id: object) -> Plan[dict[str, int]]:
    """Delete everything of a user; return how much in each table."""
    params = {"user_id": checks.user_id(user_id)}
    return _counts(Fetch(statements.DELETE_USER, params, repeatable=False))


def _counts(fetch: Fetch) -> Plan[dict[str, int]]:
    (row,) = yield fetch
    return dict(row)


class Purge:
    """A purge of sessions, batch by batch.

    Attributes:
        counts: What it has done so far: sessions `purged`, and `kept` although old enough,
            because they are in use or wait for an answer.
    """

    def __init__(
        self,
        idle_for: object,
        older_than: object,
        active: object,
        interrupted: object,
        dry_run: object,
        batch_size: object,
    ) -> None:
        """Check the arguments of `purge_sessions`."""
        if idle_for is None and older_than is None and active is None:
            raise ValueError("purge_sessions needs idle_for, older_than or active")
        self._params = {
            "idle_for": _duration("idle_for", idle_for),
            "older_than": _duration("older_than", older_than),
            "active": None if active is None else checks.boolean("active", active),
            "interrupted": checks.boolean("interrupted", interrupted),
            "dry_run": checks.boolean("dry_run", dry_run),
            "limit": checks.limit(batch_size, "batch_size"),
        }
        self.counts = {"purged": 0, "kept": 0}
        self._after = 0

    def batch(self) -> Plan[bool]:
        """Purge one batch, in a transaction of its own; say whether there may be more."""
        for row in (yield Fetch(statements.PURGE, {**self._params, "after": self._after})):
            self._after = row["last_id"]
            self.counts["purged"] += row["sessions"]
            self.counts["kept"] += row["kept"]
            return True
        return False


def _duration(name: str, value: object) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(value).__name__}")
    if not timedelta(0) <= value <= LONGEST:
        raise ValueError(f"{name} must be from 0 to {LONGEST.days} days")
    return value


# --- Preferences -------------------------------------------------------------------------------


def get_preferences(user_id: object) -> Plan[dict[str, Any]]:
    """Return the user's preferences."""
    return _preferences(Fetch(statements.GET_PREFERENCES, {"user_id": checks.user_id(user_id)}))


def update_preferences(user_id: object, changes: object) -> Plan[dict[str, Any]]:
    """Merge *changes* into them; `None` removes a key."""
    user = checks.user_id(user_id)
    checked = checks.metadata(changes, "changes")
    removed = [key for key, value in checked.items() if value is None]
    params = {
        "user_id": user,
        "changes": Jsonb({key: value for key, value in checked.items() if value is not None}),
        "removed": removed,
    }
    return _preferences(Fetch(statements.UPDATE_PREFERENCES, params))


def _preferences(fetch: Fetch) -> Plan[dict[str, Any]]:
    for row in (yield fetch):
        preferences: dict[str, Any] = row["preferences"]
        return preferences
    return {}


# --- Adoption ----------------------------------------------------------------------------------


def may_adopt(user_id: object, thread_id: object, title: object) -> Plan[Session | None]:
    """Return the session that the user has on a thread; else check that it may be adopted.

    Raises:
        SessionNotFoundError: There is no such thread, or it is another's.
    """
    if title is not None:
        checks.title(title)
    return _may_adopt(checks.user_id(user_id), checks.text("thread_id", thread_id))


def _may_adopt(user_id: str, thread_id: str) -> Plan[Session | None]:
    params = {"user_id": user_id, "thread_id": thread_id}
    for row in (yield Fetch(statements.GET_SESSION, params)):
        return Session.from_row(row)
    rows = yield Fetch(statements.THREAD_OWNER, {"thread_id": thread_id})
    if not rows or rows[0]["owner"] not in (None, user_id):
        raise SessionNotFoundError(user_id, thread_id)
    return None


def adopt(
    user_id: object, thread_id: str, title: object, message_title: str | None
) -> Plan[Session]:
    """Make a session for a thread; the user's own is simply returned."""
    given = None if title is None else checks.title(title)
    return _adopt(
        {
            "user_id": checks.user_id(user_id),
            "thread_id": thread_id,
            "title": given or message_title or DEFAULT_TITLE,
            "title_source": "user" if given else "message" if message_title else "default",
        }
    )


def _adopt(params: Mapping[str, Any]) -> Plan[Session]:
    for row in (yield Fetch(statements.ADOPT_SESSION, params)):
        return Session.from_row(row)
    raise SessionNotFoundError(params["user_id"], params["thread_id"])


class Backfill:
    """A walk over all threads, batch by batch, for those that have an owner and no session.

    Attributes:
        counts: Threads so far: `seen`, `adopted`, `unowned`, which name no user, and `skipped`,
            which were deleted meanwhile or have an id too long for a session.
    """

    def __init__(self, batch_size: object) -> None:
        """Check the arguments of `backfill`."""
        self._limit = checks.limit(batch_size, "batch_size")
        self._after = ""
        self.counts = {"seen": 0, "adopted": 0, "unowned": 0, "skipped": 0}

    def batch(self) -> Plan[Sequence[tuple[str, str]] | None]:
        """Return the next threads to adopt as (owner, thread id); `None`: there are no more."""
        params = {"after": self._after, "limit": self._limit}
        rows = yield Fetch(statements.NEXT_THREADS, params)
        if not rows:
            return None
        self._after = rows[-1]["thread_id"]
        self.counts["seen"] += len(rows)
        bare = [row for row in rows if not row["has_session"]]
        owned = [(row["owner"], row["thread_id"]) for row in bare if _is_owner(row["owner"])]
        self.counts["unowned"] += len(bare) - len(owned)
        return owned


def plain_threads(user_id: str) -> Plan[list[str]]:
    """Return the threads without a session that are a user's."""
    rows = yield Fetch(statements.PLAIN_THREADS, {"user_id": user_id})
    return [row["thread_id"] for row in rows]


def _is_owner(owner: object) -> bool:
    """Say whether metadata name somebody who can have sessions."""
    try:
        checks.user_id(owner)
    except (TypeError, ValueError):
        return False
    return True
