"""The requests in runs' configurables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from langgraph_sessions import checks
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.runs.addresses import configurable_of
from langgraph_sessions.runs.surroundings import Run, run_of, surroundings

INSTRUCTIONS: Final = ("title", "new_session", "is_active", "make_current")
INSTRUCTIONS_SET: Final = frozenset(INSTRUCTIONS)
AUTH_USER_ID: Final = "langgraph_auth_user_id"
AUTH_USER: Final = "langgraph_auth_user"
# What LangGraph copies into a checkpoint's metadata, and says there whose it is. A client can set a
# config's metadata: there, they say nothing.
IDENTITIES: Final = ("user_id", AUTH_USER_ID)


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


@dataclass(slots=True)  # Never changed; to freeze one takes as long as all else of it.
class Request:
    """The request in a configurable, checked.

    Attributes:
        user_id: Who asks; `None` for a plain LangGraph thread.
        agent: The agent whose session it must be, and a new one is; `None` for any.
        default_title: What a new session is called until it is titled.
        thread_id: The thread asked for; `None` for the user's current session.
        checkpoint_ns: A subgraph's namespace; `""` for the root graph.
        checkpoint_id: A certain checkpoint; `None` for the newest.
        new_session: Whether to start a new session.
        title: The title to give.
        is_active: Whether to activate or deactivate the session; `None` for neither.
        make_current: `False` for a job's run, by which the session does not become current;
            `None`: not given.
        trusted: Whether the thread was named alone, and its owner, if there is one, asks.
        inside: Whether a graph that is called inside a run asks.
    """

    user_id: str | None
    thread_id: str | None
    checkpoint_ns: str
    checkpoint_id: str | None
    new_session: bool
    title: str | None = field(repr=False)  # Somebody's words.
    is_active: bool | None
    make_current: bool | None = None
    trusted: bool = False
    inside: bool = False
    agent: str | None = None
    default_title: str = DEFAULT_TITLE

    @classmethod
    def of(
        cls,
        config: RunnableConfig,
        *,
        agent: str | None = None,
        default_title: str = DEFAULT_TITLE,
        trusts: bool = False,
        requires: bool = False,
    ) -> Request:
        """Read *config*.

        Args:
            config: What LangGraph was given.
            agent: The agent that asks, which no config says; `None` for any. A graph on the thread
                of the run inside which it is called is part of that, and of its agent.
            default_title: What a new session is called, which no config says either.
            trusts: Whether a `thread_id` alone stands for its owner.
            requires: Whether it must name a user, or such a thread.

        Raises:
            TypeError: A key has the wrong type, or `user_id` is `None`.
            ValueError: A key is blank, too long or not text; a session key has no `user_id`;
                `new_session` is given with `thread_id`; there is no user, and one is required.
            SessionNotFoundError: `user_id` is not who the server says is signed in.
        """
        configurable = configurable_of(config)
        around = surroundings(configurable)
        run = run_of(around)
        user_id, thread_id = _named(configurable, around, run)
        if run is not None and str(thread_id) == run.thread_id:
            agent = run.agent
        trusted = trusts and user_id is None and thread_id is not None
        if user_id is None and requires and not trusted:
            raise no_user(config)
        if user_id is None and thread_id is None and "thread_id" not in configurable:
            raise _no_thread(configurable)
        namespace = configurable.get("checkpoint_ns")
        checkpoint_ns = "" if namespace is None else checks.unicode("checkpoint_ns", namespace)
        if user_id is None and checkpoint_ns and isinstance(thread_id, AuthorizedThreadId):
            user_id = thread_id.user_id
        if (user_id is not None or trusted) and thread_id is not None:
            thread_id = checks.thread_id(_as_given(config, thread_id))
        elif user_id is None:
            thread_id = checks.plain_thread_id(thread_id)
        request = cls(
            user_id=user_id,
            thread_id=thread_id,
            checkpoint_ns=checkpoint_ns,
            checkpoint_id=checkpoint_of(configurable),
            new_session=_optional(checks.boolean, "new_session", configurable) or False,
            title=_optional(lambda _, value: checks.title(value), "title", configurable),
            is_active=_optional(checks.boolean, "is_active", configurable),
            make_current=_optional(checks.boolean, "make_current", configurable),
            trusted=trusted and user_id is None,
            inside=bool(around),
            agent=agent,
            default_title=default_title,
        )
        if request.new_session and thread_id is not None:
            raise ValueError("new_session=True starts a thread of its own: give no thread_id")
        return request

    @property
    def instructs(self) -> bool:
        """Whether it says something about the session itself."""
        return (self.title, self.is_active, self.make_current) != (None, None, None)

    @property
    def makes_current(self) -> bool:
        """Whether the session becomes current: not by a graph inside a run, unless it says so."""
        return not self.inside if self.make_current is None else self.make_current


def _named(
    configurable: Mapping[str, Any], around: Mapping[str, Any], run: Run | None
) -> tuple[str | None, Any]:
    """Return the user and the thread that are meant; what is left out is the run's around it.

    Raises as `Request.of`.
    """
    user_id = user_of(configurable)
    if user_id is None:
        user_id = run.user_id if run else user_of(around)
    if run is not None:
        _refuse_elsewhere(configurable, run, user_id)
    given = [key for key in INSTRUCTIONS if configurable.get(key) is not None]
    if user_id is None and given:
        raise ValueError(f"{given[0]} needs a user_id beside it in the configurable")
    thread_id = configurable.get("thread_id")
    return user_id, run.thread_id if thread_id is None and run is not None else thread_id


def instructs(config: RunnableConfig) -> bool:
    """Say whether *config* says something about the session itself."""
    configurable = config["configurable"]
    return not INSTRUCTIONS_SET.isdisjoint(configurable) and any(
        configurable.get(key) is not None for key in INSTRUCTIONS
    )


def user_of(configurable: Mapping[str, Any]) -> str | None:
    """Return whose run it is: the signed-in user, whom a client cannot choose, comes first."""
    if AUTH_USER_ID not in configurable and configurable.get(AUTH_USER) is None:
        return checks.user_id(configurable["user_id"]) if "user_id" in configurable else None
    named = {key: configurable[key] for key in (AUTH_USER_ID, "user_id") if key in configurable}
    if named.get(AUTH_USER_ID) == "":  # Nobody is signed in: a server without authentication.
        named = {key: value for key, value in named.items() if value != ""}
    if (identity := _identity(configurable.get(AUTH_USER))) not in (None, ""):
        named = {AUTH_USER: identity, **named}
    users = {key: checks.user_id(value, key) for key, value in named.items()}
    if len(set(users.values())) > 1:
        asked = users.get("user_id") or users[AUTH_USER_ID]
        raise SessionNotFoundError(asked, configurable.get("thread_id"))
    return next(iter(users.values()), None)


def _no_thread(configurable: Mapping[str, Any]) -> KeyError:
    """Return the parent's error, with the keys that were found: one of them may be misspelt."""
    error = KeyError("thread_id")
    found = _found(configurable)
    error.add_note(f"neither user_id nor thread_id is in the configurable, which has {found}")
    return error


