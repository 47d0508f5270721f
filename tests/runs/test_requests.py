"""What a configurable may say: each key and type of the contract's table, without a database."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from langgraph_sessions import SessionNotFoundError
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import (
    AUTH_USER_ID,
    INSTRUCTIONS,
    AuthorizedThreadId,
    Request,
)
from langgraph_sessions.runs.surroundings import RUN_KEY
from tests.plans import session
from tests.support import config


def asked(**configurable: Any) -> Request:
    """Return what this configurable asks for."""
    return Request.of(config(**configurable))


class Name(str, Enum):  # noqa: UP042 - whose str() is its name
    """An id as an enumeration's member."""

    ALICE = "alice"


class Number(int, Enum):
    """The same of numbers."""

    SEVEN = 7


LONG = "x" * 255
A_UUID = UUID(int=7)

# --- What is allowed --------------------------------------------------------------------------

TAKEN: list[tuple[str, Any, Any]] = [
    ("user_id", "alice", "alice"),
    ("user_id", LONG, LONG),
    ("user_id", 7, "7"),
    ("user_id", 0, "0"),
    ("user_id", -7, "-7"),
    ("user_id", A_UUID, str(A_UUID)),
    ("user_id", Name.ALICE, "alice"),
    ("user_id", Number.SEVEN, "7"),
    ("thread_id", "t", "t"),
    ("thread_id", LONG, LONG),
    ("thread_id", Name.ALICE, "alice"),
    ("thread_id", 7, "7"),
    ("thread_id", 0, "0"),
    ("thread_id", A_UUID, str(A_UUID)),
    ("thread_id", Number.SEVEN, "7"),
    ("new_session", True, True),
    ("new_session", False, False),
    ("title", "Plan a trip", "Plan a trip"),
    ("title", LONG, LONG),
    ("is_active", True, True),
    ("is_active", False, False),
    ("make_current", True, True),
    ("make_current", False, False),
    ("checkpoint_id", "c", "c"),
    ("checkpoint_ns", "sub:1", "sub:1"),
]


@pytest.mark.parametrize(("key", "given", "taken"), TAKEN, ids=repr)
def test_a_value_of_its_type_is_taken(key: str, given: Any, taken: Any) -> None:
    """What the table allows is taken as it is, an id of another type as its text."""
    found = asdict(asked(**{"user_id": "u", key: given}))[key]
    assert (found, type(found)) == (taken, type(taken))


@pytest.mark.parametrize("key", ["thread_id", *INSTRUCTIONS])
def test_none_counts_as_not_given(key: str) -> None:
    """An optional key that is `None` is as one that is left out."""
    assert asked(user_id="u", **{key: None}) == asked(user_id="u")


@pytest.mark.parametrize("key", INSTRUCTIONS)
def test_none_needs_no_user_beside_it(key: str) -> None:
    """Nobody's run may leave an instruction empty."""
    assert asked(**{"thread_id": "t", key: None}) == asked(thread_id="t")


@pytest.mark.parametrize("key", ["checkpoint_ns", "checkpoint_id"])
@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_place_is_the_root_graphs_newest_checkpoint(key: str, empty: str | None) -> None:
    """LangGraph's own keys count as not given where they are `None` or empty."""
    assert asked(user_id="u", **{key: empty}) == asked(user_id="u")


def test_nothing_but_a_user_is_the_current_session_as_it_is() -> None:
    """A `user_id` alone asks for nothing else, and instructs nothing."""
    request = asked(user_id="u")
    assert request == Request("u", None, "", None, False, None, None)
    assert not request.instructs
    assert asked(user_id="u", title="T").instructs
    assert asked(user_id="u", is_active=False).instructs
    assert asked(user_id="u", make_current=False).instructs


