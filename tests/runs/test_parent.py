"""LangGraph's own saver as plans: its statements, recorded, and its reading, begun anew."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.base import SELECT_SQL
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.constants import TASKS

from langgraph_sessions.plans import Execute, ExecuteMany, Fetch, Rows
from langgraph_sessions.runs import loading, parent
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory, LoadList
from langgraph_sessions.runs.parent import Parent
from tests.plans import NO_CHECKPOINT, Row, play
from tests.support import config

SERDE = JsonPlusSerializer()
PLACE = config(thread_id="t", checkpoint_ns="")
METADATA: Any = {"source": "loop", "step": 1}


def stored(checkpoint_id: str = "c1", parent_id: str | None = None, version: int = 4) -> Row:
    """Return a checkpoint's row, as SELECT_SQL returns it, with one blob and one write."""
    kind, blob = SERDE.dumps_typed(["a"])
    checkpoint = {**empty_checkpoint(), "v": version, "id": checkpoint_id}
    return {
        "thread_id": "t",
        "checkpoint_ns": "",
        "checkpoint_id": checkpoint_id,
        "parent_checkpoint_id": parent_id,
        "checkpoint": {**checkpoint, "channel_values": {"topic": "x"}},
        "metadata": METADATA,
        "channel_values": [(b"words", kind.encode(), blob)],
        "pending_writes": [(b"task", b"words", kind.encode(), blob, b"", b"0")],
    }


# --- Reading --------------------------------------------------------------------------------------


def test_a_read_begins_anew_with_each_answer() -> None:
    """Each question is asked once; what was answered before is there again, in order."""
    begun: list[int] = []

    def read(saver: Parent) -> list[Rows]:
        begun.append(len(saver.executed))
        rows = []
        for number in range(3):
            saver.execute(f"SELECT {number}", None)
            rows.append(saver.fetchall())
        return rows

    played = play(parent.reading(SERDE, read), [{"a": 0}], [], [{"a": 2}])
    assert played.asked == [Fetch(f"SELECT {number}") for number in range(3)]
    assert played.result == [[{"a": 0}], [], [{"a": 2}]]
    assert begun == [0, 0, 0, 0]


def test_a_statement_whose_rows_nobody_wants_is_not_asked() -> None:
    """What is executed and not fetched from is no question."""
    played = play(parent.reading(SERDE, lambda saver: saver.execute("SELECT 1", None)))
    assert (played.asked, played.result) == ([], None)


@pytest.mark.parametrize(("rows", "first"), [([], None), ([{"a": 1}, {"a": 2}], {"a": 1})])
def test_the_first_of_the_rows_is_fetched(rows: Rows, first: Any) -> None:
    """`fetchone` returns the first row, or `None`."""

    def read(saver: Parent) -> Any:
        saver.execute("SELECT 1", None)
        return saver.fetchone()

    assert play(parent.reading(SERDE, read), rows).result == first


def test_what_goes_wrong_with_a_question_is_raised() -> None:
    """An error of the database's passes through the parent's code."""
    error = ConnectionError("gone")
    load = LoadCheckpoint(None, PLACE, SERDE)
    assert play(load.plan(), error).error is error


def test_the_newest_checkpoint_is_read_with_the_parents_statement() -> None:
    """It is asked for as `PostgresSaver.get_tuple` does, and loaded as it does."""
    played = play(LoadCheckpoint(None, PLACE, SERDE).plan(), [stored(parent_id="c0")])
    (asked,) = played.asked
    assert asked.sql.startswith(SELECT_SQL)
    assert asked.sql.endswith("ORDER BY checkpoint_id DESC LIMIT 1")
    assert asked.params == ("t", "")
    found = played.result
    assert found.config == config(**PLACE["configurable"], checkpoint_id="c1")
    assert found.parent_config == config(**PLACE["configurable"], checkpoint_id="c0")
    assert found.checkpoint["channel_values"] == {"topic": "x", "words": ["a"]}
    assert found.pending_writes == [("task", "words", ["a"])]


def test_a_certain_checkpoint_is_asked_for_by_its_id() -> None:
    """The config's checkpoint, and no other."""
    place = config(**PLACE["configurable"], checkpoint_id="c1")
    played = play(LoadCheckpoint(None, place, SERDE).plan(), [])
    assert [each.params for each in played.asked] == [("t", "", "c1")]
    assert played.result is None


def test_pending_sends_of_an_old_checkpoint_are_a_second_question() -> None:
    """Before version 4 they were kept with the parent checkpoint."""
    kind, blob = SERDE.dumps_typed("send")
    sends = [{"checkpoint_id": "c0", "sends": [(kind.encode(), blob)]}]
    played = play(
        LoadCheckpoint(None, PLACE, SERDE).plan(), [stored(parent_id="c0", version=3)], sends
    )
    assert played.asked[1] == Fetch(PostgresSaver.SELECT_PENDING_SENDS_SQL, ("t", ["c0"]))
    assert played.result.checkpoint["channel_values"][TASKS] == ["send"]


