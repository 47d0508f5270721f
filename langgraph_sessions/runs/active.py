"""A run on its session, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Composite
from langgraph_sessions.runs.claim import Claim
from langgraph_sessions.runs.request import (
    IDENTITIES,
    INSTRUCTIONS,
    INSTRUCTIONS_SET,
    AuthorizedThreadId,
    Request,
)
from langgraph_sessions.runs.surroundings import (
    PROGRESS_KEY,
    RUN_KEY,
    RUNTIME_KEY,
    TASK_KEY,
    Position,
    Progress,
    Run,
    pin_run,
    progress_of,
    run_of,
    surroundings,
)
from langgraph_sessions.runs.turns import Turns
from langgraph_sessions.runs.words import Words
from langgraph_sessions.sql.rows import is_whole
from langgraph_sessions.sql.saving import GuardThread, PutSession

IDLE: Final = "idle"


@dataclass(slots=True, eq=False, weakref_slot=True)
class ActiveRun(Run):
    """A run on its session: settled when the run starts, shared by all its saves.

    Attributes:
        session: The session as of the run's start; one that the run makes has the id 0.
        user_id: The run's user.
        thread_id: The thread to which it saves, from its start to its end.
        agent: The agent of its session; `None` for none.
        title: The title to give at the first save.
        is_active: What to set at the first save; `None` leaves it alone.
        makes_current: Whether the session becomes current by the first save; not by a job's.
        known: Whether the session's row exists, as far as this run knows.
        saved: Whether this run has saved a checkpoint.
        made: Whether a node had its session made, or made current, before.
        unsaved: What it wrote before its session was made: it is saved with that.
        words: The run's words for the session's title.
        claim: What it knows of the session's other runs.
        status: What the session waits for, as far as this run knows.
        asked_on: The root checkpoint on which it last asked, or failed.
        is_stopped: Whether somebody stopped it.
        task: The asyncio task that began it, if one did.
        turns: Lets its saves go one at a time.
        progress: How far its own graph has come, not one that is called inside it; `None` for what
            is no run.
        around: Where it was called inside another run; `None` for a run by itself.
        instructed: What a graph inside it said of the session since the last save.
        default_title: What its session is called if the run makes it, and nothing titles it.
        home: Which saver, or copy of it, began it: another one may have another database.
    """

    session: Session
    user_id: str = field(init=False, repr=False)
    thread_id: str = field(init=False, repr=False)
    agent: str | None = field(init=False, repr=False)
    title: str | None = field(repr=False)  # A config, with its run, may be logged.
    is_active: bool | None
    known: bool
    claim: Claim
    makes_current: bool = True
    saved: bool = False
    made: bool = False
    unsaved: list[Composite] = field(default_factory=list)
    status: str = IDLE
    asked_on: str | None = None
    is_stopped: bool = False
    task: Callable[[], asyncio.Task[Any] | None] | None = None
    words: Words = field(default_factory=Words)
    turns: Turns = field(default_factory=Turns)
    progress: Progress | None = None
    around: Position | None = None
    instructed: Request | None = None
    default_title: str = DEFAULT_TITLE
    home: str = ""

    @classmethod
    def start(cls, request: Request, session: Session, *, known: bool) -> ActiveRun:
        """Begin a run of *request* on *session*, which is a draft unless it is *known*."""
        makes_current = request.makes_current
        # Whether to activate is settled here: a deactivation that comes later stands.
        activates = not session.is_active and (makes_current or request.is_active)
        return cls(
            session=session,
            title=request.title,
            is_active=False if request.is_active is False else activates or None,
            known=known,
            claim=Claim(session.thread_id),
            makes_current=makes_current,
            default_title=request.default_title,
        )

    def __post_init__(self) -> None:
        """Say what each save asks for."""
        session = self.session
        self.user_id, self.thread_id, self.agent = session.user_id, session.thread_id, session.agent

    @property
    def is_named(self) -> bool:
        """Whether its saves have names: not those of an application's update, which is no run."""
        return bool(self.claim.token)

    @property
    def is_untitled(self) -> bool:
        """Whether its session is to be titled, and somebody has said what after."""
        return self.words.untitled and self.words.title is not None

    def heed(self, request: Request) -> None:
        """Have the save that is about to be made carry out what a graph inside the run instructs.

        Not before: a save that is under way would be taken for the one that did.
        """
        if self.saved:  # Its own instructions were carried out.
            self.title = self.is_active = None
        self.title = request.title or self.title
        self.is_active = self.is_active if request.is_active is None else request.is_active
        self.makes_current = self.makes_current or bool(request.make_current)
        self.saved, self.instructed = False, None

    def put(self, name: str | None, *, first: bool, **save: Any) -> PutSession:
        """Return the statement that saves the session beside the *save* called *name*.

        One without a name neither notices other runs nor is noticed by them. The *first* one
        carries out the run's instructions.
        """
        claim = self.claim
        return PutSession(
            user_id=self.user_id,
            thread_id=self.thread_id,
            agent=self.agent,
            known=self.known or self.made,
            checked=claim.checked and name is not None,
            save=name,
            seen=claim.seen,
            base=None if claim.addressed else claim.base,
            first=first,
            title=self.title,
            message_title=self.words.title,
            default_title=None if self.known else self.default_title,
            is_active=self.is_active,
            make_current=None if self.makes_current else False,
            **save,
        )

    def guard(self, name: str | None, *, named: bool = True) -> GuardThread:
        """Return the statement that guards the save called *name* and leaves the session alone.

        Without *named* the save notices other runs, and is not noticed by them.
        """
        return GuardThread(
            user_id=self.user_id,
            thread_id=self.thread_id,
            checked=self.claim.checked,
            save=name,
            named=named,
        )

    def note_saved(self, row: Mapping[str, Any]) -> None:
        """Note a save that touched the session: its *row*, or what alone of that has changed."""
        self.known = True
        self.unsaved.clear()
        self.status = row["status"]
        if is_whole(row):
            self.words.note(row["title_source"], row["titler_tries"])


