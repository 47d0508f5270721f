"""Ids, cursors, namespaces and filters of any type and length: an error of ours, or an answer."""

from __future__ import annotations

import enum
import math
import traceback
import uuid
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_sessions import AgentSessionManager, AsyncAgentSessionManager, SessionError
from tests.support import Chat


class Name(enum.StrEnum):
    """A name that is no plain text."""

    ALICE = "alice"


class Sly(str):
    """Text that lies about itself."""

    def __len__(self) -> int:
        """Claim to be short."""
        return 1

    def strip(self, *_: object) -> str:
        """Claim to hold something."""
        return "x"


ODD: dict[str, Any] = {
    "a huge number": 10**5000,
    "a negative one": -5,
    "bytes": b"x",
    "a fraction": 1.5,
    "no number": math.nan,
    "an enum": Name.ALICE,
    "sly": Sly(""),
    "a list": ["a"],
    "a dict": {"a": 1},
    "none": None,
    "NUL": "a\0b",
    "a surrogate": "a\ud800",
    "10 MB": "x" * 10_000_000,
    "long": "é" * 5000,
    "empty": "",
    "blank": "  ",
    "true": True,
    "an object": object(),
    "a UUID": uuid.uuid4(),
    "a class": str,
}
KEYS = ("user_id", "thread_id", "checkpoint_ns", "checkpoint_id", "title", "new_session")
PLAIN = {"thread_id": "plain", "checkpoint_ns": ""}
HERS = {**PLAIN, "thread_id": "hers", "user_id": "alice"}

# Methods of the saver, with what takes the place of the odd value `ODD` in the arguments.
HOLE = object()
METADATA = {"source": "loop", "step": 0, "parents": {}}


def _of_configs() -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    for base in (HERS, PLAIN):
        for key in KEYS:
            given = {"configurable": {**base, key: HOLE}}
            written = {"configurable": {"checkpoint_id": "c", **given["configurable"]}}
            calls += [
                ("get_tuple", (given,), {}),
                ("list", (given,), {}),
                ("list", ({"configurable": base},), {"before": given}),
                ("get_delta_channel_history", (), {"config": given, "channels": ["x"]}),
                ("put", (given, empty_checkpoint(), METADATA, {}), {}),
                ("put_writes", (written, [("a", 1)], "task"), {}),
            ]
    hers = {"configurable": {**HERS, "checkpoint_id": "c"}}
    return [
        *calls,
        ("get_tuple", (HOLE,), {}),
        ("get_tuple", ({"configurable": HOLE},), {}),
        ("list", (hers,), {"limit": HOLE}),
        ("list", (hers,), {"filter": HOLE}),
        ("list", (hers,), {"filter": {"source": HOLE}}),
        ("list", (hers,), {"before": HOLE}),
        ("put_writes", (hers, [("a", 1)], HOLE), {}),
    ]


OF_SAVERS = [
    *_of_configs(),
    ("delete_thread", (HOLE,), {}),
    ("prune", (HOLE,), {}),
    ("prune", ([HOLE],), {}),
    ("prune", ([HOLE],), {"strategy": "delete"}),
    ("prune", (["t"],), {"strategy": HOLE}),
    ("copy_thread", (HOLE, "copy"), {}),
    ("copy_thread", ("nothing", HOLE), {}),
    ("delete_for_runs", (HOLE,), {}),
    ("delete_for_runs", ([HOLE],), {}),
]
OF_MANAGERS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *(
        (name, (HOLE,), {})
        for name in (
            "create_user_session",
            "get_or_create_user_session",
            "get_current_user_session",
            "run_config",
            "deactivate_session",
            "has_session",
            "list_active_sessions",
            "list_sessions",
            "count_sessions",
            "delete_user",
            "get_preferences",
        )
    ),
    *(
        (name, place, {})
        for place in ((HOLE, "hers"), ("alice", HOLE))
        for name in (
            "get_session",
            "switch_session",
            "delete_session",
            "fork_session",
            "adopt_session",
        )
    ),
    *(
        ("create_user_session", ("alice",), {key: HOLE})
        for key in ("title", "thread_id", "metadata")
    ),
    *(
        ("list_sessions", ("alice",), {key: HOLE})
        for key in (
            "active",
            "title",
            "metadata",
            "status",
            "agent",
            "updated_after",
            "limit",
            "cursor",
        )
    ),
    *(("run_config", ("alice",), {key: HOLE}) for key in ("thread_id", "new_session", "title")),
    ("fork_session", ("alice", "hers"), {"checkpoint_id": HOLE}),
    ("update_session", ("alice", HOLE), {}),
    ("update_session", ("alice", {"metadata": {"a": HOLE}}), {"thread_id": "hers"}),
    ("update_session", ("alice", {"title": HOLE}), {"thread_id": "hers"}),
    ("update_preferences", ("alice", {"a": HOLE}), {}),
    ("update_preferences", (HOLE, {}), {}),
    ("purge_sessions", (), {"idle_for": HOLE, "active": True, "dry_run": True}),
    ("purge_sessions", (), {"active": True, "dry_run": True, "batch_size": HOLE}),
    ("backfill", (), {"batch_size": HOLE}),
    ("call_titler", (HOLE, "hers"), {}),
    ("call_titler", (lambda messages: "x", HOLE), {}),
]


