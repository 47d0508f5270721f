"""No password, no title and nothing that anybody said stands in our logs, errors or reprs."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from langgraph_sessions import AsyncSessionSaver, SessionError, SessionSaver, get_session
from langgraph_sessions.plans import Asked
from langgraph_sessions.sql.sessions import UpdateSession
from tests.support import Chat, config, graph_builder

SECRET = "rosebud"
PASSWORD = "swordfish"
WORDS = (SECRET, PASSWORD)


@pytest.fixture(autouse=True)
def _silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, no logger says a secret."""
    with caplog.at_level(logging.DEBUG, "langgraph_sessions"):
        yield
    formatter = logging.Formatter("%(message)s")
    for record in caplog.records:
        assert not _tells(formatter.format(record)), record


def _tells(text: str) -> bool:
    return any(word in text for word in WORDS)


def told(error: BaseException) -> str:
    """Return all that a log shows of *error*, but for the lines of the test's own source."""
    shown = [*traceback.TracebackException.from_exception(error).format(), repr(error)]
    lines = "".join(shown).splitlines()
    return "\n".join(line for line in lines if "SECRET" not in line)


def with_password(url: str) -> str:
    """Return *url* with a password, which the server does not ask for."""
    return make_conninfo(url, password=PASSWORD)


@contextmanager
def silently() -> Iterator[None]:
    """Let an error pass that tells no secret: what follows is about others."""
    error: BaseException | None = None
    try:
        yield
    except Exception as raised:
        error = raised
    assert error is None or not _tells(told(error))


class Broken(JsonPlusSerializer):
    """A serializer that fails, and quotes what it was given."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Fail."""
        raise ValueError(f"cannot load {data!r} with {SECRET}")


@pytest.mark.server
@pytest.mark.parametrize("kind", [SessionSaver, AsyncSessionSaver])
async def test_reprs_say_where_and_no_password(kind: Any, url: str) -> None:
    """Savers, managers, pools and databases name the database."""
    saver = kind(with_password(url))
    name = str(conninfo_to_dict(url)["dbname"])
    for thing in (saver, saver.sessions):
        assert type(thing).__name__ in repr(thing)
        assert name in repr(thing)
    for thing in (saver, saver.sessions, saver.conn, saver._database, saver._database._source):
        assert not _tells(repr(thing) + str(thing))
    await saver.close() if kind is AsyncSessionSaver else saver.close()


PLACES: dict[str, tuple[Callable[[], Any], str]] = {
    "a URL": (lambda: f"postgresql://u:{PASSWORD}@h/app", "PostgreSQL at h, database app"),
    "a port": (
        lambda: f"postgresql://u:{PASSWORD}@h:5433/app",
        "PostgreSQL at h, port 5433, database app",
    ),
    "a conninfo": (lambda: f"host=h user=u password={PASSWORD}", "PostgreSQL at h, database u"),
    "a service": (lambda: f"service=own password={PASSWORD}", "PostgreSQL of the service own"),
    "what libpq looks up": (lambda: f"password={PASSWORD}", "PostgreSQL at usual, database theirs"),
    "a pool": (
        lambda: pool(f"postgresql://u:{PASSWORD}@h/app"),
        "PostgreSQL at h, database app",
    ),
    "a pool's options": (
        lambda: pool("dbname=app host=other", host="h", password=PASSWORD),
        "PostgreSQL at h, database app",
    ),
    "a pool's function": (lambda: pool(lambda: f"password={PASSWORD}"), "PostgreSQL"),
    "DATABASE_URL": (lambda: None, "PostgreSQL at env, database app"),
}


def pool(conninfo: Any, **options: Any) -> ConnectionPool:
    """Return a pool that is not open."""
    return ConnectionPool(conninfo, kwargs={"autocommit": True, **options}, open=False)


@pytest.mark.parametrize("place", PLACES)
def test_the_database_is_named_before_it_is_reached(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is given, a saver and its manager say which one it is, and no password."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{PASSWORD}@env/app")
    monkeypatch.setenv("PGHOST", "usual")
    monkeypatch.setenv("PGDATABASE", "theirs")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    if place == "a conninfo":
        monkeypatch.delenv("PGDATABASE")
    conn, named = PLACES[place]
    saver = SessionSaver(conn())
    assert repr(saver) == f"<SessionSaver on {named}>"
    assert repr(saver.sessions) == f"<AgentSessionManager on {named}>"
    assert not _tells(repr(saver.conn) + repr(saver._database))
    saver.close()


def test_the_embedded_database_is_named_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before anything is in it."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    saver = SessionSaver(path=tmp_path / "data")
    assert repr(saver) == f"<SessionSaver on the embedded PostgreSQL in {tmp_path / 'data'}>"
    assert not list(tmp_path.iterdir())


def test_a_connection_names_its_database_until_it_is_closed(url: str) -> None:
    """Afterwards nobody knows; that is no error."""
    with psycopg.connect(with_password(url), autocommit=True) as conn:
        saver = SessionSaver(conn)
        assert str(conninfo_to_dict(url)["dbname"]) in repr(saver)
        assert not _tells(repr(saver))
    assert repr(saver) == "<SessionSaver on PostgreSQL>"


