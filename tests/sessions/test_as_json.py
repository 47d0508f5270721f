"""Sessions and pages as whatever applications make of them: JSON, tables, pickles, copies."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import fastapi
import orjson
import pandas as pd
import pydantic
import pytest
from fastapi.testclient import TestClient

from langgraph_sessions import Session, SessionPage
from langgraph_sessions.models import CheckpointInfo, CheckpointList

KEYS = [
    *("id", "user_id", "thread_id", "title", "created_at", "updated_at", "is_active"),
    *("metadata", "agent", "forked_from", "status"),
]
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SESSION = Session(
    id=7,
    user_id="alice",
    thread_id="t",
    title="Rome",
    created_at=AT,
    updated_at=AT,
    is_active=True,
    metadata={"tags": ["travel"]},
    agent="guide",
    forked_from=("s", "1"),
    status="idle",
).in_run({"language": "it"})
BARE = dataclasses.replace(SESSION, id=8, metadata={}, agent=None, forked_from=None, status=None)
PAGE = SessionPage((SESSION, BARE), "more")


class Answer(pydantic.BaseModel):
    """A model of an application's with a session, and a page, in it."""

    session: Session
    page: SessionPage


class Shown(pydantic.BaseModel):
    """A response model of an application's own, with some of the fields."""

    thread_id: str
    title: str
    metadata: dict[str, Any]


ANSWER = Answer(session=SESSION, page=PAGE)
app = fastapi.FastAPI()


@app.get("/plain")
def plain():  # type: ignore[no-untyped-def]
    """Return a page without saying what it is."""
    return PAGE


@app.get("/typed")
def typed() -> SessionPage:
    """Return a page with its type as response model."""
    return PAGE


@app.get("/session")
def session() -> Session:
    """Return a session with its type as response model."""
    return SESSION


@app.get("/listed", response_model=list[Session])
def listed() -> Any:
    """Return a list of sessions with a response model."""
    return list(PAGE)


@app.get("/shown", response_model=Shown)
def shown() -> Any:
    """Return a session through another model."""
    return SESSION


def fetched(path: str) -> Any:
    """Return what FastAPI answers."""
    response = TestClient(app).get(path)
    assert response.status_code == 200
    return response.json()


PAGES: dict[str, Callable[[], Any]] = {
    "fastapi, plain": lambda: fetched("/plain"),
    "fastapi, a response model": lambda: fetched("/typed"),
    "pydantic, python": lambda: pydantic.TypeAdapter(SessionPage).dump_python(PAGE, mode="json"),
    "pydantic, json": lambda: json.loads(pydantic.TypeAdapter(SessionPage).dump_json(PAGE)),
    "pydantic, untyped": lambda: pydantic.TypeAdapter(Any).dump_python(PAGE, mode="json"),
    "pydantic, a field": lambda: ANSWER.model_dump(mode="json")["page"],
    "orjson": lambda: orjson.loads(orjson.dumps(PAGE)),
    "dataclasses": lambda: dataclasses.asdict(PAGE),
}
SESSIONS: dict[str, Callable[[], Any]] = {
    "dict": lambda: dict(SESSION),
    "json": lambda: json.loads(json.dumps(dict(SESSION))),
    "fastapi, a response model": lambda: fetched("/session"),
    "fastapi, a list": lambda: fetched("/listed")[0],
    "pydantic, python": lambda: pydantic.TypeAdapter(Session).dump_python(SESSION),
    "pydantic, json": lambda: json.loads(pydantic.TypeAdapter(Session).dump_json(SESSION)),
    "pydantic, untyped": lambda: pydantic.TypeAdapter(Any).dump_python(SESSION, mode="json"),
    "pydantic, a field": lambda: ANSWER.model_dump(mode="json")["session"],
    "pydantic, a field's json": lambda: json.loads(ANSWER.model_dump_json())["session"],
    "orjson": lambda: orjson.loads(orjson.dumps(SESSION)),
    "dataclasses": lambda: dataclasses.asdict(SESSION),
    "pandas, a list": lambda: pd.DataFrame([SESSION]).to_dict("records")[0],
    "pandas, a page": lambda: pd.DataFrame(PAGE).to_dict("records")[0],
    "pickle": lambda: dict(pickle.loads(pickle.dumps(SESSION))),
}


def values(given: dict[str, Any]) -> dict[str, Any]:
    """Return *given* with its times parsed: some write `Z` for UTC, some `+00:00`.

    In Python a fork's origin is a tuple, in JSON a list.
    """
    times = {key: given[key] for key in ("created_at", "updated_at")}
    parsed = {key: datetime.fromisoformat(str(time)) for key, time in times.items()}
    return {**given, **parsed, "forked_from": given["forked_from"] and [*given["forked_from"]]}


@pytest.mark.parametrize("way", SESSIONS)
def test_a_session_has_the_same_keys_everywhere(way: str) -> None:
    """Its fields, `metadata` among them, and nothing private."""
    given = SESSIONS[way]()
    assert list(given) == KEYS
    assert values(given) == values(dict(SESSION))
    assert given["metadata"] == {"tags": ["travel"]}


