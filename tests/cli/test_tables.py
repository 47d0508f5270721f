"""Lists in terminals of any width: no id is cut or folded, and nothing runs over the edge else."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from langgraph_sessions import Session
from langgraph_sessions.cli.durations import duration
from langgraph_sessions.cli.tables import ago, cells, cut, sessions_list
from langgraph_sessions.cli.terminal import session_table
from tests.plans import session

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TITLES = [
    "Plan a trip to Rome and then by night train to Naples, with children and luggage",
    "請幫我計劃一次去羅馬的旅行、然後坐夜車去那不勒斯、帶著孩子和很多行李、謝謝你",
    "👩‍👩‍👧‍👦 family 🎉🎉 party ideas for a rainy Sunday 🌧️ in November, please",
    "New Chat",
]
IDS = ["f1cac3e1-af93-42b9-8864-5f101933290a", "alice_" + "x" * 36, "support-" + "y" * 72]


def sessions(*ids: str) -> list[Session]:
    """Return sessions with these thread ids, and titles of all kinds."""
    return [
        session(id=number, thread_id=thread_id, title=title, updated_at=NOW - timedelta(hours=3))
        for number, (thread_id, title) in enumerate(
            [(thread_id, title) for thread_id in ids for title in TITLES], 1
        )
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160])
def test_ids_are_whole_and_all_else_fits(width: int) -> None:
    """An id stands in one piece; a line that is wider is an id's own."""
    for ids in ([IDS[0]], IDS):
        lines = sessions_list(sessions(*ids), NOW, width).splitlines()
        for thread_id in ids:
            assert sum(thread_id in line.split() for line in lines) == len(TITLES)
        wide = [line.strip() for line in lines if cells(line) > width]
        assert {line for line in wide if not line.startswith("#")} <= {*ids}


def test_in_a_pipe_each_session_is_a_whole_line() -> None:
    """Nothing is cut, not even a title."""
    _, *lines = sessions_list(sessions(*IDS), NOW, None).splitlines()
    assert len(lines) == len(IDS) * len(TITLES)
    assert all(line.endswith(title) for line, title in zip(lines, TITLES * len(IDS), strict=True))


def test_columns_stand_below_each_other() -> None:
    """By cells, whatever takes two of them."""
    listed = [
        session(user_id=user, title="T", status="idle", updated_at=NOW)
        for user in ("愛麗絲", "bob")
    ]
    lines = sessions_list(listed, NOW, None).splitlines()
    ends = [cells(line.partition("0 s ago" if "ago" in line else "Used")[0]) for line in lines]
    assert len({*ends}) == 1


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_chats_list_has_room_for_titles(width: int) -> None:
    """In a narrow terminal, too, words of each title are seen, and no line runs over the edge."""
    console = Console(width=width, file=(printed := io.StringIO()))
    console.print(session_table(sessions(IDS[0]), "#", ["1 *", "2", "3", "4"], width))
    shown = printed.getvalue()
    for word in ("Plan", "Naples", "New Chat", "Title", "Active", f"{NOW.astimezone():%Y-%m-}"):
        assert word in shown
    assert max(map(cells, shown.splitlines())) <= width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("Rome", 4, "Rome"),
        ("Rome in May", 6, "Rome…"),
        ("羅馬的旅行", 6, "羅馬…"),
        ("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 3, "👩‍👩‍👧‍👦…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
    ],
)
def test_what_is_cut_ends_with_a_whole_character(text: str, width: int, shown: str) -> None:
    """As people see one."""
    assert cut(text, width) == shown
    assert cells(shown) <= width


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (timedelta(seconds=-5), "0 s ago"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=59), "59 d ago"),
        (timedelta(days=61), "2025-12-30"),
        (timedelta(days=-1), "2026-03-02"),
    ],
)
def test_how_long_ago(passed: timedelta, told: str) -> None:
    """In the largest unit that fits; the day, of what is far away or to come."""
    assert ago(NOW - passed, NOW) == told


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("3w", timedelta(weeks=3)),
        ("90 days", timedelta(days=90)),
        (" 1  week ", timedelta(weeks=1)),
        ("5 minutes", timedelta(minutes=5)),
        ("3M", None),
        ("3 months", None),
        ("3", None),
        ("w", None),
        ("1.5d", None),
        ("1d 2h", None),
    ],
)
def test_durations(text: str, found: timedelta | None) -> None:
    """With the letter of a unit or its name; months have no length of their own."""
    assert duration(text) == found