# --- What is not ------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"user_id": None}, TypeError, "user_id"),
    ({"user_id": None, "thread_id": "t"}, TypeError, "user_id"),
    ({"user_id": True}, TypeError, "user_id"),
    ({"user_id": 1.5}, TypeError, "user_id"),
    ({"user_id": b"u"}, TypeError, "user_id"),
    ({"user_id": ["u"]}, TypeError, "user_id"),
    ({"user_id": {"u": 1}}, TypeError, "user_id"),
    ({"user_id": ""}, ValueError, "user_id"),
    ({"user_id": " \t\n"}, ValueError, "user_id"),
    ({"user_id": "u\0"}, ValueError, "user_id"),
    ({"user_id": "\ud800"}, ValueError, "user_id"),
    ({"user_id": LONG + "x"}, ValueError, "user_id"),
    ({"user_id": 10**255}, ValueError, "user_id"),
    ({AUTH_USER_ID: 1.5}, TypeError, AUTH_USER_ID),
    ({"user_id": "u", "thread_id": True}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": 1.5}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": ["t"]}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": b"t"}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": ""}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": "  "}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": "t\0"}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": LONG + "x"}, ValueError, "thread_id"),
    ({"user_id": "u", "checkpoint_id": 5}, TypeError, "checkpoint_id"),
    ({"user_id": "u", "new_session": "yes"}, TypeError, "new_session"),
    ({"user_id": "u", "new_session": 1}, TypeError, "new_session"),
    ({"user_id": "u", "is_active": 0}, TypeError, "is_active"),
    ({"user_id": "u", "is_active": "no"}, TypeError, "is_active"),
    ({"user_id": "u", "make_current": 0}, TypeError, "make_current"),
    ({"user_id": "u", "make_current": "no"}, TypeError, "make_current"),
    ({"thread_id": "t", "make_current": False}, ValueError, "make_current"),
    ({"user_id": "u", "title": 5}, TypeError, "title"),
    ({"user_id": "u", "title": ""}, ValueError, "title"),
    ({"user_id": "u", "title": "a\0b"}, ValueError, "title"),
    ({"user_id": "u", "title": LONG + "x"}, ValueError, "title"),
    ({"user_id": "u", "new_session": True, "thread_id": "t"}, ValueError, "new_session"),
    ({"thread_id": "t", "new_session": True}, ValueError, "new_session"),
    ({"thread_id": "t", "new_session": False}, ValueError, "new_session"),
    ({"thread_id": "t", "title": "T"}, ValueError, "title"),
    ({"thread_id": "t", "is_active": True}, ValueError, "is_active"),
    ({"thread_id": "t", "is_active": False}, ValueError, "is_active"),
    ({}, KeyError, "thread_id"),
]


@pytest.mark.parametrize(("given", "error", "named"), WRONG, ids=repr)
def test_a_wrong_key_is_named(given: dict[str, Any], error: type[Exception], named: str) -> None:
    """A key of the wrong type, or one that does not go with another, is refused by its name."""
    with pytest.raises(error, match=named):
        asked(**given)


def test_a_number_of_any_length_is_named() -> None:
    """Also one that Python itself does not make a str of."""
    with pytest.raises(ValueError, match="user_id must have at most 255 characters"):
        asked(user_id=10**4400)


# --- Who it is --------------------------------------------------------------------------------

SIGNED_IN: list[tuple[dict[str, Any], str | None]] = [
    ({AUTH_USER_ID: "alice"}, "alice"),
    ({AUTH_USER_ID: 7}, "7"),
    ({AUTH_USER_ID: "alice", "user_id": "alice"}, "alice"),
    ({AUTH_USER_ID: 7, "user_id": "7"}, "7"),
    ({"thread_id": "t"}, None),
]


@pytest.mark.parametrize(("given", "user_id"), SIGNED_IN, ids=repr)
def test_the_signed_in_user_stands_for_user_id(given: dict[str, Any], user_id: str | None) -> None:
    """What the server sets is the user; without either key, it is nobody's run."""
    assert asked(**given).user_id == user_id


def test_nobody_runs_as_somebody_else_than_who_is_signed_in() -> None:
    """Where the two differ, the run is refused, as for a session that there is not."""
    with pytest.raises(SessionNotFoundError) as caught:
        asked(**{AUTH_USER_ID: "alice", "user_id": "bob", "thread_id": "t"})
    assert (caught.value.user_id, caught.value.thread_id) == ("bob", "t")


def test_metadata_say_nobodys_identity() -> None:
    """A `user_id` in a config's metadata, which a client can set, is not who asks."""
    given = config(thread_id="t")
    given["metadata"] = {"user_id": "alice", AUTH_USER_ID: "alice"}
    assert Request.of(given).user_id is None


def test_the_owner_of_what_was_read_reads_its_subgraphs() -> None:
    """A thread id that its owner read says whose it is, for a subgraph's namespace alone."""
    hers = AuthorizedThreadId("t", "alice")
    assert asked(thread_id=hers, checkpoint_ns="sub:1").user_id == "alice"
    assert asked(thread_id=hers).user_id is None
    assert asked(thread_id="t", checkpoint_ns="sub:1").user_id is None
    assert asked(thread_id=str(hers), checkpoint_ns="sub:1").user_id == "alice"
    assert asked(thread_id="".join(hers), checkpoint_ns="sub:1").user_id is None


