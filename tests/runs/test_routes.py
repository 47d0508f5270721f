"""Where a run goes, as plans: each row of the contract's table, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from langgraph_sessions import SessionNotFoundError
from langgraph_sessions.plans import Call
from langgraph_sessions.runs import thread_ids
from langgraph_sessions.runs.opening import find_thread, open_run
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import new_thread_id
from langgraph_sessions.sql.opening import (
    FindCurrent,
    OpenCurrent,
    OpenNew,
    OpenNobodys,
    OpenReserved,
    OpenThread,
)
from tests.plans import Played, left_behind, opened, play, session_row
from tests.support import config


def factory(user_id: str) -> str:
    """Stand for `thread_id_factory`: what it returns is an answer of each case."""
    raise AssertionError


def run(given: dict[str, Any], *answers: Any) -> Played:
    """Play the plan by which a run with this configurable is opened."""
    return play(open_run(Request.of(config(**given)), factory, None), *answers)


ASKS_FACTORY = Call(new_thread_id, (factory, "alice"))
RANDOM = "alice_random"


@pytest.fixture(autouse=True)
def _not_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the default thread id be a known one."""
    monkeypatch.setattr(thread_ids, "default_thread_id", lambda user_id: f"{user_id}_random")


CURRENT = OpenCurrent(user_id="alice")
HERS = {"user_id": "alice"}
THREAD = {"user_id": "alice", "thread_id": "t"}


CLOSED = opened(session_row(thread_id="a", is_active=False))


def thread(user_id: str | None = "alice") -> OpenThread | OpenNobodys:
    if user_id is None:
        return OpenNobodys(thread_id="t")
    return OpenThread(user_id=user_id, thread_id="t")


def reserved(thread_id: str, taken: str | None = None) -> OpenReserved:
    return OpenReserved(user_id="alice", thread_id=thread_id, taken=taken)


# --- The user's run goes to a session ---------------------------------------------------------

# Of each row: what is given, the answers, what was asked, the thread, whether the session exists.
TO_A_SESSION = [
    pytest.param(
        HERS,
        [[opened(session_row(thread_id="current"))]],
        [CURRENT],
        ("current", True),
        id="`user_id` | the user's current session",
    ),
    pytest.param(
        HERS,
        [[], "new", [opened(asked_thread_id="new")]],
        [CURRENT, ASKS_FACTORY, reserved("new")],
        ("new", False),
        id="`user_id`, and there is no current session | one is created",
    ),
    pytest.param(
        HERS,
        [[], "second", [opened(asked_thread_id="first")]],
        [CURRENT, ASKS_FACTORY, reserved("second")],
        ("first", False),
        id="two first runs at the same moment, neither of which saved | one session",
    ),
    pytest.param(
        HERS,
        [[], "second", [opened(session_row(thread_id="first"))]],
        [CURRENT, ASKS_FACTORY, reserved("second")],
        ("first", True),
        id="two first runs at the same moment, of which one saved | one session",
    ),
    pytest.param(
        HERS,
        [[], "a", [opened(session_row("bob", "r"))], [opened(asked_thread_id="a")]],
        [CURRENT, ASKS_FACTORY, reserved("a"), reserved("a", taken="r")],
        ("a", False),
        id="`user_id`, and somebody else took the reserved id | another is created",
    ),
    pytest.param(
        HERS,
        [
            [],
            "a",
            [opened(session_row("bob", "r"))],
            [opened(session_row("bob", "a"))],
            [opened(asked_thread_id=RANDOM)],
        ],
        [
            CURRENT,
            ASKS_FACTORY,
            reserved("a"),
            reserved("a", taken="r"),
            reserved(RANDOM, taken="a"),
        ],
        (RANDOM, False),
        id="`user_id`, and somebody else took the factory's id, too | another is created",
    ),
    pytest.param(
        HERS,
        [[], "a", [CLOSED], [opened(asked_thread_id="a")]],
        [CURRENT, ASKS_FACTORY, reserved("a"), reserved("a", taken=CLOSED["asked_thread_id"])],
        ("a", False),
        id="`user_id`, and the reserved one was deactivated meanwhile | another is created",
    ),
    pytest.param(
        {**HERS, "new_session": True},
        ["new", [opened(asked_thread_id="new")]],
        [ASKS_FACTORY, OpenNew(user_id="alice", thread_id="new")],
        ("new", False),
        id="`user_id`, `new_session=True` | a new session",
    ),
    pytest.param(
        {**HERS, "new_session": False},
        [[opened(session_row(thread_id="current"))]],
        [CURRENT],
        ("current", True),
        id="`user_id`, `new_session=False` | the user's current session",
    ),
    pytest.param(
        THREAD,
        [[opened(session_row())]],
        [thread()],
        ("t", True),
        id="`user_id`, `thread_id` of the user's own session | that session",
    ),
    pytest.param(
        THREAD,
        [[opened(asked_thread_id="t")]],
        [thread()],
        ("t", False),
        id="`user_id`, `thread_id` that nothing has | a new session with that thread id",
    ),
    pytest.param(
        THREAD,
        [[left_behind("t", "alice")]],
        [thread()],
        ("t", False),
        id="checkpoints but no session, the newest names the same user | adopted",
    ),
]