async def test_reprs_show_nothing_that_was_said(chat: Chat) -> None:
    """Sessions, pages, and what a run's config holds, show no title and no words."""
    seen: list[str] = []

    def look(state: Any, config: RunnableConfig) -> dict[str, Any]:
        own = {key: value for key, value in config["configurable"].items() if key != "title"}
        seen.append(f"{ {key: own[key] for key in own if 'langgraph_sessions' in repr(own[key])} }")
        seen.append(repr(get_session(config)))
        return {"messages": [SECRET]}

    graph = chat.compile(graph_builder(look))
    await chat.say(SECRET, graph, user_id="alice", title=SECRET)
    await chat.session("update_session", "alice", {"metadata": {SECRET: SECRET}})
    session = await chat.current()
    assert session.title == SECRET
    page = await chat.session("list_sessions", "alice")
    for shown in (*seen, repr(session), repr(page), f"{session} {page}"):
        assert not _tells(shown)


def test_a_question_shows_only_what_it_is() -> None:
    """What is asked of the database carries everybody's words; its repr is its name."""
    asked = UpdateSession(user_id="alice", title=SECRET, metadata={SECRET: 1})
    assert repr(asked) == "<UpdateSession>"
    todo: list[type] = [Asked]
    while todo:
        todo += (kind := todo.pop()).__subclasses__()
        assert kind is Asked or kind.__repr__ is UpdateSession.__repr__, kind


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("create_user_session", ("alice",), {"title": SECRET * 50}),
    ("create_user_session", ("alice",), {"title": SECRET + "\0"}),
    ("create_user_session", ("alice",), {"metadata": {"a": SECRET + "\0"}}),
    ("create_user_session", ("alice",), {"metadata": {"a": {SECRET}}}),
    ("create_user_session", ("alice",), {"thread_id": "t", "title": SECRET}),
    ("update_session", ("alice", {"metadata": {"a": SECRET * 10_000}}), {}),
    ("update_session", ("bob", {"title": SECRET}), {}),
    ("update_preferences", ("alice", {"a": SECRET * 10_000}), {}),
    ("fork_session", ("bob", "t"), {"title": SECRET}),
    ("adopt_session", ("bob", "t"), {"title": SECRET}),
    ("list_sessions", ("alice",), {"title": SECRET * 50}),
    ("get_session", ("bob", "t"), {}),
]


async def test_no_error_of_ours_quotes_anybody(chat: Chat, db: psycopg.Connection[Any]) -> None:
    """Not its text, its notes, nor what it is chained to."""
    await chat.session("create_user_session", "alice", SECRET, thread_id="t")
    for method, args, kwargs in WRONG:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await chat.session(method, *args, **kwargs)
        assert not _tells(told(caught.value)), method
    runs = [
        config(user_id="alice", title=SECRET * 50),
        config(user_id="bob", thread_id="t", title=SECRET),
        config(user_id="alice", checkpoint_id="none", title=SECRET),
        config(user_id="alice", thread_id="t", new_session=True, title=SECRET),
        config(user_id=None, thread_id="t", title=SECRET),
    ]
    for each in runs:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await chat.call(chat.graph, "invoke", {"messages": [SECRET]}, each)
        assert not _tells(told(caught.value)), each


@pytest.mark.server
def test_a_titler_or_serializer_that_fails_is_not_quoted(
    url: str, db: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A model's error may quote what it was sent; the log says what it was, and where."""

    def fails(messages: Any) -> str:
        raise RuntimeError(f"{SECRET} is too much: {messages}")

    with SessionSaver(with_password(url), titler=fails) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": [SECRET]}, config(user_id="alice"))
    assert "RuntimeError" in caplog.text
    with SessionSaver(with_password(url), serde=Broken()) as saver:
        (session,) = saver.sessions.list_sessions("alice")
        with pytest.raises(SessionError, match="cannot be read") as caught:
            saver.sessions.get_messages("alice", session.thread_id)
        assert not _tells(told(caught.value))
        (unreadable,) = [
            record
            for record in saver.sessions.export_user("alice")
            if record["record"] == "unreadable"
        ]
        assert not _tells(str(unreadable))
        db.execute("DELETE FROM user_sessions")
        db.execute("DELETE FROM session_threads")
        saver.sessions.backfill()
    assert "gets no title" in caplog.text


@pytest.mark.server
@pytest.mark.parametrize("wrong", ["port=1", "host=/nowhere", "dbname=none", "user=nobody_"])
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    wrong: str, url: str
) -> None:
    """Neither the error nor a warning of the outage has the URL."""
    bad = make_conninfo(with_password(url), **dict([wrong.split("=")]))  # type: ignore[arg-type]
    for on_outage in ("raise", "memory"):
        with SessionSaver(bad, on_outage=on_outage, retry_for=0) as saver:
            graph = graph_builder().compile(checkpointer=saver)
            said = config(user_id="alice", title=SECRET)
            with silently():
                graph.invoke({"messages": [SECRET]}, said)


@pytest.mark.parametrize("conn", [f"postgresql://u:{PASSWORD}@h/db?x=1", f"password={PASSWORD} x"])
def test_a_url_that_is_none_is_not_quoted(conn: str) -> None:
    """What libpq says of it would quote it."""
    with pytest.raises(ValueError, match="conn must be") as caught:
        SessionSaver(conn)
    assert not _tells(told(caught.value))
