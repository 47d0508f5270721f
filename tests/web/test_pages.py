"""The pages that are looked at: lists, conversations, checkpoints, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from psycopg.conninfo import conninfo_to_dict

from langgraph_sessions import SessionSaver
from langgraph_sessions.web import reading, stretches
from tests.gate import Gate, stoppable
from tests.servers import Server
from tests.support import config, graph_builder, until
from tests.web.visiting import Visitor, link, named, serving_pages, talk, text


def titles(visitor: Visitor, **filters: Any) -> list[str]:
    """Return which of the titles of these tests stand on a list."""
    shown = visitor.see("/", **filters)
    return [title for title in ("Rome", "Oslo", "Lima", "Bonn") if f"{title} " in f"{shown} "]


@pytest.fixture
def four(saver: SessionSaver) -> SessionSaver:
    """Sessions of two users: one is inactive, one of an agent."""
    make = saver.sessions.create_user_session
    make("alice", "Rome", thread_id="rome")
    make("alice", "Oslo", thread_id="oslo")
    make("bob", "Lima", thread_id="lima")
    with SessionSaver(saver._database._source.conninfo, agent="travel") as other:
        other.sessions.create_user_session("bob", "Bonn", thread_id="bonn")
    saver.sessions.deactivate_session("alice", thread_id="oslo")
    return saver


def test_a_list_has_everybodys_sessions_and_filters(four: SessionSaver, visitor: Visitor) -> None:
    """By title, in any case, user, agent, activity, and all of them at once."""
    assert titles(visitor) == ["Rome", "Oslo", "Lima", "Bonn"]
    assert titles(visitor, title="rOM") == ["Rome"]
    assert titles(visitor, user="alice") == ["Rome", "Oslo"]
    assert titles(visitor, agent="travel") == ["Bonn"]
    assert titles(visitor, active="no") == ["Oslo"]
    assert titles(visitor, active="yes", user="alice") == ["Rome"]
    assert titles(visitor, user=" ", title="", agent="") == ["Rome", "Oslo", "Lima", "Bonn"]
    assert "No session is like that" in visitor.see("/", user="nobody")


def test_a_list_filters_by_status(saver: SessionSaver, visitor: Visitor) -> None:
    """What failed is found, and marked as such, in the list and on its own page."""

    def fail(state: Any) -> None:
        raise RuntimeError("no")

    talk(saver, "alice", "Rome")
    graph = graph_builder(fail).compile(checkpointer=saver)
    with pytest.raises(RuntimeError):
        graph.invoke({"messages": ["Oslo"]}, config(user_id="bob"))
    assert titles(visitor, status="error") == ["Oslo"]
    assert titles(visitor, status="idle") == ["Rome"]
    thread = saver.sessions.get_current_user_session("bob").thread_id
    assert "failed" in visitor.see("/session", user="bob", thread=thread)


def test_pages_lead_to_older_and_back(
    four: SessionSaver, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older and newer pages have the same filters, each session once."""
    monkeypatch.setattr(reading, "PAGE", 1)
    path: str | None = f"/?{urlencode({'active': 'yes'})}"
    seen, back = [], []
    while path and len(seen) < 50:
        page = visitor.get(path).text
        seen.append([title for title in ("Rome", "Oslo", "Lima", "Bonn") if f">{title}<" in page])
        back.append(link(page, "← Newer"))
        path = link(page, "Older →")
    assert seen == [["Bonn"], ["Lima"], ["Rome"]]
    assert back[0] is None
    for number in (1, 2):
        page = visitor.get(str(back[number])).text
        assert f">{seen[number - 1][0]}<" in page
    assert link(visitor.get(str(back[1])).text, "← Newer") is None