def no_user(config: RunnableConfig) -> ValueError:
    """Return the error for a run without a user, where one is required."""
    found = _found(config["configurable"])
    return ValueError(f"a run needs a user_id (require_user=True); the configurable has {found}")


def _found(configurable: Mapping[str, Any]) -> list[str]:
    found = sorted(str(key) for key in configurable)
    return [key[:40] for key in found if not key.startswith("__")][:20]


def _identity(user: object) -> object:
    """Return the identity of the Agent Server's signed-in user, an object or a mapping."""
    if isinstance(user, Mapping):
        return user.get("identity")
    return getattr(user, "identity", None)


def _refuse_elsewhere(configurable: Mapping[str, Any], run: Run, user_id: str | None) -> None:
    """Refuse a graph that is called inside a *run* for another session, without its thread id.

    It is part of the run, then, and LangGraph mostly gives it the run's namespace, in which its
    checkpoints could not be found again.
    """
    if configurable.get("new_session"):
        raise ValueError(
            "new_session=True does not go with a graph called inside a run: for a session of its "
            "own, give it a thread_id that nothing has"
        )
    thread_id = configurable.get("thread_id") or run.thread_id
    inherits = run_of(configurable) is run and configurable.get("checkpoint_ns")
    if user_id != run.user_id and (inherits or thread_id == run.thread_id):
        raise ValueError(
            "this graph is called inside a run of another user's, and is part of it: "
            f"for user_id {user_id!r}, give it that and a thread_id, and nothing else of the run's"
        )


def checkpoint_of(configurable: Mapping[str, Any]) -> str | None:
    """Return the checkpoint that *configurable* names, if it does.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is over 255 characters, or no text.
    """
    checkpoint_id = configurable.get("checkpoint_id")
    return None if checkpoint_id in (None, "") else checks.text("checkpoint_id", checkpoint_id)


def named(config: RunnableConfig, thread_id: str | None) -> RunnableConfig:
    """Return *config* with its thread id as text, as LangGraph's own code takes it."""
    if isinstance(config["configurable"].get("thread_id"), str | None):
        return config
    return {**config, "configurable": {**config["configurable"], "thread_id": thread_id}}


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