@pytest.mark.parametrize(
    ("place", "filters", "params"),
    [
        (PLACE, {}, ["t", ""]),
        (PLACE, {"limit": 2}, ["t", "", 2]),
        (PLACE, {"before": config(checkpoint_id="c9")}, ["t", "", "c9"]),
        ({}, {}, []),
    ],
    ids=["a thread", "some of it", "before one", "everything"],
)
def test_a_list_is_the_parents(place: Any, filters: dict[str, Any], params: list[Any]) -> None:
    """It is asked at once, and returned as a list."""
    rows = [stored("c2", "c1"), stored("c1")]
    played = play(LoadList(None, place, SERDE, filters).plan(), rows)
    (asked,) = played.asked
    assert asked.params == params
    assert [found.checkpoint["id"] for found in played.result] == ["c2", "c1"]


def test_a_history_asks_the_parents_questions_in_turn() -> None:
    """Without a checkpoint id the newest is looked for first; without channels nothing is."""
    page = {"checkpoint_id": "c1", "parent_checkpoint_id": None, "ver_0": None, "hb_0": False}
    load = LoadHistory(None, PLACE, SERDE, channels=["words"])
    played = play(load.plan(), [stored()], [{**page, "inline_0": None}])
    assert [type(each) for each in played.asked] == [Fetch, Fetch]
    assert played.result == {"words": {"writes": []}}
    assert play(LoadHistory(None, PLACE, SERDE).plan()).result == {}


# --- What opened the thread has its checkpoint ----------------------------------------------------

LOAD = LoadCheckpoint(None, PLACE, SERDE)
FOUND = CheckpointTuple(PLACE, empty_checkpoint(), {}, None, [])


@pytest.mark.parametrize(
    ("row", "answers", "asked"),
    [
        pytest.param(NO_CHECKPOINT, [], [], id="there is none"),
        pytest.param({}, [FOUND], [LOAD], id="memory, which does not know"),
        pytest.param(
            stored(parent_id="c0", version=3), [FOUND], [LOAD], id="with a parent's sends"
        ),
    ],
)
def test_only_what_the_row_does_not_hold_is_asked_for(
    row: Row, answers: list[Any], asked: list[Any]
) -> None:
    """The question that opened the thread is the only one, where its answer is enough."""
    played = play(loading.from_row(row, LOAD), *answers)
    assert played.asked == asked
    assert played.result is (FOUND if answers else None)


@pytest.mark.parametrize("row", [stored(), stored(version=3)], ids=["new", "old, without a parent"])
def test_a_row_that_holds_the_checkpoint_is_loaded_as_the_parent_does(row: Row) -> None:
    """It is what the parent would have read, without another question."""
    played = play(loading.from_row(row, LOAD))
    assert played.asked == []
    assert played.result.checkpoint["channel_values"] == {"topic": "x", "words": ["a"]}


# --- Saving ---------------------------------------------------------------------------------------


def test_a_saved_checkpoint_is_the_parents_own_statements() -> None:
    """What `put` executes is recorded in its order: blobs, then the checkpoint."""
    values = {"topic": "x", "words": ["a"], "old": ["b"]}
    saved: Checkpoint = {**empty_checkpoint(), "id": "c1", "channel_values": values}
    place = config(**PLACE["configurable"], checkpoint_id="c0")
    saver = parent.Parent(SERDE)
    saver.put(place, saved, METADATA, {"topic": "1", "words": "1"})
    blobs, checkpoint = saver.executed
    kind, blob = SERDE.dumps_typed(["a"])
    assert blobs == ExecuteMany(
        PostgresSaver.UPSERT_CHECKPOINT_BLOBS_SQL, [("t", "", "words", "1", kind, blob)]
    )
    assert isinstance(checkpoint, Execute)
    assert checkpoint.sql == PostgresSaver.UPSERT_CHECKPOINTS_SQL
    assert isinstance(checkpoint.params, tuple)
    assert checkpoint.params[:4] == ("t", "", "c1", "c0")
    assert checkpoint.params[4].obj["channel_values"] == {"topic": "x"}
    assert checkpoint.params[5].obj == METADATA


@pytest.mark.parametrize(
    ("channel", "sql"),
    [
        ("words", PostgresSaver.INSERT_CHECKPOINT_WRITES_SQL),
        ("__interrupt__", PostgresSaver.UPSERT_CHECKPOINT_WRITES_SQL),
    ],
)
def test_saved_writes_are_the_parents_own_statement(channel: str, sql: str) -> None:
    """One statement, executed for each write."""
    place = config(**PLACE["configurable"], checkpoint_id="c1")
    saver = parent.Parent(SERDE)
    saver.put_writes(place, [(channel, "x")], "task", "path")
    (writes,) = saver.executed
    assert isinstance(writes, ExecuteMany)
    assert writes.sql == sql
    ((*key, _, _),) = writes.rows
    assert key[:5] == ["t", "", "c1", "task", "path"]
    assert key[6] == channel


def test_no_writes_are_no_statement() -> None:
    """A task that wrote nothing sends nothing of the parent's."""
    place = config(**PLACE["configurable"], checkpoint_id="c1")
    saver = parent.Parent(SERDE)
    saver.put_writes(place, [], "task")
    assert saver.executed == []