def test_a_search_goes_on_stretch_by_stretch(
    four: SessionSaver, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search looks at so many sessions, and says that there are older ones; none is left out."""
    monkeypatch.setattr(stretches, "SESSIONS", 2)
    path: str | None = f"/?{urlencode({'title': 'o'})}"
    seen = []
    while path and len(seen) < 50:
        page = visitor.get(path).text
        seen.append([title for title in ("Rome", "Oslo", "Lima", "Bonn") if f">{title}<" in page])
        path = link(page, "Search older ones")
    assert seen == [["Bonn"], ["Rome", "Oslo"]]


def test_a_search_among_sessions_of_one_moment_finds_all(
    four: SessionSaver, visitor: Visitor, db: psycopg.Connection[Any], monkeypatch: Any
) -> None:
    """As after an import: where time does not tell them apart, a stretch has no end."""
    db.execute("UPDATE user_sessions SET updated_at = now()")
    monkeypatch.setattr(stretches, "SESSIONS", 1)
    page = visitor.get("/", title="o").text
    page = visitor.get(str(link(page, "Search older ones"))).text
    assert all(f">{title}<" in page for title in ("Rome", "Oslo", "Bonn"))
    assert link(page, "Search older ones") is None


# --- A session -----------------------------------------------------------------------------------


def test_a_conversation_shows_what_was_said(saver: SessionSaver, visitor: Visitor) -> None:
    """Messages in order; what tools were asked and answered is folded away."""
    answer = [
        AIMessage("Let me look", tool_calls=[{"name": "weather", "args": {"in": "x"}, "id": "1"}]),
        ToolMessage("sunny", name="weather", tool_call_id="1"),
        AIMessage("It is sunny"),
    ]
    session = talk(saver, "alice", "Rome?", answer=answer)
    shown = visitor.see("/session", **named(session))
    words = ["Human", "Rome?", "Let me look", "Calls weather", "weather answered", "It is sunny"]
    places = [shown.index(word, shown.index("Conversation")) for word in words]
    assert places == sorted(places)
    page = visitor.get("/session", **named(session)).text
    assert page.count('<details class="fold">') == 2
    assert "<details open" not in page


def test_a_long_conversation_has_pages(
    saver: SessionSaver, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last messages come first; earlier ones, and later ones again, are a link away."""
    monkeypatch.setattr(reading, "MESSAGES", 4)
    session = talk(saver, "alice", *(f"word{number}" for number in range(5)))
    last = visitor.get("/session", **named(session)).text
    assert "word4<" in last
    assert "word2<" not in last
    assert "Messages 7 to 10 of 10" in last
    earlier = visitor.get(str(link(last, "← Earlier"))).text
    assert "Messages 3 to 6 of 10" in earlier
    first = visitor.get(str(link(earlier, "← Earlier"))).text
    assert "word0<" in first
    assert link(first, "← Earlier") is None
    assert "Messages 1 to 2 of 10" in first
    assert "Messages 3 to 6 of 10" in visitor.get(str(link(first, "Later →"))).text


def test_a_conversation_is_shown_as_it_was(saver: SessionSaver, visitor: Visitor) -> None:
    """Up to a checkpoint, from which it can be forked."""
    session = talk(saver, "alice", "first words", "second words")
    newest, _, _, before, *_ = saver.sessions.list_checkpoints("alice", session.thread_id)
    shown = visitor.get("/session", checkpoint=newest.checkpoint_id, **named(session)).text
    assert "second words" in shown
    shown = visitor.get("/session", checkpoint=before.checkpoint_id, **named(session)).text
    assert "second words" not in shown.partition('class="messages"')[2]
    assert re.search(rf'action="/fork\?[^"]*checkpoint={before.checkpoint_id}"', shown)


def test_checkpoints_have_pages(
    saver: SessionSaver, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is there once, newest first."""
    monkeypatch.setattr(reading, "CHECKPOINTS", 4)
    session = talk(saver, "alice", "one", "two")
    ids = [each.checkpoint_id for each in saver.sessions.list_checkpoints(*named(session).values())]
    path: str | None = f"/checkpoints?{urlencode(named(session))}"
    seen = []
    while path and len(seen) < 50:
        page = visitor.get(path).text
        seen += [each for each in ids if f'<code class="id">{each}<' in page]
        path = link(page, "Older →")
    assert seen == ids
    assert len(ids) > 4


def test_a_new_session_has_nothing_yet(four: SessionSaver, visitor: Visitor) -> None:
    """Neither messages nor checkpoints, and both pages say so."""
    assert "Nothing was said yet" in visitor.see("/session", user="alice", thread="rome")
    assert "no checkpoints yet" in visitor.see("/checkpoints", user="alice", thread="rome")


def test_the_top_says_which_database_and_what_the_doctor_found(
    saver: SessionSaver, visitor: Visitor, db: psycopg.Connection[Any], direct_url: str
) -> None:
    """Its findings are there as soon as it has looked, and again when it is asked to."""
    name = str(conninfo_to_dict(direct_url)["dbname"])
    until(lambda: "Healthy" in visitor.get("/").text)
    assert f"database {name}<" in visitor.get("/").text
    talk(saver, "alice", "Hello")
    db.execute("DELETE FROM user_sessions")
    assert visitor.post("/doctor").headers["location"] == "/doctor"
    until(lambda: re.search(r"\d problems?\s", visitor.get("/").text))
    assert "Mend" in visitor.see("/doctor")


# --- What goes wrong -----------------------------------------------------------------------------


def test_another_users_session_is_not_there(saver: SessionSaver, visitor: Visitor) -> None:
    """It is 404, as is one that is nobody's, whatever is asked."""
    session = talk(saver, "alice", "a secret")
    for thread in (session.thread_id, "none"):
        for path in ("/session", "/checkpoints", "/delete"):
            answer = visitor.get(path, user="bob", thread=thread)
            assert answer.status_code == 404
            assert "secret" not in answer.text
        for path in ("/rename", "/activate", "/fork", "/delete"):
            answer = visitor.post(path, user="bob", thread=thread, title="Mine", active="no")
            assert answer.status_code == 404
    assert talk(saver, "alice", "still there").thread_id == session.thread_id


def test_a_thread_that_cannot_be_read_is_named(
    saver: SessionSaver, visitor: Visitor, db: psycopg.Connection[Any]
) -> None:
    """Its page says so, without its words, and still renames and deletes it."""
    session = talk(saver, "alice", "Hello")
    db.execute("UPDATE checkpoint_blobs SET type = 'msgpack+aes'")
    answer = visitor.get("/session", **named(session))
    assert answer.status_code == 500
    assert "cannot be read" in answer.text
    assert f"thread &#39;{session.thread_id}&#39;" in answer.text
    assert visitor.post("/delete", **named(session)).status_code == 303
    assert saver.sessions.count_sessions() == 0


@pytest.fixture
def own() -> Iterator[Server | Gate]:
    """A server that the test stops."""
    with stoppable() as server:
        yield server


def test_a_database_that_is_away_is_503_until_it_is_back(own: Server | Gate) -> None:
    """Every page says so; the next one after its return is as always."""
    with serving_pages(own.conninfo) as served, served.client() as http:
        visitor = Visitor(served, http)
        assert visitor.get("/").status_code == 200
        own.stop()
        for answer in (visitor.get("/"), visitor.post("/delete", user="alice", thread="t")):
            assert answer.status_code == 503
            assert "The database is away" in answer.text
            assert "secret" not in answer.text
        own.start()
        until(lambda: visitor.get("/").status_code == 200)


def test_a_database_without_tables_stays_so(empty_url: str) -> None:
    """Looking makes none; the page says what is missing."""
    with serving_pages(empty_url) as served, served.client() as http:
        answer = Visitor(served, http).get("/")
        assert answer.status_code == 500
        assert "langgraph-sessions sessions setup" in answer.text
    with psycopg.connect(empty_url) as conn:
        assert conn.execute("SELECT to_regclass('user_sessions')").fetchone() == (None,)


BAD_INPUT = [
    ("/", {"status": "asleep"}, "status"),
    ("/", {"active": "perhaps"}, "active"),
    ("/", {"cursor": "x"}, "cursor"),
    ("/", {"title": "a" * 256}, "title"),
    ("/", {"user": "a\0"}, "user"),
    ("/", {"title": "a", "before": "yesterday"}, "before"),
    ("/", {"title": "a", "after": "2026-01-01"}, "after"),
    ("/session", {}, "user"),
    ("/session", {"user": "alice"}, "thread"),
    ("/session", {"user": "alice", "thread": "rome", "until": "-1"}, "until"),
    ("/session", {"user": "alice", "thread": "rome", "checkpoint": "none"}, "checkpoint"),
    ("/checkpoints", {"user": "alice", "thread": "rome", "before": "none"}, "before"),
]


def test_bad_input_is_named(four: SessionSaver, visitor: Visitor) -> None:
    """What cannot be asked for is 400, and says which part of it is wrong."""
    for path, asked, part in BAD_INPUT:
        answer = visitor.get(path, **asked)
        assert answer.status_code == 400, (path, asked)
        assert part in text(answer)
