"""What a run knows of its session, from its start to its end."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_sessions.errors import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.runs.request import (
    INSTRUCTIONS,
    RUN_KEY,
    RUNTIME_KEY,
    AuthorizedThreadId,
    Request,
)


@dataclass(slots=True, eq=False)
class ActiveRun:
    """A run on its session: settled when the run starts, shared by all its saves.

    Attributes:
        user_id: Whose run it is.
        thread_id: Where it goes, to the end.
        session: The session as of the run's start; one that the run makes has the id 0.
        title: The title to give at the first save.
        is_active: What to set at the first save; `None` leaves it alone.
        known: Whether the session's row exists, as far as this run knows.
        saved: Whether this run has saved anything.
        advanced: Whether its tasks are those of a checkpoint of its own.
        untitled: Whether a title from a message is still wanted.
        message_title: That title, once seen.
        unasked: Whether a titler may yet be called for the session.
        answered: The checkpoint from which a model's answer can be read, once that is saved.
        checked: Whether it is an error when another run saves to the thread meanwhile.
        overtaken: Whether one did.
        token: What its saves are named by; `""` for what is saved outside a run.
        seen: The name of the session's last save that it knows of.
        base: The root checkpoint that it goes on from, the newest that it knows of; `""` for
            none, `None` for what is saved outside a run.
        addressed: Whether that was asked for, and may be an older one.
    """

    user_id: str
    thread_id: str
    session: Session
    title: str | None
    is_active: bool | None
    known: bool
    saved: bool = False
    advanced: bool = False
    untitled: bool = True
    message_title: str | None = None
    unasked: bool = True
    answered: str | None = None
    checked: bool = False
    overtaken: bool = False
    token: str = ""
    seen: str | None = None
    base: str | None = None
    addressed: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, request: Request, session: Session, *, known: bool) -> ActiveRun:
        """Begin a run of *request* on *session*, which is a draft unless it is *known*."""
        # Whether to activate is settled here: a deactivation that comes later stands.
        activate = None if session.is_active else True
        return cls(
            user_id=session.user_id,
            thread_id=session.thread_id,
            session=session,
            title=request.title,
            is_active=False if request.is_active is False else activate,
            known=known,
        )

    def put_params(self, name: str | None, checkpoint_id: str | None = None) -> dict[str, Any]:
        """Return the parameters of `PUT_SESSION` for the save of that *name*."""
        return {
            **self.guard_params(name),
            "first": not self.saved,
            "title": self.title,
            "message_title": self.message_title,
            "is_active": self.is_active,
            "own": checkpoint_id,
            "at": None,
        }

    def guard_params(self, name: str | None) -> dict[str, Any]:
        """Return the parameters of `GUARD_THREAD` for the save of that *name*.

        One without a name neither notices other runs nor is noticed by them. `start` is where
        to fork the thread if another process went on with it during an outage.
        """
        return {
            "user_id": self.user_id,
            "thread_id": self.thread_id,
            "known": self.known,
            "checked": self.checked,
            "save": name,
            "seen": self.seen,
            "base": None if self.addressed else self.base,
            "start": self.base,
        }

    def starts_at(self, checkpoint_id: str, *, addressed: bool, checked: bool) -> None:
        """Name the run's saves from now on, so that other runs notice them.

        Args:
            checkpoint_id: The checkpoint from which the run starts; `""` for none.
            addressed: Whether it was asked for; else it is the newest.
            checked: Whether this run is to notice others.
        """
        self.token = secrets.token_hex(8)
        self.checked = checked
        self.base = checkpoint_id
        self.addressed = addressed

    def next_name(self) -> str | None:
        """Return the name of the run's next save; `None` for what is saved outside a run."""
        return f"{self.token}.{next(self._numbers)}" if self.token else None

    def saving(self, checkpoint_id: str) -> None:
        """Take note of a root checkpoint of the run's, before it is saved.

        Raises:
            ConcurrentRunError: It is older than what the run started from, so that nobody
                would ever see it: another machine's clock is ahead of this one's.
        """
        if not self.checked:
            return
        self.refuse_if_overtaken()
        if self.base is not None and checkpoint_id < self.base:
            raise ConcurrentRunError(self.thread_id)

    def refuse_if_overtaken(self) -> None:
        """Raise `ConcurrentRunError` if that was raised before: the run is over."""
        if self.overtaken:
            raise ConcurrentRunError(self.thread_id)

    def note_saved(self, row: Mapping[str, Any]) -> Session:
        """Take note of a save that put *row*, and return its session."""
        self.saved = self.known = True
        self.untitled = row["title_source"] == "default"
        self.unasked = not row["titler_called"] and row["title_source"] != "user"
        return Session.from_row(row)


def active_run(config: RunnableConfig) -> ActiveRun | None:
    """Return the run that *config* is part of, if it is one on the thread it names."""
    configurable = config.get("configurable") or {}
    run = configurable.get(RUN_KEY)
    if isinstance(run, ActiveRun) and (run.user_id, run.thread_id) == (
        configurable.get("user_id"),
        configurable.get("thread_id"),
    ):
        return run
    return None


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
    run = active_run(config)
    if run is None:
        raise SessionNotFoundError(None, (config.get("configurable") or {}).get("thread_id"))
    return run.session


def pin(config: RunnableConfig, run: ActiveRun) -> RunnableConfig:
    """Return *config* settled on the run's thread, with its instructions taken out.

    A run's own configurable is changed in place, which is how its nodes, its subgraphs and
    its later saves come to see the thread; any other is copied.
    """
    configurable = config["configurable"]
    if RUNTIME_KEY not in configurable:
        configurable = dict(configurable)
    for key in INSTRUCTIONS:
        configurable.pop(key, None)
    configurable.update({"user_id": run.user_id, "thread_id": run.thread_id, RUN_KEY: run})
    return cast(RunnableConfig, {**config, "configurable": configurable})


def for_storage(config: RunnableConfig, run: ActiveRun) -> RunnableConfig:
    """Return *config* as the parent should store it: pinned, instructions in no metadata."""
    stored = pin({**config, "configurable": dict(config["configurable"])}, run)
    metadata = config.get("metadata")
    if metadata:
        given = config["configurable"]
        stored["metadata"] = {
            key: value
            for key, value in metadata.items()
            if key != "user_id" and not (key in INSTRUCTIONS and given.get(key) == value)
        }
    return stored


def owned(found: CheckpointTuple, user_id: str) -> CheckpointTuple:
    """Return *found* with the user in its configs, so that they can be used to run again."""

    def with_user(config: RunnableConfig) -> RunnableConfig:
        configurable = config["configurable"]
        thread_id = AuthorizedThreadId(configurable["thread_id"], user_id)
        return {"configurable": {**configurable, "user_id": user_id, "thread_id": thread_id}}

    parent = found.parent_config
    return found._replace(
        config=with_user(found.config), parent_config=with_user(parent) if parent else None
    )
