"""What somebody planted in a row runs no code where conversations are read without their graph."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ormsgpack
import psycopg
import pytest
from langgraph.checkpoint.serde import jsonplus
from pydantic import BaseModel

from langgraph_sessions import SessionError, SessionSaver
from langgraph_sessions.sessions.strict import StrictSerializer
from tests.operating import Operate, talk
from tests.support import Chat

Row = tuple[str, bytes]

ran: list[object] = []


def run(*arguments: object, **named: object) -> str:
    """Note that code was run which a row named."""
    ran.append((arguments, named))
    return "ran"


@pytest.fixture(autouse=True)
def _none_ran() -> None:
    ran.clear()


def _msgpack(code: int, *named: object) -> Row:
    planted = ormsgpack.Ext(code, ormsgpack.packb(named))
    return "msgpack", ormsgpack.packb([planted, "words"])


def _nested(row: Row) -> Row:
    inner = ormsgpack.Ext(jsonplus.EXT_DELTA_SNAPSHOT, row[1])
    return "msgpack", ormsgpack.packb({"deep": [inner]})


class _Pickled:
    def __reduce__(self) -> Any:
        return run, ("pickle",)


def _json(lc: int, **envelope: object) -> Row:
    return "json", json.dumps({"lc": lc, "type": "constructor", **envelope}).encode()


PLANTED: dict[str, Row] = {
    "an argument": _msgpack(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, __name__, "run", "x"),
    "arguments": _msgpack(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, __name__, "run", ["x"]),
    "named arguments": _msgpack(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, __name__, "run", {"a": 1}),
    "a method": _msgpack(jsonplus.EXT_METHOD_SINGLE_ARG, __name__, "ran", "x", "append"),
    "a model": _msgpack(jsonplus.EXT_PYDANTIC_V1, __name__, "run", {"a": 1}),
    "a newer model": _msgpack(jsonplus.EXT_PYDANTIC_V2, __name__, "run", {"a": 1}, ""),
    "a shell": _msgpack(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "os", "system", "exit"),
    "a process": _msgpack(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "subprocess", "Popen", "true"),
    "a module": _msgpack(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "antigravity", "geohash", "x"),
    "deep": _nested(_msgpack(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, __name__, "run", "x")),
    "json": _json(2, id=[*__name__.split("."), "run"], args=["x"]),
    "langchain": _json(1, id=["langchain", "prompts", "prompt", "PromptTemplate"], kwargs={}),
    "pickle": ("pickle", pickle.dumps(_Pickled())),
    "no msgpack": ("msgpack", b"\xc1"),
}


def plant(db: psycopg.Connection[Any], thread_id: str, row: Row) -> None:
    """Put *row* in the place of what a thread's channels hold."""
    changed = db.execute(
        "UPDATE checkpoint_blobs SET type = %s, blob = %s WHERE thread_id = %s",
        (*row, thread_id),
    )
    assert changed.rowcount


@pytest.mark.parametrize("row", PLANTED.values(), ids=PLANTED)
def test_a_command_runs_no_code_that_a_row_names(
    operate: Operate, saver: SessionSaver, db: psycopg.Connection[Any], row: Row
) -> None:
    """It says in a line which thread it cannot read."""
    thread_id = talk(saver, "alice", "Hello").thread_id
    plant(db, thread_id, row)
    done = operate("show", thread_id)
    assert (done.status, done.out, ran) == (2, "", [])
    assert done.err.startswith(f"Error: thread '{thread_id}' cannot be read: ")


async def test_a_manager_runs_no_code_that_a_row_names(
    chat: Chat, db: psycopg.Connection[Any]
) -> None:
    """Titles, exports and adoption are made without it; an export's error names the thread."""
    await chat.say("Hello", user_id="alice")
    thread_id = (await chat.current()).thread_id
    plant(db, thread_id, PLANTED["an argument"])
    asked: list[object] = []
    with pytest.raises(SessionError, match=thread_id):
        await chat.session("call_titler", lambda messages: asked.append(messages), thread_id)
    db.execute("DELETE FROM user_sessions")
    db.execute("DELETE FROM session_threads")
    adopted = await chat.session("adopt_session", "alice", thread_id)
    assert (adopted.title, asked, ran) == ("New Chat", [], [])


def test_a_row_written_for_a_serializer_is_loaded_by_it(
    url: str, db: psycopg.Connection[Any]
) -> None:
    """Who gives a manager a serializer says what may be loaded."""
    serde = jsonplus.JsonPlusSerializer(allowed_msgpack_modules=[(__name__, "run")])
    with SessionSaver(url, serde=serde) as saver:
        thread_id = talk(saver, "alice", "Hello").thread_id
        plant(db, thread_id, PLANTED["an argument"])
        saver.sessions.call_titler(lambda messages: "Loaded", thread_id)
    assert ran == [(("x",), {})]


@dataclass
class Trip:
    """A type of an application's."""

    where: str


class Plan(BaseModel):
    """A model of an application's."""

    trip: Trip


@pytest.mark.parametrize("make", [Trip, lambda where: Plan(trip=Trip(where))])
def test_what_an_application_saves_is_read_as_plain_data(make: Callable[[str], object]) -> None:
    """A dataclass or model of its own is no reason not to read what was said beside it."""
    row = jsonplus.JsonPlusSerializer().dumps_typed([make("Rome"), "words"])
    found, words = StrictSerializer().loads_typed(row)
    assert (found if "where" in found else found["trip"]) == {"where": "Rome"}
    assert words == "words"


def test_a_type_of_an_application_that_is_not_here_is_read_as_plain_data() -> None:
    """A command knows none of an application's modules, and imports none."""
    row = _msgpack(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, "away.models", "Trip", {"where": "Rome"})
    assert StrictSerializer().loads_typed(row) == [{"where": "Rome"}, "words"]
