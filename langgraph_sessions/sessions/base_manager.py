"""The plans of both session managers, and the cache beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol, maybe_add_typed_methods

from langgraph_sessions import checks
from langgraph_sessions.database.running import Running
from langgraph_sessions.errors import SessionNotFoundError, described
from langgraph_sessions.log import logger
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Call, Plan, T
from langgraph_sessions.runs.thread_ids import ThreadIdFactory
from langgraph_sessions.runs.turns import Turns
from langgraph_sessions.sessions import operations, reading, upkeep, within
from langgraph_sessions.sessions.cache import SessionCache
from langgraph_sessions.sessions.exclusive import Turn
from langgraph_sessions.sessions.export import Export
from langgraph_sessions.sessions.retention import Purge
from langgraph_sessions.sessions.strict import StrictSerializer
from langgraph_sessions.sql.sessions import ReleaseTitle
from langgraph_sessions.titles.by_model import Titler
from langgraph_sessions.titles.clear import may_title

Progress = Callable[[Mapping[str, int]], object]


class BaseManager:
    """The part of a session manager that does no I/O.

    Attributes:
        agent: The agent whose sessions it makes, finds and lists; `None`: whichever agent's.
        thread_id_factory: Makes the thread ids of new sessions.
        cache: Sessions that were read or written lately.
        auto_title: Whether what is adopted is titled by its messages; `None`: unless the serializer
            encrypts.
        default_title: What a session without a title is called.
    """

    _database: Running[Any, Any]
    _home: str | None = None  # The saver whose manager it is, if it was not built alone.
    _hold: within.Hold = staticmethod(Turns.hold)

    def __init__(
        self,
        serde: SerializerProtocol | None,
        thread_id_factory: ThreadIdFactory,
        cache_size: int,
        cache_ttl: float,
        agent: str | None = None,
        auto_title: bool | None = None,
        default_title: str = DEFAULT_TITLE,
    ) -> None:
        """Check the arguments that are not the database's."""
        self.agent = checks.agent(agent)
        self.auto_title = checks.optional_boolean("auto_title", auto_title)
        self.default_title = checks.title(default_title, "default_title")
        checks.function("thread_id_factory", thread_id_factory)
        self.thread_id_factory = thread_id_factory
        self._serde = maybe_add_typed_methods(checks.serde(serde) or StrictSerializer())
        self.cache = SessionCache(cache_size, cache_ttl)

    def __repr__(self) -> str:
        """Say which database it is on, without a password."""
        return f"<{type(self).__name__} on {self._database.where}>"

    def _listed(self, agent: object) -> str | None:
        """Return the agent whose sessions are listed where *agent* is asked for.

        Raises:
            ValueError: It is another than the manager's own, which finds its own alone.
        """
        asked = checks.agent(agent)
        if self.agent is not None and asked not in (None, self.agent):
            raise ValueError(f"agent must be {self.agent!r}, as this manager's is, not {asked!r}")
        return asked or self.agent

    def _create(
        self, user_id: object, title: object, thread_id: object, metadata: object
    ) -> Plan[Session]:
        """Make a session."""
        factory, default_title = self.thread_id_factory, self.default_title
        plan = operations.create(
            user_id, title, thread_id, metadata, factory, self.agent, default_title
        )
        return self.cache.writing(self._left(plan, user_id))

    def _get_or_create(self, user_id: object, title: object) -> Plan[Session]:
        """Return the current session, else make one."""
        factory, default_title = self.thread_id_factory, self.default_title
        plan = operations.get_or_create(user_id, title, factory, self.agent, default_title)
        return self.cache.writing(self._left(plan, user_id))

    def _update(self, user_id: object, updates: object, thread_id: object) -> Plan[Session]:
        """Change a session."""
        plan = operations.update(user_id, updates, thread_id, self.agent)
        return self.cache.writing(self._made(plan, user_id, thread_id))

    def _switch(self, user_id: object, thread_id: object) -> Plan[Session]:
        """Make a session current."""
        plan = operations.switch(user_id, thread_id, self.agent)
        return self.cache.writing(self._left(plan, user_id))

    def _deactivate(self, user_id: object, thread_id: object) -> Plan[int]:
        """Deactivate a session, or all of the user's."""
        plan = operations.deactivate(user_id, thread_id, self.agent)
        made = self._made(plan, user_id, thread_id)
        return self.cache.forgetting(made, checks.user_id(user_id))

    def _made(self, plan: Plan[T], user_id: object, thread_id: object = None) -> Plan[T]:
        """Do *plan*, in a node whose run is yet to make the session after making that."""
        thread = None if thread_id is None else checks.thread_id(thread_id)
        return within.made(plan, checks.user_id(user_id), thread, self._home, self._hold)

    def _left(self, plan: Plan[Session], user_id: object) -> Plan[Session]:
        """Do *plan*, as `_made`, by which a session becomes current, in a node for good."""
        return within.left(plan, checks.user_id(user_id), self._home, self._hold)

    def _turn(self, user_id: object, thread_id: object, timeout: object) -> Turn:
        """Return a wait for a session's lock."""
        factory, default_title = self.thread_id_factory, self.default_title
        return Turn(user_id, thread_id, timeout, factory, self.agent, default_title)

    def _reading(
        self, plan: Plan[Session], user_id: object, thread_id: object = None
    ) -> Plan[Session]:
        """Read a session by *plan*, or from the cache."""
        user, durable = checks.user_id(user_id), self._database.durable
        thread = None if thread_id is None else checks.thread_id(thread_id)
        return self.cache.reading(plan, user, thread, durable=durable)

    def _messages(self, thread_id: str) -> Plan[list[BaseMessage]]:
        """Return what was said in a thread."""
        return reading.messages(thread_id, self._serde)

    def _export(self, user_id: str) -> Plan[None]:
        """Give everything of a user as records."""
        return Export(user_id, self._serde, self._messages).plan()

    def _purge(self, purge: Purge, on_progress: Progress | None) -> Plan[dict[str, int]]:
        """Purge batch by batch."""
        while (yield from purge.batch()):
            self.cache.clear()
            yield from _told(on_progress, purge.counts)
        return purge.counts

    def _adopt(self, user_id: object, thread_id: str, title: str | None) -> Plan[Session]:
        """Make a session for a thread that may be adopted."""
        said = None
        if title is None and may_title(self.auto_title, self._serde):
            said = yield from reading.title(thread_id, self._serde)
        plan = upkeep.adopt(user_id, thread_id, title, said, self.agent, self.default_title)
        return (yield from self.cache.writing(plan))

    def _adopt_checked(
        self, user_id: object, thread_id: object, title: str | None
    ) -> Plan[Session]:
        """Make a session for a thread, unless it is another's; return the user's own."""
        theirs = yield from upkeep.may_adopt(user_id, thread_id, title, self.agent)
        return theirs or (yield from self._adopt(user_id, checks.thread_id(thread_id), title))

    def _backfill(
        self, walk: upkeep.Backfill, on_progress: Progress | None
    ) -> Plan[dict[str, int]]:
        """Adopt batch by batch."""
        while (threads := (yield from walk.batch())) is not None:
            for owner, thread_id in threads:
                yield from self._adopt_found(walk, owner, thread_id)
            yield from _told(on_progress, walk.counts)
        return walk.counts

    def _adopt_found(self, walk: upkeep.Backfill, owner: str, thread_id: str) -> Plan[None]:
        try:
            yield from self._adopt(owner, thread_id, None)
        except (SessionNotFoundError, psycopg.DataError) as error:
            # Deleted since, or another's session; or an id too long for a session.
            logger.warning(
                "a thread was not adopted: %s", described(error), extra={"thread_id": thread_id}
            )
            walk.counts["skipped"] += 1
        else:
            walk.counts["adopted"] += 1

    def _call_titler(self, ask: Callable[..., Any], titler: Titler, thread_id: str) -> Plan[None]:
        """Title a session by what *ask* gets from *titler*, if nobody did before."""
        thread_id = checks.thread_id(thread_id)
        if not (yield from operations.claim_title(thread_id, self.agent)):
            return
        try:
            messages = yield from self._messages(thread_id)
            title = yield Call(ask, (titler, messages))
            session = yield from operations.set_title(thread_id, title)
        except Exception:
            yield ReleaseTitle(thread_id)
            raise
        if session is not None:
            self.cache.forget_user(session.user_id)


def _told(on_progress: Progress | None, counts: Mapping[str, int]) -> Iterator[Any]:
    """Call *on_progress*, which may take long, while no connection is held."""
    if on_progress is not None:
        yield Call(on_progress, (dict(counts),))
