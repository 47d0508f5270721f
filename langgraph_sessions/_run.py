"""What a run's configurable asks for, and what a run knows of its session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from langgraph_sessions import _arguments
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session

INSTRUCTIONS: Final = ("title", "new_session", "is_active")
AUTH_USER_ID: Final = "langgraph_auth_user_id"
# LangGraph keeps keys with this prefix out of stream events, and those that begin with two
# underscores out of checkpoint metadata. Subgraphs inherit it with the rest.
RUN_KEY: Final = "__pregel_langgraph_sessions_run"
# LangGraph puts its runtime into the configurable of runs only, and that one is the run's
# own copy: a configurable without it may be the caller's own dict.
RUNTIME_KEY: Final = "__pregel_runtime"


class AuthorizedThreadId(str):
    """The thread id of a checkpoint that its owner has read.

    `get_state(subgraphs=True)` asks for subgraphs by the thread id of the checkpoint it got
    and a namespace, without the user. This says whose it is, in this process only, and
    only for a subgraph's namespace: by itself, a thread id opens nothing.
    """

    user_id: str

    def __new__(cls, thread_id: str, user_id: str) -> AuthorizedThreadId:
        """Remember *user_id* with *thread_id*."""
        self = super().__new__(cls, thread_id)
        self.user_id = user_id
        return self

    def __str__(self) -> str:
        """Return itself: LangGraph makes a `str` of thread ids on its way to the saver."""
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Copy and pickle as a plain `str`."""
        return str, ("".join(self),)


@dataclass(frozen=True, slots=True)
class Request:
    """What a configurable asks for, checked.

    Attributes:
        user_id: Who asks; `None` for a plain LangGraph thread.
        thread_id: The thread asked for; `None` for the user's current session.
        checkpoint_ns: A subgraph's namespace; `""` for the root graph.
        checkpoint_id: A certain checkpoint; `None` for the newest.
        new_session: Whether to start a new session.
        title: The title to give.
        is_active: Whether to activate or deactivate the session; `None` for neither.
    """

    user_id: str | None
    thread_id: str | None
    checkpoint_ns: str
    checkpoint_id: str | None
    new_session: bool
    title: str | None
    is_active: bool | None

    @classmethod
    def of(cls, config: RunnableConfig) -> Request:
        """Read *config*.

        Raises:
            TypeError: A key has the wrong type, or `user_id` is `None`.
            ValueError: A key is blank, too long or not text; a session key has no `user_id`;
                `new_session` is given with `thread_id`.
            SessionNotFoundError: `user_id` is not who the server says is signed in.
        """
        configurable = config["configurable"]
        checkpoint_ns = configurable.get("checkpoint_ns") or ""
        user_id = _user_id(configurable)
        _refuse_inside(configurable, user_id)
        given = [key for key in INSTRUCTIONS if configurable.get(key) is not None]
        if user_id is None and given:
            raise ValueError(f"{given[0]} needs a user_id beside it in the configurable")
        # Without a user it is as in the parent, to the KeyError.
        thread_id = configurable.get("thread_id") if user_id else configurable["thread_id"]
        if user_id is None and checkpoint_ns and isinstance(thread_id, AuthorizedThreadId):
            user_id = thread_id.user_id
        if user_id is not None and thread_id is not None:
            thread_id = _arguments.text("thread_id", _as_given(config, thread_id))
        request = cls(
            user_id=user_id,
            thread_id=thread_id,
            checkpoint_ns=checkpoint_ns,
            checkpoint_id=_checkpoint_id(configurable, user_id),
            new_session=_optional(_arguments.boolean, "new_session", configurable) or False,
            title=_optional(lambda _, value: _arguments.title(value), "title", configurable),
            is_active=_optional(_arguments.boolean, "is_active", configurable),
        )
        if request.new_session and thread_id is not None:
            raise ValueError("new_session=True starts a thread of its own: give no thread_id")
        return request

    @property
    def instructs(self) -> bool:
        """Whether it says something about the session itself."""
        return self.title is not None or self.is_active is not None


def _user_id(configurable: Mapping[str, Any]) -> str | None:
    """Return whose run it is: the signed-in user, whom a client cannot choose, comes first."""
    given = {
        key: _arguments.user_id(configurable[key], key)
        for key in (AUTH_USER_ID, "user_id")
        if key in configurable
    }
    if len(set(given.values())) > 1:
        raise SessionNotFoundError(given["user_id"], configurable.get("thread_id"))
    return next(iter(given.values()), None)


def _refuse_inside(configurable: Mapping[str, Any], user_id: str | None) -> None:
    """Refuse a graph that a node calls as part of its own run, but for another session.

    LangGraph gives it the run's namespace, so its checkpoints could not be found again. With
    a thread id of its own it is a run of its own.
    """
    run = configurable.get(RUN_KEY)
    if not isinstance(run, ActiveRun) or not configurable.get("checkpoint_ns"):
        return
    elsewhere = configurable.get("new_session") or configurable.get("thread_id") is None
    if elsewhere or user_id != run.user_id:
        raise ValueError(
            "this graph is called inside a run, whose thread_id it inherits: for new_session or "
            "another user_id, give it a thread_id of its own, such as "
            "saver.sessions.create_user_session(user_id).config"
        )


def _checkpoint_id(configurable: Mapping[str, Any], user_id: str | None) -> str | None:
    checkpoint_id = configurable.get("checkpoint_id") or None
    if checkpoint_id is None or user_id is None:
        return checkpoint_id
    return _arguments.text("checkpoint_id", checkpoint_id)


def _as_given(config: RunnableConfig, thread_id: object) -> object:
    """Return the thread id as the caller gave it.

    LangGraph makes a str of whatever it finds before it asks the saver, but keeps what it
    found in the metadata. That may also be an outer run's, or the caller's own.
    """
    original = (config.get("metadata") or {}).get("thread_id")
    return thread_id if isinstance(original, str) or str(original) != thread_id else original


def _optional(check: Any, key: str, configurable: Mapping[str, Any]) -> Any:
    value = configurable.get(key)
    return None if value is None else check(key, value)


@dataclass(slots=True)
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
        untitled: Whether a title from a message is still wanted.
        message_title: That title, once seen.
        unasked: Whether a titler may yet be called for the session.
        answered: The checkpoint from which a model's answer can be read, once that is saved.
    """

    user_id: str
    thread_id: str
    session: Session
    title: str | None
    is_active: bool | None
    known: bool
    saved: bool = False
    untitled: bool = True
    message_title: str | None = None
    unasked: bool = True
    answered: str | None = None

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

    def put_params(self) -> dict[str, Any]:
        """Return the parameters of `PUT_SESSION`."""
        return {
            **self.guard_params(),
            "first": not self.saved,
            "title": self.title,
            "message_title": self.message_title,
            "is_active": self.is_active,
        }

    def guard_params(self) -> dict[str, Any]:
        """Return the parameters of `GUARD_THREAD`."""
        return {"user_id": self.user_id, "thread_id": self.thread_id, "known": self.known}

    def has_saved(self, row: Mapping[str, Any]) -> Session:
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
    """
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
