"""The memory cache of a session manager."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Final

from cachetools import TLRUCache

from langgraph_sessions import checks, processes
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Plan, T

Key = tuple[str, str | None]  # user id and thread id; no thread id: the current session

STRIPES: Final = 256  # Enough that one user's write seldom drops another's read.


def _stripe(user_id: str) -> int:
    return hash(user_id) % STRIPES


class SessionCache:
    """Sessions read or written lately, for at most *ttl* seconds and *size* of them.

    A write goes to the database and then here. An outage empties it when it begins and when it
    ends. A read says when it began, so that one that was overtaken by a write is not kept, and so
    that the time to live counts from before the database was asked.
    """

    def __init__(self, size: int, ttl: float) -> None:
        """Keep *size* sessions for *ttl* seconds; 0 of either turns it off."""
        size = checks.number("cache_size", size, 0)
        ttl = checks.seconds("cache_ttl", ttl)
        self._lock = threading.Lock()
        self._entries: TLRUCache[Key, tuple[float, Session]] = TLRUCache(
            maxsize=size if ttl else 0,
            ttu=lambda _key, entry, _now: entry[0] + ttl,
            timer=time.monotonic,
        )
        self._written = [0.0] * STRIPES  # When a user's sessions were last written, by hash.
        processes.watch(self)

    def forked(self) -> None:
        """Be the empty cache of a forked child."""
        self._lock = threading.Lock()
        self.clear()

    def get(self, user_id: str, thread_id: str | None = None) -> Session | None:
        """Return a session, without *thread_id* the current one, if it is here."""
        # Not `_entries.get`, which looks twice, and every cached read comes by here.
        try:
            with self._lock:
                return self._entries[user_id, thread_id][1]
        except KeyError:
            return None

    now = staticmethod(time.monotonic)  # The time at which a read begins, for `keep`.

    def keep(self, session: Session, began: float, *, current: bool = False) -> None:
        """Keep a *session* that a read begun at *began* returned."""
        with self._lock:
            if began > self._written[_stripe(session.user_id)] and self._entries.maxsize:
                self._entries[session.user_id, session.thread_id] = (began, session)
                if current:
                    self._entries[session.user_id, None] = (began, session)

    def wrote(self, session: Session, began: float) -> None:
        """Keep *session*, which a write begun at *began* returned, unless another overlapped.

        Which session is the current one may have changed with it, so that is forgotten.
        """
        with self._lock:
            stripe = _stripe(session.user_id)
            overlapped = began <= self._written[stripe]
            self._written[stripe] = time.monotonic()
            self._entries.pop((session.user_id, None), None)
            if self._entries.maxsize and not overlapped:
                self._entries[session.user_id, session.thread_id] = (began, session)
            else:
                self._entries.pop((session.user_id, session.thread_id), None)

    def touched(self, user_id: str, thread_id: str, at: datetime, began: float) -> None:
        """Note that a write begun at *began* told a session that it was used, and nothing else.

        What is kept of it stays as old as it is, and nothing is kept for that: a server may touch
        many sessions at which nobody looks.
        """
        key, stripe = (user_id, thread_id), _stripe(user_id)
        with self._lock:
            overlapped = began <= self._written[stripe]
            self._written[stripe] = time.monotonic()
            self._entries.pop((user_id, None), None)
            if overlapped:
                self._entries.pop(key, None)
            elif (entry := self._entries.get(key)) is not None:
                self._entries[key] = (entry[0], entry[1].used(at))

    def forget_user(self, user_id: str) -> None:
        """Drop all of a user's sessions."""
        with self._lock:
            self._written[_stripe(user_id)] = time.monotonic()
            for key in [key for key in self._entries if key[0] == user_id]:
                self._entries.pop(key, None)

    # --- Beside plans ------------------------------------------------------------------------

    def reading(
        self,
        plan: Plan[Session],
        user_id: str,
        thread_id: str | None = None,
        *,
        durable: bool = True,
    ) -> Plan[Session]:
        """Return the cached session, else what *plan* reads, and cache it.

        During an outage (not *durable*) nothing is read from the cache: rows of runs that began
        before it have the titles and times of their start.
        """
        if durable and (cached := self.get(user_id, thread_id)):
            plan.close()
            return cached
        began = self.now()
        session = yield from plan
        self.keep(session, began, current=thread_id is None)
        return session

    def writing(self, plan: Plan[Session]) -> Plan[Session]:
        """Return the session that *plan* writes, and cache it."""
        began = self.now()
        session = yield from plan
        self.wrote(session, began)
        return session

    def forgetting(self, plan: Plan[T], user_id: str | None = None) -> Plan[T]:
        """Do what *plan* does, and drop the user's sessions, or all.

        Also after an error: its connection may have broken after it was executed.
        """
        try:
            return (yield from plan)
        finally:
            self.clear() if user_id is None else self.forget_user(user_id)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._written = [time.monotonic()] * STRIPES
            self._entries.clear()

    def __len__(self) -> int:
        """Count the cached sessions."""
        with self._lock:
            self._entries.expire()
            return len({key for key in self._entries if key[1] is not None})