def active_run(config: RunnableConfig) -> ActiveRun | None:
    """Return the run under way that *config* is part of, on the thread that it names.

    That is the run in the config, unless it has left the config behind: then the config was
    kept. For a graph called inside a run it is that run, or one around it, if it is on its
    thread.
    """
    configurable = config.get("configurable") or {}
    own = configurable.get(RUN_KEY)
    if isinstance(own, ActiveRun) and TASK_KEY not in configurable:
        # A root graph's own config is of no task that could be over, and as a rule it is pinned.
        user_id, thread_id = configurable.get("user_id"), configurable.get("thread_id")
        pinned = thread_id is own.thread_id and user_id is own.user_id
        if pinned or _is_on(own, configurable):
            return own
    around = surroundings(configurable)
    position = Position.of(around) if around else None
    while position is not None and isinstance(run := position.run, ActiveRun):
        if _is_on(run, configurable):
            return None if position.is_past else run
        position = run.around
    return None


def _is_on(run: ActiveRun, configurable: Mapping[str, Any]) -> bool:
    """Say whether *configurable* names the run's thread, and user; what it leaves out is theirs."""
    user_id, thread_id = configurable.get("user_id"), configurable.get("thread_id")
    return (user_id is None or user_id == run.user_id or str(user_id) == run.user_id) and (
        thread_id is None or thread_id == run.thread_id or str(thread_id) == run.thread_id
    )


def get_session(config: RunnableConfig) -> Session:
    """Return the session of the run that a node or tool is part of.

    It is as of the run's start: title, metadata, and `preferences`. No database is asked. A
    session that the run is about to create has the id 0 until its first save.

    Args:
        config: The config that LangGraph gives a node or tool.

    Raises:
        SessionNotFoundError: The run has no `user_id`.
        TypeError: *config* is no config.
    """
    if not isinstance(config, Mapping):
        raise TypeError(
            f"config must be the config that LangGraph gives a node, not {type(config).__name__}"
        )
    configurable = config.get("configurable") or {}
    run = run_of(configurable)
    if not isinstance(run, ActiveRun) or not _is_on(run, configurable):
        raise SessionNotFoundError(None, configurable.get("thread_id"))
    return run.session


def pin(config: RunnableConfig, run: ActiveRun) -> RunnableConfig:
    """Return *config* settled on the run's thread, with its instructions taken out.

    A run's own configurable is changed in place, which is how its nodes, its subgraphs and
    its later saves come to see the thread; any other is copied.
    """
    configurable = config["configurable"]
    if _is_pinned(configurable, run):
        return config
    if RUNTIME_KEY not in configurable:
        configurable = dict(configurable)
    for key in INSTRUCTIONS:
        configurable.pop(key, None)
    configurable["user_id"], configurable["thread_id"] = run.user_id, run.thread_id
    if configurable.get(RUN_KEY) is not run or progress_of(configurable) is None:
        # A graph inside the run, at the root of its thread, has a progress of its own.
        progress = progress_of(configurable) if run_of(configurable) is run else None
        pin_run(configurable, run, progress or Progress())
    pinned = config.copy()
    pinned["configurable"] = configurable
    return pinned


def _is_pinned(configurable: Mapping[str, Any], run: ActiveRun) -> bool:
    """Say whether nothing in *configurable* is to be changed for the *run*."""
    return (
        configurable.get(RUN_KEY) is run
        and configurable.get("thread_id") is run.thread_id
        and configurable.get("user_id") is run.user_id
        and isinstance(configurable.get(PROGRESS_KEY), Progress)
        and INSTRUCTIONS_SET.isdisjoint(configurable)
    )


def for_storage(config: RunnableConfig, run: ActiveRun) -> RunnableConfig:
    """Return *config* as the parent should store it: pinned, instructions in no metadata."""
    given, metadata = config["configurable"], config.get("metadata")
    stored = config
    if not _is_pinned(given, run):
        stored = pin({**config, "configurable": dict(given)}, run)
    if metadata:
        kept = {
            key: value
            for key, value in metadata.items()
            if key not in IDENTITIES and not (key in INSTRUCTIONS and given.get(key) == value)
        }
        stored = {**stored, "metadata": kept}
    return stored


def owned(found: CheckpointTuple, run: ActiveRun, *, goes_on: bool = False) -> CheckpointTuple:
    """Return *found* with the user in its configs, so that they can be used to run again.

    The configs of a run that *goes_on* from it always name the user beside the thread.
    """
    user_id, thread_id = run.user_id, run.thread_id
    if not goes_on:
        thread_id = AuthorizedThreadId(thread_id, user_id)

    def with_user(config: RunnableConfig) -> RunnableConfig:
        configurable = config["configurable"]
        return {"configurable": {**configurable, "user_id": user_id, "thread_id": thread_id}}

    parent = found.parent_config
    return found._replace(
        config=with_user(found.config), parent_config=with_user(parent) if parent else None
    )