@pytest.mark.parametrize("way", PAGES)
def test_a_page_has_the_same_keys_everywhere(way: str) -> None:
    """Its sessions and its cursor; sessions without status or agent have the same keys."""
    given = PAGES[way]()
    assert list(given) == ["sessions", "next_cursor"]
    assert given["next_cursor"] == "more"
    assert [values(each) for each in given["sessions"]] == [values(dict(each)) for each in PAGE]
    assert [list(each) for each in given["sessions"]] == [KEYS, KEYS]


def test_a_response_model_of_an_application_takes_what_it_names() -> None:
    """FastAPI filters a session by another model, metadata included."""
    assert fetched("/shown") == {
        "thread_id": "t",
        "title": "Rome",
        "metadata": {"tags": ["travel"]},
    }


def test_pydantic_reads_what_it_wrote() -> None:
    """A client with this package has the session again, and the schema names its keys."""
    adapter = pydantic.TypeAdapter(Session)
    again = adapter.validate_json(adapter.dump_json(SESSION))
    assert again == SESSION
    assert (again.preferences, again.metadata) == ({}, SESSION.metadata)
    assert list(adapter.json_schema()["properties"]) == KEYS


@pytest.mark.parametrize(
    "copied",
    [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_a_copy_is_the_session(copied: Callable[[Any], Any]) -> None:
    """With its metadata, and the preferences of the run in which it was copied."""
    (again, page) = copied(SESSION), copied(PAGE)
    assert (again, page) == (SESSION, PAGE)
    assert (again.status, again.preferences) == ("idle", {"language": "it"})
    again.metadata["tags"].append("more")
    assert again.metadata == SESSION.metadata == {"tags": ["travel"]}


FRAMES: dict[str, Callable[[list[Session]], pd.DataFrame]] = {
    "a list": pd.DataFrame,
    "a page": lambda sessions: pd.DataFrame(SessionPage(tuple(sessions))),
    "a slice of a page": lambda sessions: pd.DataFrame(SessionPage(tuple(sessions))[:]),
    "a generator": lambda sessions: pd.DataFrame(each for each in sessions),
    "some columns": lambda sessions: pd.DataFrame(sessions, columns=["title", *TIMES]),
}
TIMES = ("created_at", "updated_at")


@pytest.mark.parametrize("way", FRAMES)
def test_times_are_times_in_a_data_frame(way: str) -> None:
    """With their time zone, whatever that of the connection was, and beside a session yet to be."""
    row = {**dict(SESSION), **dict.fromkeys(TIMES, AT.astimezone(ZoneInfo("Europe/Rome")))}
    read, made = Session.from_row(row), Session.draft("alice", "t2")
    frame = FRAMES[way]([SESSION, read, made])
    for column in TIMES:
        assert frame[column].dt.tz == UTC
        assert list(frame[column]) == [getattr(each, column) for each in (SESSION, read, made)]
    assert len(frame) == 3
    json.dumps([dict(each) for each in (SESSION, read, made)])


def test_a_data_frame_of_checkpoints_has_times() -> None:
    """What a manager lists goes in as it is."""
    frame = pd.DataFrame(CheckpointList([CheckpointInfo("b", "a", AT, "loop", 1, None)]))
    assert frame["created_at"].dt.tz == UTC
    assert list(frame["checkpoint_id"]) == ["b"]


def test_what_is_handed_out_is_a_copy() -> None:
    """No way to read a session's metadata or preferences gives what it holds itself."""
    ways = (
        lambda: SESSION.metadata,
        lambda: SESSION["metadata"],
        lambda: dict(SESSION)["metadata"],
        lambda: dataclasses.asdict(SESSION)["metadata"],
        lambda: pydantic.TypeAdapter(Session).dump_python(SESSION)["metadata"],
    )
    for way in ways:
        way()["tags"].append("changed")
        way()["other"] = 1
    SESSION.preferences["language"] = "de"
    assert SESSION.metadata == {"tags": ["travel"]}
    assert SESSION.preferences == {"language": "it"}


def test_a_session_cannot_be_changed() -> None:
    """Setting a field raises, as does setting one that it has not."""
    for name in ("title", "metadata", "preferences", "another"):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(SESSION, name, {})
    assert SESSION.title == "Rome"


def test_a_page_is_a_sequence() -> None:
    """It has places, slices, a length and an order, and an index that is not there raises."""
    assert (PAGE[0], PAGE[-1], PAGE[:1], PAGE[::-1]) == (SESSION, BARE, (SESSION,), (BARE, SESSION))
    assert (len(PAGE), list(PAGE), list(reversed(PAGE))) == (2, [SESSION, BARE], [BARE, SESSION])
    assert SESSION in PAGE
    with pytest.raises(IndexError):
        PAGE[2]
    assert not SessionPage(())
