"""What `help()` says of the classes that users call: arguments, and every error."""

from __future__ import annotations

import inspect
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    SessionSaver,
)

CLASSES = [AgentSessionManager, AsyncAgentSessionManager, SessionSaver, AsyncSessionSaver]
# What asks nobody.
RAISES_NOTHING = {"clear_memory_cache", "get_session_count"}
# Their async twins wait for those, and refuse another event loop.
SYNC_CLOSE = "close"


# What a saver answers for callers of the other kind, through its methods for its own.
FOR_OTHERS = {
    SessionSaver: r"a(get|put|list|prune|copy|delete)",
    AsyncSessionSaver: r"(get|put|list|prune|copy|delete)",
}


def documented(cls: type) -> dict[str, Any]:
    """Return a class's methods by name: those for its own kind of caller, sync or async."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("langgraph_sessions")]
    named = {name for base in ours for name in vars(base) if not name.startswith("_")}
    others = FOR_OTHERS.get(cls, "$")
    found = {name: getattr(cls, name) for name in sorted({*named, "__init__"})}
    return {
        name: inspect.unwrap(method)
        for name, method in found.items()
        if inspect.isroutine(method) and not re.match(others, name)
    }


METHODS = [
    pytest.param(cls, name, method, id=f"{cls.__name__}.{name}")
    for cls in CLASSES
    for name, method in documented(cls).items()
]


def section(method: Any, title: str) -> dict[str, str]:
    """Return a section of a docstring: what is said, by the name of which it is said."""
    doc = inspect.getdoc(method) or ""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n(?=    ))*)", f"{doc}\n", re.M)
    entries = re.findall(r"^    (\S.*?): ((?:.+|\n {8})+)", found[1] if found else "", re.M)
    return {name: text for names, text in entries for name in names.split(", ")}


def arguments(method: Any) -> list[str]:
    return [name for name in inspect.signature(method).parameters if name not in ("self", "cls")]


@pytest.mark.parametrize(("cls", "name", "method"), METHODS)
def test_every_argument_is_documented(cls: type, name: str, method: Any) -> None:
    """Each argument stands in the docstring's Args, in the signature's order, and no other."""
    assert [*section(method, "Args")] == arguments(method)


@pytest.mark.parametrize(("cls", "name", "method"), METHODS)
def test_every_method_says_what_it_raises(cls: type, name: str, method: Any) -> None:
    """Whatever asks the database, or checks an argument, has Raises; none points elsewhere."""
    raises = section(method, "Raises")
    assert "Async version" not in method.__doc__
    if name in RAISES_NOTHING or (name == SYNC_CLOSE and not inspect.iscoroutinefunction(method)):
        return
    assert raises
    if name not in ("__init__", "close", "from_conn_string"):
        assert "psycopg.Error" in raises


ASYNC_WORDS = [
    ("an `async with` block", "a `with` block"),
    ("async with saver", "with saver"),
    ("await graph.ainvoke", "graph.invoke"),
    ("first step", "first `next`"),
    ("raised by the first `next`, not", "raised by `next`, not"),
    ("; what is awaitable is awaited", ""),
    ("`aget_tuple`", "`get_tuple`"),
    ("An `AsyncConnection` or `AsyncConnectionPool`", "A `Connection` or `ConnectionPool`"),
    ("`AsyncSessionSaver`", "`SessionSaver`"),
]


@pytest.mark.parametrize(
    ("cls", "twin"),
    [(AgentSessionManager, AsyncAgentSessionManager), (SessionSaver, AsyncSessionSaver)],
)
def test_twins_say_the_same(cls: type, twin: type) -> None:
    """An async method's docstring is its sync twin's, but for what asyncio changes."""
    docs = documented(twin)
    for name, method in documented(cls).items():
        if name == "close":  # Titlers are threads, which run on, or tasks, which can be cancelled.
            continue
        said = inspect.getdoc(docs.get(name) or docs[f"a{name}"]) or ""
        for ours, theirs in ASYNC_WORDS:
            said = said.replace(ours, theirs)
        said = re.sub(r"\n    RuntimeError: .*$", "", said)
        assert said.split() == (inspect.getdoc(method) or "").split(), name


# --- What they say is so ---------------------------------------------------------------------

VALID: dict[str, Any] = {
    "user_id": "alice",
    "thread_id": "t",
    "from_user": "alice",
    "to_user": "bob",
    "updates": {"title": "x"},
    "changes": {"a": 1},
    "titler": lambda messages: "x",
    "idle_for": timedelta(days=1),
}


@pytest.fixture
def manager() -> Iterator[AgentSessionManager]:
    """A manager of a database that is not there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"postgresql://127.0.0.1:{bound.getsockname()[1]}/app"
        manager = AgentSessionManager(url, on_outage="raise", retry_for=0)
        yield manager
        manager.close()


def call(manager: AgentSessionManager, name: str, values: dict[str, Any]) -> None:
    """Call a method to its end."""
    done = getattr(manager, name)(**values)
    if hasattr(done, "__enter__"):
        done.__enter__()
    elif isinstance(done, Iterator):
        next(done)


ASKING = [
    name
    for name in documented(AgentSessionManager)
    if name not in RAISES_NOTHING | {"__init__", "close"}
]


@pytest.mark.server
@pytest.mark.parametrize("name", ASKING)
def test_what_is_raised_is_documented(name: str, manager: AgentSessionManager) -> None:
    """For each argument of a wrong kind, and for a database that is away, the error is named."""
    method = getattr(AgentSessionManager, name)
    known = section(method, "Raises")
    good = {argument: VALID[argument] for argument in arguments(method) if argument in VALID}
    for bad in [None, *arguments(method)]:
        values = {**good, **({bad: object()} if bad else {})}
        with pytest.raises(Exception) as raised:  # noqa: PT011 (which, is the question)
            call(manager, name, values)
        kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(raised.value).__mro__}
        names = {
            kind.removeprefix("builtins.").removeprefix("langgraph_sessions.errors.")
            for kind in kinds
        }
        assert names & known.keys(), f"{bad}: {raised.value!r}"
        assert bad is None or isinstance(raised.value, TypeError | ValueError), bad
