"""The session manager's methods: each row of the contract's table, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from langgraph_sessions import AgentSessionManager, SessionNotFoundError, SessionPage
from langgraph_sessions.models import SessionList
from langgraph_sessions.sessions.deletion import DeleteThreads
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.sessions.manager_reading import ManagerReading
from langgraph_sessions.sql.functions import IN_USE, NO_CHECKPOINT, NOT_FOUND
from langgraph_sessions.sql.listing import ACTIVE, FILTERS, CountSessions, ListSessions
from langgraph_sessions.sql.opening import FindNext, OpenCurrent, OpenReserved, OpenThread
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import (
    CreateGivenSession,
    CreateSession,
    DeactivateSessions,
    GetCurrent,
    GetSession,
    HasSession,
    SwitchSession,
    UpdateSession,
)
from langgraph_sessions.sql.upkeep import CopySession
from tests.plans import Answering, Refused, opened, session_row
from tests.sessions.methods import ASKS_FACTORY, HERS, ROW, SESSION, Method, call, case, uncovered
from tests.support import config

OPEN, GET = OpenCurrent(user_id="alice"), GetSession("alice", "t")
RESERVE = OpenReserved(user_id="alice", thread_id="new")
HERS_ACTIVE = ([FILTERS["user_id"], ACTIVE[True]], {"user_id": "alice"})
MADE: dict[str, Any] = {"user_id": "alice", "thread_id": "new"}
UNTITLED: dict[str, Any] = {"title": "New Chat", "title_source": "default"}
TITLED: dict[str, Any] = {"title": "Trip", "title_source": "user"}
PUT_TITLED = PutSession(**MADE, title="Trip", default_title="New Chat")
CHANGES: dict[str, Any] = {"title": "Trip", "is_active": False, "metadata": {"a": 1}}
FORK = CopySession(source="t", target="new", user_id="alice", checkpoint_id="c", title="Fork")
TAKEN = opened(session_row("bob", "new"))


# --- What each method does ----------------------------------------------------------------------

DOES = [
    case(
        "create_user_session: a new session",
        lambda sessions: sessions.create_user_session("alice"),
        ["new", [ROW]],
        [ASKS_FACTORY, CreateSession(**MADE, **UNTITLED)],
    ),
    case(
        "create_user_session: on a thread id that was chosen",
        lambda sessions: sessions.create_user_session(
            "alice", "Trip", thread_id="new", metadata={"a": 1}
        ),
        [[ROW]],
        [CreateGivenSession(**MADE, **TITLED, metadata={"a": 1})],
    ),
    case(
        "get_or_create_user_session: the current session",
        lambda sessions: sessions.get_or_create_user_session("alice"),
        [[opened(ROW)]],
        [OPEN],
    ),
    case(
        "get_or_create_user_session: else a new one, which a run at this moment finds, too",
        lambda sessions: sessions.get_or_create_user_session("alice"),
        [[], "new", [opened(asked_thread_id="new")], [ROW]],
        [OPEN, ASKS_FACTORY, RESERVE, PutSession(**MADE, default_title="New Chat")],
    ),
    case(
        "get_or_create_user_session: else a new one with its title",
        lambda sessions: sessions.get_or_create_user_session("alice", "Trip"),
        [[], "new", [opened(asked_thread_id="new")], [ROW]],
        [OPEN, ASKS_FACTORY, RESERVE, PUT_TITLED],
    ),
    case(
        "get_current_user_session: the current session",
        lambda sessions: sessions.get_current_user_session("alice"),
        [[ROW]],
        [GetCurrent("alice")],
    ),
    case(
        "get_session: that session",
        lambda sessions: sessions.get_session("alice", "t"),
        [[ROW]],
        [GET],
    ),
    case(
        "run_config: the current session, with what the run is to do",
        lambda sessions: sessions.run_config("alice", title="Trip", make_current=False),
        ["new", [opened(ROW)]],
        [ASKS_FACTORY, FindNext(**MADE)],
        config(user_id="alice", thread_id="t", title="Trip", make_current=False),
    ),
    case(
        "run_config: else a new one, whose id nothing sets aside",
        lambda sessions: sessions.run_config("alice"),
        ["new", [opened(asked_thread_id="new")]],
        [ASKS_FACTORY, FindNext(**MADE)],
        config(user_id="alice", thread_id="new"),
    ),
    case(
        "run_config: a new session",
        lambda sessions: sessions.run_config("alice", new_session=True),
        ["new", [opened(asked_thread_id="new")]],
        [ASKS_FACTORY, OpenThread(**MADE)],
        config(user_id="alice", thread_id="new"),
    ),
    case(
        "run_config: a certain session",
        lambda sessions: sessions.run_config("alice", thread_id="t"),
        [[opened(ROW)]],
        [OpenThread(user_id="alice", thread_id="t")],
        config(user_id="alice", thread_id="t"),
    ),
    case(
        "update_session: sets title and is_active, merges metadata, of the current session",
        lambda sessions: sessions.update_session("alice", CHANGES),
        [[ROW]],
        [UpdateSession(user_id="alice", **CHANGES, removed=[])],
    ),
    case(
        "update_session: of a certain session, and nothing else",
        lambda sessions: sessions.update_session("alice", {}, thread_id="t"),
        [[ROW]],
        [UpdateSession(user_id="alice", thread_id="t")],
    ),
    case(
        "switch_session: makes it current",
        lambda sessions: sessions.switch_session("alice", "t"),
        [[ROW]],
        [SwitchSession("alice", "t")],
    ),
    case(
        "deactivate_session: that session",
        lambda sessions: sessions.deactivate_session("alice", thread_id="t"),
        [[{"count": 1}]],
        [DeactivateSessions("alice", "t")],
        1,
    ),
    case(
        "deactivate_session: all of the user's",
        lambda sessions: sessions.deactivate_session("alice"),
        [[{"count": 2}]],
        [DeactivateSessions("alice", None)],
        2,
    ),
    case(
        "has_session: an active one",
        lambda sessions: sessions.has_session("alice"),
        [[{"count": 1}]],
        [HasSession("alice")],
        True,
    ),
    case(
        "list_active_sessions: the user's",
        lambda sessions: sessions.list_active_sessions("alice"),
        [[ROW]],
        [ListSessions(*HERS_ACTIVE)],
        [SESSION],
    ),
    case(
        "list_active_sessions: everybody's",
        lambda sessions: sessions.list_active_sessions(),
        [[ROW]],
        [ListSessions([ACTIVE[True]])],
        [SESSION],
    ),
    case(
        "list_sessions: 20, and whether there are more",
        lambda sessions: sessions.list_sessions("alice"),
        [[ROW]],
        [ListSessions(*HERS, 21)],
        SessionPage((SESSION,)),
    ),
    case(
        "list_sessions: everybody's, with where the next page begins",
        lambda sessions: sessions.list_sessions(limit=1),
        [[ROW, session_row(id=2)]],
        [ListSessions([], {}, 2)],
        SessionPage((SESSION,), Listing().cursor_after(SESSION)),
    ),
    case(
        "count_sessions: how many",
        lambda sessions: sessions.count_sessions("alice", active=True),
        [[{"count": 3}]],
        [CountSessions(*HERS_ACTIVE)],
        3,
    ),
    case(
        "fork_session: a new session with the conversation up to that checkpoint",
        lambda sessions: sessions.fork_session("alice", "t", checkpoint_id="c", title="Fork"),
        ["new", [ROW]],
        [ASKS_FACTORY, FORK],
    ),
    case(
        "delete_session: the session and its thread",
        lambda sessions: sessions.delete_session("alice", "t"),
        [1],
        [DeleteThreads(["t"], "alice")],
        None,
    ),
]


@pytest.mark.parametrize(("method", "answers", "asked", "result"), DOES)
def test_what_a_method_does(
    method: Method, answers: list[Any], asked: list[Any], result: Any
) -> None:
    """It asks this, in this order, and returns what the answers say."""
    assert call(method, *answers) == (result, asked)


def test_every_method_of_a_users_sessions_has_its_case() -> None:
    """Of those without a plan of their own, `exclusive` and the cache's have tests elsewhere.

    So have those that read conversations, and all pages of a list, with theirs.
    """
    elsewhere = {"close", "exclusive", "clear_memory_cache", "get_session_count"}
    assert uncovered(DOES, AgentSessionManager) == elsewhere
    reading = {"get_messages", "list_checkpoints", "iter_sessions"}
    assert uncovered(DOES, ManagerReading) == reading


def test_the_memory_cache_is_counted_and_emptied() -> None:
    """It holds what was read; after that, nothing."""
    sessions = AgentSessionManager(Answering([ROW]))
    assert (sessions.get_session("alice", "t"), sessions.get_session_count()) == (SESSION, 1)
    sessions.clear_memory_cache()
    assert sessions.get_session_count() == 0


# --- When there is none -------------------------------------------------------------------------

NOT_FOUND_BY = [
    pytest.param(
        lambda sessions: sessions.get_current_user_session("alice"), [], None, id="get_current"
    ),
    pytest.param(lambda sessions: sessions.get_session("alice", "t"), [], "t", id="get_session"),
    pytest.param(
        lambda sessions: sessions.run_config("alice", thread_id="new"), [TAKEN], "new", id="config"
    ),
    pytest.param(
        lambda sessions: sessions.update_session("alice", {"title": "T"}), [], None, id="update"
    ),
    pytest.param(
        lambda sessions: sessions.update_session("alice", {"title": "T"}, thread_id="t"),
        [],
        "t",
        id="update_session, of a certain one",
    ),
    pytest.param(lambda sessions: sessions.switch_session("alice", "t"), [], "t", id="switch"),
    pytest.param(lambda sessions: sessions.delete_session("alice", "t"), 0, "t", id="delete"),
]


@pytest.mark.parametrize(("method", "answer", "thread_id"), NOT_FOUND_BY)
def test_without_a_session_it_is_not_found(
    method: Method, answer: Any, thread_id: str | None
) -> None:
    """There is no such session for that user: the error says who asked for what."""
    with pytest.raises(SessionNotFoundError) as caught:
        call(method, answer)
    assert (caught.value.user_id, caught.value.thread_id) == ("alice", thread_id)


NOTHING = [
    pytest.param(
        lambda sessions: sessions.deactivate_session("alice"), [{"count": 0}], 0, id="deactivate"
    ),
    pytest.param(lambda sessions: sessions.has_session("alice"), [{"count": 0}], False, id="has"),
    pytest.param(
        lambda sessions: sessions.list_active_sessions("alice"), [], SessionList(), id="active"
    ),
    pytest.param(lambda sessions: sessions.list_sessions(), [], SessionPage(()), id="list"),
    pytest.param(lambda sessions: sessions.count_sessions(), [{"count": 0}], 0, id="count"),
]


@pytest.mark.parametrize(("method", "answer", "result"), NOTHING)
def test_without_sessions_there_is_nothing(method: Method, answer: Any, result: Any) -> None:
    """Counts are 0, lists and pages empty; it is no error."""
    found, _ = call(method, answer)
    assert (found, type(found)) == (result, type(result))


# --- When it cannot be ----------------------------------------------------------------------------

IN_THE_WAY = [
    pytest.param(
        lambda sessions: sessions.create_user_session("alice", thread_id="mine"),
        [[]],
        "thread_id, 'mine', is in use",
        id="create_user_session, a chosen id",
    ),
    pytest.param(
        lambda sessions: sessions.fork_session("alice", "t", checkpoint_id="c"),
        ["new", Refused(NO_CHECKPOINT)],
        "checkpoint_id 'c' is not in the session",
        id="fork_session, another's checkpoint",
    ),
]


@pytest.mark.parametrize(("method", "answers", "told"), IN_THE_WAY)
def test_what_is_in_the_way_is_named(method: Method, answers: list[Any], told: str) -> None:
    """A thread id in use, and a checkpoint that is not there, are a `ValueError` by name."""
    with pytest.raises(ValueError, match=told):
        call(method, *answers)


IN_USE_BY_OTHERS = [
    pytest.param(
        lambda sessions: sessions.create_user_session("alice"), ["new", [], [ROW]], id="create"
    ),
    pytest.param(
        lambda sessions: sessions.get_or_create_user_session("alice"),
        [[], "new", [TAKEN], [TAKEN], [opened(asked_thread_id="other")], [ROW]],
        id="get or create",
    ),
    pytest.param(
        lambda sessions: sessions.fork_session("alice", "t"),
        ["new", Refused(IN_USE), [ROW]],
        id="fork",
    ),
]


@pytest.mark.parametrize(("method", "answers"), IN_USE_BY_OTHERS)
def test_where_an_id_of_the_factorys_is_in_use_the_default_one_is_asked_for(
    method: Method, answers: list[Any]
) -> None:
    """Who guesses what a factory makes, and takes it, locks nobody out."""
    found, asked = call(method, *answers)
    assert found == SESSION
    ids = [getattr(step, "target", getattr(step, "thread_id", None)) for step in asked]
    last = len(ids) - 1 - ids[::-1].index("new")
    assert ids[last + 1].startswith("alice_")


def test_what_is_not_the_users_cannot_be_forked() -> None:
    """The copy is refused by the database, where the source is not the user's."""
    with pytest.raises(SessionNotFoundError) as caught:
        call(lambda sessions: sessions.fork_session("alice", "t"), "new", Refused(NOT_FOUND))
    assert (caught.value.user_id, caught.value.thread_id) == ("alice", "t")


def test_another_error_of_the_databases_is_raised_as_it_is() -> None:
    """What is none of ours is psycopg's."""
    refused = Refused("53100")
    with pytest.raises(Refused) as caught:
        call(lambda sessions: sessions.fork_session("alice", "t"), "new", refused)
    assert caught.value is refused
