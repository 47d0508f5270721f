"""What the forms of the pages do, each followed as a browser would."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from langgraph_sessions import SessionSaver
from tests.support import until
from tests.web.visiting import Visitor, named, talk, text


def test_rename_and_activity(saver: SessionSaver, visitor: Visitor) -> None:
    """A session is renamed, deactivated and activated again; its page says each."""
    session = talk(saver, "alice", "Hello")
    for path, fields, said in (
        ("/rename", {"title": "Rome & <b>Oslo</b>"}, "renamed"),
        ("/activate", {"active": "no"}, "deactivated"),
        ("/activate", {"active": "yes"}, "active again"),
    ):
        answer = visitor.post(path, **named(session), **fields)
        assert answer.status_code == 303
        assert said in visitor.see(answer.headers["location"])
        saver.sessions.clear_memory_cache()
        now = saver.sessions.get_session("alice", session.thread_id)
        assert now.title == "Rome & <b>Oslo</b>"
        assert now.is_active is (fields.get("active") != "no")


def test_a_fork_at_a_checkpoint(saver: SessionSaver, visitor: Visitor) -> None:
    """The copy ends there, and each of both shows the other in its tree."""
    session = talk(saver, "alice", "first", "second")
    ids = [each.checkpoint_id for each in saver.sessions.list_checkpoints(*named(session).values())]
    answer = visitor.post("/fork", checkpoint=ids[3], **named(session))
    copy = parse_qs(urlsplit(answer.headers["location"]).query)["thread"][0]
    assert copy != session.thread_id
    assert "second" not in visitor.see(answer.headers["location"])
    second = visitor.post("/fork", user="alice", thread=copy)
    assert second.status_code == 303
    for thread in (session.thread_id, copy):
        page = visitor.get("/checkpoints", user="alice", thread=thread).text
        tree = page.partition('class="tree"')[2].partition('class="checkpoints"')[0]
        assert tree.count("<li>") == 3
        assert tree.count("this one") == 1


def test_a_fork_of_what_is_gone(saver: SessionSaver, visitor: Visitor) -> None:
    """Its tree says so, and nothing of what was there."""
    session = talk(saver, "alice", "first")
    copy = saver.sessions.fork_session("alice", session.thread_id, title="The copy")
    saver.sessions.delete_session("alice", session.thread_id)
    shown = visitor.see("/checkpoints", **named(copy))
    assert f"no longer there {session.thread_id}" in shown
    assert visitor.get("/session", **named(session)).status_code == 404


def test_delete_asks_first(saver: SessionSaver, visitor: Visitor) -> None:
    """The question is a page of its own; with its form, the session and its thread are gone."""
    session = talk(saver, "alice", "Hello")
    asked = visitor.see("/delete", **named(session))
    assert "Delete this session?" in asked
    assert "Hello" in asked
    assert saver.sessions.count_sessions() == 1
    answer = visitor.post("/delete", **named(session))
    assert "deleted" in visitor.see(answer.headers["location"])
    assert saver.sessions.count_sessions() == 0
    assert visitor.post("/delete", **named(session)).status_code == 404


def test_wrong_forms_change_nothing(saver: SessionSaver, visitor: Visitor) -> None:
    """A title that is none, a missing field and a form that is too long are named."""
    session = talk(saver, "alice", "Hello")
    for path, fields, part in (
        ("/rename", {"title": " "}, "title"),
        ("/rename", {"title": "a" * 256}, "title"),
        ("/rename", {"title": "a" * 70_000}, "65536"),
        ("/activate", {}, "active"),
        ("/activate", {"active": "perhaps"}, "active"),
        ("/fork", {"checkpoint": "none"}, "checkpoint"),
    ):
        answer = visitor.post(path, **named(session), **fields)
        assert answer.status_code == 400, path
        assert part in text(answer)
    assert visitor.post("/rename", user="alice", title="x").status_code == 400
    saver.sessions.clear_memory_cache()
    assert [*saver.sessions.list_sessions()] == [session]


def test_the_doctor_looks_once_at_a_time(visitor: Visitor, db: psycopg.Connection[Any]) -> None:
    """Whoever asks again while it looks waits for the same answer."""
    until(lambda: "Looked" in visitor.get("/doctor").text)
    before = set(threading.enumerate())
    with db.transaction():  # For which the doctor waits.
        db.execute("LOCK TABLE user_sessions")
        for _ in range(5):
            assert visitor.post("/doctor").status_code == 303
        assert "The doctor is looking" in visitor.see("/doctor")
        looking = {thread for thread in threading.enumerate() if thread.name == "doctor"} - before
        assert len(looking) == 1
    until(lambda: "Looked" in visitor.get("/doctor").text)
