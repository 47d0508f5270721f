"""Listings without a database: where a page ends, and whose cursor begins the next one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from langgraph_sessions.models import STATUSES
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.sql.listing import ACTIVE, FILTERS, STATUS, CountSessions, ListSessions
from tests.plans import THEN, play, session, session_row

LAST = session(id=7)

FILTERED: list[dict[str, Any]] = [
    {},
    {"user_id": "alice"},
    {"user_id": "bob"},
    {"user_id": "alice", "active": True},
    {"user_id": "alice", "active": False},
    {"active": True},
    {"title": "Trip"},
    {"title": "trip"},
    {"metadata": {"a": 1}},
    {"metadata": {"a": 2}},
    {"status": "idle"},
    {"status": "error"},
    {"updated_after": THEN},
    {"updated_before": THEN},
]


def begins(listing: Listing) -> tuple[Any, Any]:
    """Return where a listing that was given a cursor begins."""
    assert listing.conditions[-1] == FILTERS["after"]
    return listing.params["after_time"], listing.params["after_id"]


# --- Pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "more"), [(0, False), (1, False), (2, False), (3, True)])
def test_one_row_more_is_asked_for_to_see_whether_there_is_one(rows: int, more: bool) -> None:
    """A page has as many as were asked for; a cursor only where there are more."""
    listing = Listing("alice")
    found = [session_row(id=number) for number in range(9, 9 - rows, -1)]
    played = play(listing.page(2), found)
    assert played.asked == [ListSessions(listing.conditions, listing.params, 3)]
    page = played.result
    assert [each.id for each in page] == [row["id"] for row in found[:2]]
    assert page.next_cursor == (listing.cursor_after(session(id=8)) if more else None)


def test_the_next_page_begins_after_the_last_one() -> None:
    """The cursor of a page is taken by a listing with the same filters."""
    rows = [session_row(id=9), session_row(id=8)]
    page = play(Listing("alice").page(1), rows).result
    assert begins(Listing("alice", cursor=page.next_cursor)) == (THEN, 9)


@pytest.mark.parametrize("limit", [0, -1, 1001, True, "20", None], ids=repr)
def test_a_page_has_1_to_1000_sessions(limit: Any) -> None:
    """Another limit is named."""
    with pytest.raises((TypeError, ValueError), match="limit"):
        Listing("alice").page(limit)


def test_everything_is_listed_and_counted_without_a_limit() -> None:
    """`all` and `count` ask with the same filters."""
    listing = Listing("alice", active=True)
    played = play(listing.all(), [session_row()])
    assert played.asked == [ListSessions(listing.conditions, listing.params)]
    assert played.result == [session()]
    played = play(listing.count(), [{"count": 5}])
    assert played.asked == [CountSessions(listing.conditions, listing.params)]
    assert played.result == 5


# --- Filters ------------------------------------------------------------------------------------


def test_a_filter_is_a_condition_only_where_it_is_given() -> None:
    """Nothing given filters nothing; each filter adds its own condition."""
    assert Listing().conditions == []
    every = Listing(
        7, active=False, title="T", status="idle", updated_after=THEN, updated_before=THEN
    )
    assert every.conditions == [
        *(FILTERS[name] for name in ("user_id", "title", "updated_after", "updated_before")),
        *(ACTIVE[False], STATUS["idle"]),
    ]
    assert every.params["user_id"] == "7"
    assert isinstance(Listing(metadata={"a": 1}).params["metadata"], Jsonb)
    assert set(STATUS) == set(STATUSES)


@pytest.mark.parametrize(
    ("title", "pattern"),
    [("50%", "50%"), ("1_2", "1_2"), ("1\\2", r"1\\2"), ("1.*", r"1\.\*"), ("?x", "\\?[xX]")],
)
def test_a_title_is_looked_for_as_it_is_written(title: str, pattern: str) -> None:
    """What has a meaning in regular expressions, or in LIKE, has none in it."""
    assert Listing(title=title).params["title"] == pattern


# --- Cursors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("filters", FILTERED, ids=repr)
def test_a_cursor_is_taken_by_its_listing_and_no_other(filters: dict[str, Any]) -> None:
    """With the same filters it begins after the session; with any others it is refused."""
    cursor = Listing(**filters).cursor_after(LAST)
    assert begins(Listing(**filters, cursor=cursor)) == (THEN, 7)
    for others in FILTERED:
        if others != filters:
            with pytest.raises(ValueError, match="same filters"):
                Listing(**others, cursor=cursor)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(1, 2**63 - 1))
def test_a_cursor_comes_back_as_it_went(moment: datetime, number: int) -> None:
    """To the microsecond, and with whatever id."""
    cursor = Listing("alice").cursor_after(session(id=number, updated_at=moment))
    assert begins(Listing("alice", cursor=cursor)) == (moment, number)


def test_a_cursor_keeps_its_moment_in_whatever_time_zone() -> None:
    """A server that shows times elsewhere names the same moment."""
    east = timezone(timedelta(hours=5, minutes=45))
    cursor = Listing().cursor_after(session(updated_at=THEN.astimezone(east)))
    assert begins(Listing(cursor=cursor))[0] == THEN


def mangled(cursor: str) -> list[str]:
    """Return what becomes of a cursor on a bad way, and what somebody makes up."""
    plain = base64.urlsafe_b64decode(cursor)
    other = plain.replace(b", 7]", b", 8]")
    made_up = [other, plain[:-1], plain[:16], b"0" * 16 + b"[1e999]", b"\xff" * 40, b"[" * 999]
    return [
        *("", "nonsense", "é", cursor[:-4], cursor + "AAAA", cursor.lower(), f" {cursor}"),
        *(base64.urlsafe_b64encode(text).decode() for text in made_up),
        *(cursor[:place] + "A" + cursor[place + 1 :] for place in (1, 20, 40)),
    ]


@pytest.mark.parametrize("cursor", mangled(Listing("alice").cursor_after(LAST)), ids=repr)
def test_a_mangled_cursor_is_refused(cursor: str) -> None:
    """Nothing of it reaches the database: what its digest does not vouch for is no place."""
    with pytest.raises(ValueError, match="cursor must be the next_cursor"):
        Listing("alice", cursor=cursor)


@pytest.mark.parametrize("cursor", [5, b"a", ["a"], True], ids=repr)
def test_a_cursor_is_a_str(cursor: Any) -> None:
    """Anything else is named."""
    with pytest.raises(TypeError, match="cursor must be a str"):
        Listing("alice", cursor=cursor)
