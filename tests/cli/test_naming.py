"""How a session is named on the command line: by its id, its number, or how its id begins."""

from __future__ import annotations

from typing import Any

import pytest

from langgraph_sessions import SessionSaver
from langgraph_sessions.sessions.naming import named
from langgraph_sessions.sql.naming import SessionsBeginning, SessionsNamed
from tests.operating import Db, Operate, contents, talk
from tests.plans import play, session_row

IDLE: dict[str, Any] = {"status": "idle"}
WHOSE: dict[str, Any] = {"user_id": "alice", "agent": None}


# --- As a plan ------------------------------------------------------------------------------------


def test_a_whole_id_comes_first() -> None:
    """Also before a session that has it as its number; nothing else is looked for."""
    rows = [session_row(id=7, thread_id="x", **IDLE), session_row(id=3, thread_id="7", **IDLE)]
    played = play(named("7", "alice", None), rows)
    assert played.asked == [SessionsNamed(thread_id="7", number=7, **WHOSE)]
    assert [session.thread_id for session in played.result] == ["7"]


@pytest.mark.parametrize("word", ["12", "99999999999999999999"])
def test_digits_are_never_a_beginning(word: str) -> None:
    """They are a number, or none that the database can have; or else a whole id."""
    number = 12 if word == "12" else None
    played = play(named(word, "alice", None), [])
    assert played.asked == [SessionsNamed(thread_id=word, number=number, **WHOSE)]
    assert played.result == []


def test_anything_else_may_be_a_beginning() -> None:
    """Of at most so many ids."""
    played = play(named("al", "alice", None, 5), [], [session_row(thread_id="alice_1", **IDLE)])
    assert played.asked[1:] == [SessionsBeginning(beginning="al", limit=5, **WHOSE)]
    assert [session.thread_id for session in played.result] == ["alice_1"]


# --- As a command ---------------------------------------------------------------------------------


@pytest.fixture
def threads(saver: SessionSaver) -> dict[str, int]:
    """Sessions of alice's and bob's, by their thread ids: the numbers."""
    owners = {"rome-1": "alice", "rome-22": "alice", "rome-23": "bob", "%_x": "bob", "7": "bob"}
    for thread_id, user in owners.items():
        talk(saver, user, thread_id, thread_id=thread_id)
    return {session.thread_id: session.id for session in saver.sessions.list_sessions()}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rome-1"], "rome-1"),
        (["rome-22"], "rome-22"),
        (["rome-2", "--user", "bob"], "rome-23"),
        (["r", "--user", "bob"], "rome-23"),
        (["%"], "%_x"),
        (["7"], "7"),
    ],
)
def test_a_session_is_found(
    words: list[str], meant: str, operate: Operate, threads: dict[str, int]
) -> None:
    """By its id, by a beginning that no other has, and by either among a user's."""
    assert operate("show", *words, "--json").json["session"]["thread_id"] == meant


def test_a_session_is_found_by_its_number(operate: Operate, threads: dict[str, int]) -> None:
    """The number that a list shows; of another user's with --user, there is none."""
    for thread_id, number in threads.items():
        if str(number) not in threads:
            assert operate("show", str(number), "--json").json["session"]["thread_id"] == thread_id
    other = operate("show", str(threads["rome-1"]), "--user", "bob")
    assert (other.status, other.out) == (2, "")


@pytest.mark.parametrize(
    "command",
    [
        ["show", "rome"],
        ["checkpoints", "rome"],
        ["rename", "rome", "New"],
        ["fork", "rome"],
        ["deactivate", "rome"],
        ["delete", "rome", "--yes"],
        ["transfer", "alice", "bob", "--thread", "rome"],
    ],
    ids=lambda command: command[0],
)
def test_of_several_none_is_meant(
    command: list[str], operate: Operate, threads: dict[str, int], db: Db
) -> None:
    """They are listed on standard error, the status is 2, and nothing happens."""
    before = contents(db)
    done = operate(*command)
    assert (done.status, done.out) == (2, "")
    fitting = {"rome-1", "rome-22"} | ({"rome-23"} if command[0] != "transfer" else set())
    assert done.err.startswith(f'Error: {len(fitting)} thread ids begin with "rome":\n')
    assert {thread for thread in threads if thread in done.err.split()} == fitting
    assert contents(db) == before


def test_of_very_many_some_are_listed(operate: Operate, saver: SessionSaver) -> None:
    """Twenty, and that there are more."""
    for number in range(22):
        saver.sessions.create_user_session("alice", thread_id=f"t-{number}")
    error, _, *listed = operate("show", "t").err.splitlines()
    assert (error, len(listed)) == ('Error: more than 20 thread ids begin with "t":', 20)
