"""What is saved is one statement: LangGraph's own as parts of it, and a guard of ours."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver

from langgraph_sessions.plans import Execute, ExecuteMany, Statement
from langgraph_sessions.sql.saving import (
    MOST_ROWS,
    Beside,
    Guard,
    GuardPlainThread,
    GuardThread,
    PutSession,
    _combined,
    fits,
)

CHECKPOINT = Execute(PostgresSaver.UPSERT_CHECKPOINTS_SQL, tuple("tcidpm"))
PLACE: dict[str, Any] = {"user_id": "alice", "thread_id": "t"}
PUT = PutSession(**PLACE)
FIRST = PutSession(**PLACE, known=True, checked=True, save="r.0", own="9", first=True, idle=True)
OURS = GuardThread(**PLACE, checked=True, save="r.1")


def rows(number: int, sql: str = PostgresSaver.INSERT_CHECKPOINT_WRITES_SQL) -> ExecuteMany:
    """Return what LangGraph executes for so many rows of parameters."""
    width = sql.count("%s")
    return ExecuteMany(
        sql, [tuple(f"{row}.{each}" for each in range(width)) for row in range(number)]
    )


def flat(*parts: ExecuteMany) -> list[Any]:
    """Return all parameters of these, row by row."""
    return [each for part in parts for row in part.rows for each in row]


# --- The statement ------------------------------------------------------------------------------

GUARDS = [
    pytest.param(GuardPlainThread("t"), id="nobody's"),
    pytest.param(PUT, id="with the session"),
    pytest.param(FIRST, id="a touch of the session"),
    pytest.param(OURS, id="without it"),
    pytest.param(GuardThread(**PLACE, checked=True, save="r.1", named=False), id="unnamed"),
    pytest.param(GuardThread(**PLACE, save="r.1"), id="unchecked"),
    pytest.param(GuardThread(**PLACE), id="outside a run"),
]
SAVED: list[Any] = [
    pytest.param([], id="nothing"),
    pytest.param([CHECKPOINT], id="a checkpoint"),
    pytest.param([rows(2, PostgresSaver.UPSERT_CHECKPOINT_BLOBS_SQL), CHECKPOINT], id="with blobs"),
    pytest.param([rows(3)], id="writes"),
]


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("guard", GUARDS)
def test_every_placeholder_has_its_parameter(guard: Guard, saved: list[Statement]) -> None:
    """First those of the part that comes before, then LangGraph's, then those of the guard."""
    beside = Beside(guard, saved)
    given = list(map(repr, beside.params or ()))
    assert beside.sql.count("%s") == len(given)
    assert beside.sql.endswith(guard.sql)
    before = guard.part.count("%s")
    assert given[:before] + given[len(given) - len(guard.params) + before :] == [
        *map(repr, guard.params)
    ]


def test_langgraphs_statements_are_parts_of_one() -> None:
    """In their order, behind the part that locks the thread; the guard's own SELECT is last."""
    blobs = rows(2, PostgresSaver.UPSERT_CHECKPOINT_BLOBS_SQL)
    sql = Beside(OURS, [blobs, CHECKPOINT]).sql
    names = ["WITH thread AS (", "saved0 AS (", "saved1 AS (", "SELECT CASE"]
    places = [sql.index(name) for name in names]
    assert places == sorted(places)
    assert ";" not in sql


def test_nothing_beside_a_guard_is_the_guard_alone() -> None:
    """As it ends a batch whose rows are too many to be parts."""
    assert Beside(PUT, []).sql == PUT.sql
    assert Beside(OURS, []).sql == f"WITH {OURS.part}{OURS.sql}"


def test_rows_are_merged_into_one_insert() -> None:
    """Each gets a VALUES row, and its parameters stand in their order."""
    three = rows(3)
    values = f"({', '.join(['%s'] * len(three.rows[0]))})"
    for number in (1, 3):
        sql = Beside(GuardPlainThread("t"), [rows(number)]).sql
        assert f"VALUES {', '.join([values] * number)} ON CONFLICT" in " ".join(sql.split())
    beside = Beside(GuardPlainThread("t"), [three])
    assert list(beside.params or ())[:-1] == flat(three)


def test_equal_statements_are_one_object() -> None:
    """So the server prepares them once: what differs is in the parameters."""
    many = [
        Beside(GuardThread(user_id="alice", thread_id=thread), [rows(2)]) for thread in ("t", "u")
    ]
    assert many[0].sql is many[1].sql


# --- What fits ----------------------------------------------------------------------------------

UPSERTS = PostgresSaver.UPSERT_CHECKPOINT_WRITES_SQL
FITS = [
    pytest.param([CHECKPOINT], True, id="one row"),
    pytest.param([rows(MOST_ROWS), CHECKPOINT], True, id="as many rows as may be"),
    pytest.param([rows(MOST_ROWS + 1), CHECKPOINT], False, id="one more"),
    pytest.param([rows(1, UPSERTS)], True, id="one row that may overwrite"),
    pytest.param([rows(2, UPSERTS)], False, id="two that may, and may be the same"),
    pytest.param([], True, id="nothing"),
]


@pytest.mark.parametrize(("saved", "said"), FITS)
def test_few_rows_fit_that_cannot_meet(saved: list[Statement], said: bool) -> None:
    """PostgreSQL refuses one statement that changes a row twice, and plans many rows long."""
    assert fits(saved) is said


def test_there_are_few_statements_to_prepare() -> None:
    """As many as there are guards, statements of LangGraph's, and numbers of rows."""
    _combined.cache_clear()
    for guard in (PUT, FIRST, OURS):
        for number in range(1, MOST_ROWS + 1):
            for thread in range(5):
                assert Beside(guard, [rows(number)]).sql, thread
    assert _combined.cache_info().currsize == 3 * MOST_ROWS


# --- The guards ---------------------------------------------------------------------------------


def test_a_save_with_a_name_leaves_it() -> None:
    """One without locks the thread's row, so that nobody deletes it, and writes nothing."""
    assert "UPDATE session_threads SET last_save = %s" in OURS.part
    for guard in (GuardThread(**PLACE, save="r.1", named=False), GuardThread(**PLACE)):
        assert "UPDATE" not in guard.part.replace("FOR KEY SHARE", "")
        assert "FOR KEY SHARE" in guard.part


def test_a_checked_save_finds_a_name_of_its_own_run() -> None:
    """Named or not; an unchecked one, or one outside a run, looks at none."""
    own = "split_part(last_save, '.', 1) = %s"
    for named in (True, False):
        checked = GuardThread(**PLACE, checked=True, save="r.12", named=named)
        assert own in checked.part
        assert checked.params[-3:] == ("r", "t", "alice")
    assert own not in GuardThread(**PLACE, save="r.1").part
    assert own not in GuardThread(**PLACE, checked=True).part


def test_what_is_not_said_of_a_session_is_left_out() -> None:
    """What is said to be False is not: a session may be made inactive."""

    def told(**given: Any) -> dict[str, Any]:
        (jsonb,) = PutSession(**PLACE, **given).params
        return dict(jsonb.obj)

    assert {key for key, value in told().items() if value is not False} == set(PLACE)
    assert told(is_active=False)["is_active"] is False
    assert told(base="", channels=("a",)) == {**told(), "base": "", "channels": ("a",)}
    assert set(told(**{each.name: "x" for each in fields(PUT) if each.name not in PLACE})) == {
        each.name for each in fields(PUT)
    }