def filled(given: Any, odd: object) -> Any:
    """Return *given* with *odd* in place of the hole."""
    if given is HOLE:
        return odd
    if isinstance(given, dict):
        return {key: filled(value, odd) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(filled(value, odd) for value in given)
    return given


def _told(error: BaseException) -> str:
    """Return what is wrong with *error*: nothing if it is ours, and short."""
    if isinstance(error, KeyError) and error.args == ("thread_id",):
        return ""  # The parent's.
    if not isinstance(error, ValueError | TypeError | SessionError):
        return f"{type(error).__name__}: {str(error)[:100]}"
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if "langgraph_sessions" not in last or len(str(error)) > 400:
        return f"{type(error).__name__} from {last}, {len(str(error))} characters"
    return ""


async def wrongs(call: Any, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> list[str]:
    """Return the calls that an odd value broke, and how."""
    found = []
    for method, args, kwargs in calls:
        for name, odd in ODD.items():
            try:
                await call(method, *filled(args, odd), **filled(kwargs, odd))
            except Exception as error:
                if wrong := _told(error):
                    found.append(f"{method} with {name}: {wrong}")
    return found


async def test_a_saver_names_what_is_wrong(chat: Chat) -> None:
    """No odd id, namespace, filter or config ends in an error of the database, or in a crash."""
    await chat.session("create_user_session", "alice", thread_id="hers")

    async def call(method: str, *args: Any, **kwargs: Any) -> Any:
        return await chat.call(chat.saver, method, *args, **kwargs)

    assert await wrongs(call, OF_SAVERS) == []


async def test_a_manager_names_what_is_wrong(chat: Chat) -> None:
    """No odd argument ends in an error of the database, or in a crash."""
    await chat.session("create_user_session", "alice", thread_id="hers")
    assert await wrongs(chat.session, OF_MANAGERS) == []


async def test_a_key_that_no_index_holds_is_a_value_error(chat: Chat) -> None:
    """A thread id that PostgreSQL cannot index, of nobody's, is said to be too long."""
    words = "".join(str(uuid.uuid4()) for _ in range(100))
    given = {"configurable": {**PLAIN, "thread_id": words}}
    with pytest.raises(ValueError, match=r"thread_id.* too long"):
        await chat.call(chat.saver, "put", given, empty_checkpoint(), METADATA, {})


async def test_nothing_of_it_was_written(chat: Chat, db: psycopg.Connection[Any]) -> None:
    """What is refused leaves no row."""
    for thread_id in (ODD["10 MB"], ODD["NUL"], ODD["a surrogate"]):
        given = {"configurable": {**PLAIN, "thread_id": thread_id}}
        with pytest.raises(ValueError, match="thread_id"):
            await chat.call(chat.saver, "put", given, empty_checkpoint(), METADATA, {})
    assert db.execute("SELECT FROM checkpoints").fetchall() == []


@pytest.mark.parametrize("kind", [AgentSessionManager, AsyncAgentSessionManager])
async def test_iterators_refuse_wrong_arguments_before_the_first_step(kind: Any) -> None:
    """A web service that streams them can still answer with an error, and no database is asked."""
    manager = kind("postgresql://127.0.0.1:1/none")
    for method in (manager.iter_sessions, manager.export_user):
        with pytest.raises(TypeError, match="user_id must be"):
            method(None)
    with pytest.raises(ValueError, match="status must be"):
        manager.iter_sessions(status="asleep")
    closed = manager.close()
    if closed is not None:
        await closed
