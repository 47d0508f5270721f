"""Sessions, pages and checkpoints as people see them: tables in Jupyter, and short lines."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import pytest

from langgraph_sessions import Session, SessionPage
from langgraph_sessions.cli.tables import ago as terminal_ago
from langgraph_sessions.models import CheckpointInfo, CheckpointList, SessionList
from langgraph_sessions.tables import ago, clock, display, local
from tests.plans import session_row
from tests.support import Chat

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
THREAD = "alice_49f8e792-e18c-4ed0-a1e4-808108d03e91"
LONG = "A very long title. " * 13
MARKUP = "<script>alert(1)</script>\" onmouseover='x' &"


def session(title: str = "Rome", **changed: Any) -> Session:
    """Return a session as a listing has it."""
    return Session.from_row(session_row("alice", THREAD, title=title, **changed), listed=True)


def checkpoint(step: int, **changed: Any) -> CheckpointInfo:
    """Return a checkpoint of a step."""
    info = CheckpointInfo(f"c{step}", f"c{step - 1}", NOW, "loop", step, None)
    return dataclasses.replace(info, **changed)


class Table(HTMLParser):
    """What a table shows, and what of it is well formed.

    Attributes:
        rows: The texts of its cells.
        seen: All elements with their attributes.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        self.seen.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tr" in self._open:
            self.rows[-1][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element *tag*."""
        return [attributes for name, attributes in self.seen if name == tag]


def shown(thing: Any) -> Table:
    return Table(thing._repr_html_())


def test_a_page_is_a_table() -> None:
    """A row for each session, numbered as the page is indexed, with what its fields are called."""
    table = shown(SessionPage((session(), session("CV", agent="guide", is_active=False))))
    names = ["title", "user_id", "agent", "status", "is_active", "updated_at", "created_at"]
    assert table.rows[0] == ["", *names, "thread_id"]
    assert table.rows[1][:6] == ["0", "Rome", "alice", "", "idle", "yes"]
    assert table.rows[2][:6] == ["1", "CV", "alice", "guide", "idle", "no"]
    assert [row[-1] for row in table.rows[1:]] == [THREAD, THREAD]


def test_one_session_is_a_table_without_a_number() -> None:
    """And without columns of which nothing is known."""
    table = shown(Session.from_row(session_row("alice", THREAD, title="Rome")))
    assert table.rows[0][:4] == ["", "title", "user_id", "is_active"]
    assert table.rows[1][:2] == ["", "Rome"]


def test_a_time_is_relative_with_the_exact_one_at_hand() -> None:
    """The cell says how long ago it was; the pointer over it shows when."""
    moment = datetime.now(UTC) - timedelta(hours=3, minutes=5)
    table = shown(session(updated_at=moment))
    assert "3 hours ago" in table.rows[1]
    assert table.of("time")[0] == {"datetime": moment.isoformat(), "title": display(moment)}


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=-59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(days=1, hours=23), "1 day ago"),
        (timedelta(days=30), "30 days ago"),
        (timedelta(days=31), "2026-01-29"),
        (timedelta(hours=-2), "in 2 hours"),
        (NOW - datetime.min.replace(tzinfo=UTC), "0001-01-01"),
        (NOW - datetime.max.replace(tzinfo=UTC), "9999-12-31"),
    ],
)
def test_how_long_ago_it_was(before: timedelta, told: str) -> None:
    """In the largest unit that fits; from 30 days on, the date."""
    assert ago(NOW - before, NOW) == told


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_ends_of_time_are_shown_in_every_zone(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`infinity` in a row is the last day that there can be, wherever one looks at it."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        first, last = (end.replace(tzinfo=UTC) for end in (datetime.min, datetime.max))
        assert clock(first).startswith("0001-01-01 ")
        assert clock(last).startswith("9999-12-31 ")
        assert display(local(last)).startswith("9999-12-31 ")
        assert (terminal_ago(first, NOW), terminal_ago(last, NOW)) == ("0001-01-01", "9999-12-31")
        assert clock(NOW) == f"{NOW.astimezone():%Y-%m-%d %H:%M:%S}"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_long_title_is_cut_with_the_whole_at_hand() -> None:
    """It takes no more than its place, and the pointer over it shows all of it."""
    table = shown(session(LONG))
    (title,) = (each for each in table.of("div") if "title" in each)
    assert title["title"] == LONG
    assert "text-overflow:ellipsis" in str(title["style"])
    assert LONG in table.rows[1]


@pytest.mark.parametrize("thing", [session, lambda title: SessionPage((session(title),))])
def test_what_users_wrote_is_text(thing: Any) -> None:
    """No title is markup, in its cell or beside it."""
    table = shown(thing(MARKUP))
    assert MARKUP in table.rows[1]
    (title,) = (each for each in table.of("div") if "title" in each)
    assert set(title) == {"dir", "style", "title"}
    assert not table.of("script")


def test_a_thread_id_of_a_users_is_text() -> None:
    """It may be whatever a client gave."""
    table = shown(Session.from_row(session_row(MARKUP, MARKUP)))
    assert table.rows[1].count(MARKUP) == 2
    assert not table.of("script")


def test_tables_are_legible_in_light_and_dark() -> None:
    """They name no colour, need no style sheet, and scroll where they are too wide."""
    page = SessionPage((session(LONG), session()), "more")
    for html in (page._repr_html_(), CheckpointList([checkpoint(1)])._repr_html_()):
        assert "color" not in html
        assert "<style" not in html
        assert "class=" not in html
        assert html.startswith('<div style="overflow-x:auto">')


def test_an_empty_page_says_so() -> None:
    """So does an empty list."""
    assert SessionPage(())._repr_html_() == SessionList()._repr_html_() == "<p>No sessions.</p>"
    assert CheckpointList()._repr_html_() == "<p>No checkpoints.</p>"


def test_a_page_says_that_there_is_more() -> None:
    """And how to have it; the last one does not."""
    assert "page.next_cursor" in SessionPage((session(),), "more")._repr_html_()
    assert "next_cursor" not in SessionPage((session(),))._repr_html_()
    assert repr(SessionPage((session(),), "more")).startswith("<SessionPage of 1, and more\n")


def test_checkpoints_are_a_table() -> None:
    """With what `fork_session` takes, whole, and the runs' ids where there are any."""
    table = shown(CheckpointList([checkpoint(1), checkpoint(0, parent_id=None)]))
    head = ["", "step", "source", "created_at", "checkpoint_id", "parent_id"]
    assert table.rows[0] == head
    assert table.rows[1][-2:] == ["c1", "c0"]
    assert table.rows[2][-2:] == ["c0", ""]
    assert shown(checkpoint(1, run_id="r")).rows[0] == [*head, "run_id"]


async def test_what_the_manager_lists_are_tables(chat: Chat) -> None:
    """Pages, lists and checkpoints of both managers; their lists are lists."""
    await chat.say("Plan a trip", user_id="alice")
    (current,) = active = await chat.session("list_active_sessions", "alice")
    checkpoints = await chat.session("list_checkpoints", "alice", current.thread_id)
    page = await chat.session("list_sessions", "alice")
    for listed in (page, active, checkpoints):
        assert len(shown(listed).rows) == 1 + len(listed)
    assert isinstance(active, list)
    assert isinstance(checkpoints, list)
    assert {each.created_at.tzinfo for each in (*page, *active, *checkpoints)} == {UTC}


def test_times_are_in_utc_whatever_the_servers_zone() -> None:
    """So that those of all lists are of one zone, and in order as text, too."""
    rome = timezone(timedelta(hours=2))
    moment = datetime(2026, 5, 1, 12, tzinfo=rome)
    found = session(created_at=moment)
    assert found.created_at == moment
    assert found["created_at"] == "2026-05-01T10:00:00+00:00"


def test_a_list_is_short_in_a_print() -> None:
    """A line for each, with thread, user and state; a title belongs in no log."""
    one = f"<Session '{THREAD}' of 'alice', idle>"
    assert repr(session()) == str(session()) == one
    assert repr(SessionList([session()])) == f"[{one}]"
    assert repr(SessionPage((session(), session()))).splitlines() == [
        "<SessionPage of 2",
        f"  {one}",
        f"  {one}>",
    ]
    bare = session_row("alice", "t")
    assert repr(Session.from_row(bare)) == "<Session 't' of 'alice', active>"
    assert repr(Session.from_row({**bare, "is_active": False})).endswith("inactive>")
    assert repr(checkpoint(3)) == "<CheckpointInfo 'c3': step 3, loop>"