@pytest.mark.parametrize(("given", "answers", "asks", "goes"), TO_A_SESSION)
def test_a_users_run_goes_to_a_session(
    given: dict[str, Any], answers: list[Any], asks: list[Any], goes: tuple[str, bool]
) -> None:
    """What is asked, in this order and nothing else, leads to that thread, and the run is hers."""
    played = run(given, *answers)
    assert played.error is None
    found = played.result.run
    assert played.asked == asks
    assert (found.user_id, found.thread_id, found.known) == ("alice", *goes)


# --- Or to none -------------------------------------------------------------------------------

NOT_FOUND = [
    pytest.param(
        THREAD,
        opened(session_row("bob")),
        id="`user_id`, `thread_id` of another user's session",
    ),
    pytest.param(
        THREAD,
        left_behind("t", "bob"),
        id="checkpoints but no session, the newest names another user",
    ),
    pytest.param(
        THREAD, left_behind("t", None), id="checkpoints but no session, the newest names nobody"
    ),
    pytest.param(
        {"thread_id": "t"}, opened(session_row("bob")), id="`thread_id` alone, owned by a user"
    ),
    pytest.param(
        {"thread_id": "t"},
        left_behind("t", "bob"),
        id="`thread_id` alone, whose checkpoints name a user",
    ),
]


@pytest.mark.parametrize(("given", "row"), NOT_FOUND)
def test_what_is_not_the_users_looks_like_none(given: dict[str, Any], row: dict[str, Any]) -> None:
    """One question is asked, and the error says who asked for which thread, not whose it is."""
    played = run(given, [row])
    user_id = given.get("user_id")
    assert played.asked == [thread(user_id)]
    assert isinstance(played.error, SessionNotFoundError)
    assert (played.error.user_id, played.error.thread_id) == (user_id, "t")
    assert "bob" not in str(played.error)


def test_a_thread_of_nobody_is_what_the_plain_saver_makes_of_it() -> None:
    """`thread_id` alone, owned by nobody: there is no run of anybody's, and so no session."""
    row = opened(asked_thread_id="t")
    played = run({"thread_id": "t"}, [row])
    assert played.asked == [thread(None)]
    assert played.result == (None, row)


IN_USE = [
    pytest.param(opened(session_row("bob", "taken")), id="another user's session"),
    pytest.param(opened(session_row(thread_id="taken")), id="the user's own session"),
    pytest.param(left_behind("taken", None), id="a plain thread"),
]


@pytest.mark.parametrize("taken", IN_USE)
def test_where_an_id_of_the_factorys_is_in_use_the_default_one_is_used(
    taken: dict[str, Any],
) -> None:
    """A new session is never one that exists, whoever has it; nobody is locked out by a guess."""
    new = [opened(asked_thread_id=RANDOM)]
    played = run({**HERS, "new_session": True}, "taken", [taken], new)
    ids = ("taken", RANDOM)
    assert played.asked == [
        ASKS_FACTORY,
        *(OpenNew(user_id="alice", thread_id=each) for each in ids),
    ]
    assert (played.result.run.thread_id, played.result.run.known) == (RANDOM, False)


@pytest.mark.parametrize("given", [HERS, {**HERS, "new_session": True}], ids=["first", "new"])
def test_what_the_factory_raises_is_the_runs_error(given: dict[str, Any]) -> None:
    """An error of the caller's own function passes, and nothing is opened."""
    error = LookupError("no such tenant")
    answers = [error] if "new_session" in given else [[], error]
    played = run(given, *answers)
    assert played.error is error
    assert played.asked[-1] == ASKS_FACTORY


# --- Who only reads ---------------------------------------------------------------------------


def read(given: dict[str, Any], *answers: Any) -> Played:
    return play(find_thread(Request.of(config(**given))), *answers)


def test_reading_finds_the_current_session_and_makes_none() -> None:
    """`user_id` alone reads the current session; where there is none, nothing is reserved."""
    find = FindCurrent(user_id="alice")
    found = read(HERS, [opened(session_row(thread_id="current"))])
    assert (found.asked, found.result.thread_id) == ([find], "current")
    none = read(HERS, [])
    assert none.asked == [find]
    assert isinstance(none.error, SessionNotFoundError)
    assert (none.error.user_id, none.error.thread_id) == ("alice", None)


@pytest.mark.parametrize(("given", "row"), NOT_FOUND)
def test_reading_is_refused_where_a_run_is(given: dict[str, Any], row: dict[str, Any]) -> None:
    """Nobody reads what they may not go on with."""
    played = read(given, [row])
    assert isinstance(played.error, SessionNotFoundError)


def test_a_checkpoint_and_a_namespace_are_asked_for_where_the_run_goes() -> None:
    """What the configurable says of them is in the one question that opens the thread."""
    place = {"checkpoint_ns": "sub", "checkpoint_id": "c"}
    played = run({**THREAD, **place}, [opened(session_row())])
    assert played.asked == [OpenThread(user_id="alice", thread_id="t", **place)]
    played = run({**HERS, **place}, [opened(session_row())])
    assert played.asked == [OpenCurrent(user_id="alice", **place)]