def test_a_thread_id_is_checked_as_the_caller_gave_it() -> None:
    """LangGraph makes a str of it before it asks, but keeps what was given in the metadata."""
    given = config(user_id="u", thread_id="True")
    given["metadata"] = {"thread_id": True}
    with pytest.raises(TypeError, match="thread_id"):
        Request.of(given)
    given["metadata"] = {"thread_id": "an outer run's"}
    assert Request.of(given).thread_id == "True"


def test_a_trusted_thread_id_asks_as_its_owner() -> None:
    """Alone it names whoever owns the thread; beside a user, it is as ever."""
    alone = Request.of(config(thread_id=7), trusts=True)
    assert (alone.user_id, alone.thread_id, alone.trusted) == (None, "7", True)
    assert not Request.of(config(thread_id="t", user_id="u"), trusts=True).trusted
    assert not asked(thread_id="t").trusted
    with pytest.raises(TypeError, match="thread_id"):
        Request.of(config(thread_id=True), trusts=True)


def test_a_user_that_is_required_is_missed_by_the_keys_found() -> None:
    """A misspelt key is told; a thread id that is trusted may stand for the user."""
    with pytest.raises(ValueError, match=r"user_id.*\['thread_id', 'userid'\]"):
        Request.of(config(thread_id="t", userid="alice"), requires=True)
    with pytest.raises(ValueError, match=r"\['userid'\]"):
        Request.of(config(userid="alice"), requires=True, trusts=True)
    assert Request.of(config(user_id="u"), requires=True).user_id == "u"
    assert Request.of(config(thread_id="t"), requires=True, trusts=True).trusted


# --- A graph that is called inside a run --------------------------------------------------------


def inside(**configurable: Any) -> Request:
    """Return what it asks for that is called by a node of alice's run."""
    run = ActiveRun.start(asked(user_id="alice"), session(), known=True)
    return asked(**{RUN_KEY: run, "checkpoint_ns": "node:1", **configurable})


ELSEWHERE: list[dict[str, Any]] = [
    {"user_id": "alice", "new_session": True},
    {"user_id": "alice", "new_session": True, "checkpoint_ns": ""},
    {"user_id": "bob"},
    {"user_id": "bob", "thread_id": "t"},
    {"user_id": "bob", "thread_id": "t", "checkpoint_ns": ""},
    {"user_id": "bob", "thread_id": "other"},
]


@pytest.mark.parametrize("given", ELSEWHERE, ids=repr)
def test_a_graph_inside_a_run_cannot_go_elsewhere_in_its_namespace(given: dict[str, Any]) -> None:
    """Another session of the run's namespace could not be found again; it is told what to do."""
    with pytest.raises(ValueError, match="inside a run"):
        inside(**given)


PLACES = [
    pytest.param({}, ("alice", "t"), id="nothing"),
    pytest.param({"user_id": "alice"}, ("alice", "t"), id="the user"),
    pytest.param({"thread_id": "t"}, ("alice", "t"), id="the run's thread"),
    pytest.param({"thread_id": "other"}, ("alice", "other"), id="another thread"),
    pytest.param({"checkpoint_ns": ""}, ("alice", "t"), id="the root"),
    pytest.param(
        {"user_id": "bob", "thread_id": "other", "checkpoint_ns": ""}, ("bob", "other"), id="both"
    ),
]


@pytest.mark.parametrize(("given", "place"), PLACES)
def test_a_graph_inside_a_run_is_its_users_and_on_its_thread(
    given: dict[str, Any], place: tuple[str, str]
) -> None:
    """What it does not say is the run's; it makes no session current."""
    request = inside(**given)
    assert (request.user_id, request.thread_id) == place
    assert not request.makes_current
    assert inside(**given, make_current=True).makes_current
    assert asked(user_id="alice").makes_current


@pytest.mark.parametrize("given", ["run", 1, {"user_id": "alice", "thread_id": "t"}], ids=repr)
def test_what_a_client_puts_in_the_place_of_a_run_is_none(given: object) -> None:
    """A client's own keys, whatever their names, neither say who it is nor which thread."""
    assert asked(**{RUN_KEY: given, "thread_id": "t"}).user_id is None
    with pytest.raises(KeyError):
        asked(**{RUN_KEY: given})


def test_the_instructions_are_those_of_the_table() -> None:
    """What is said to the session, and kept in no metadata, are these keys."""
    assert set(INSTRUCTIONS) == {"title", "new_session", "is_active", "make_current"}
