"""LangGraph's own statements, as they are sent where Citus has distributed the tables."""

from __future__ import annotations

from langgraph.checkpoint.postgres.base import SELECT_SQL, _build_delta_stage1_sql

from langgraph_sessions.plans import Fetch
from langgraph_sessions.sql.citus.translating import translated


def test_sub_selects_name_the_thread_by_a_parameter_in_its_place() -> None:
    """So Citus finds the one shard, whatever parameters come before."""
    asked = translated(
        Fetch(f"{SELECT_SQL} WHERE thread_id = %s AND checkpoint_ns = %s", ["t", ""])
    )
    assert isinstance(asked, Fetch)
    assert "= checkpoints.thread_id" not in asked.sql
    assert asked.params == ["t", "t", "t", ""]


def test_a_history_of_channels_names_the_thread_between_its_channels() -> None:
    """Each channel's sub-select has it where it stands among the channel's own parameters."""
    sql = _build_delta_stage1_sql(["a", "b"], paged=False)
    given = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "t", ""]
    asked = translated(Fetch(sql, given[: sql.count("%s")]))
    assert isinstance(asked, Fetch)
    assert asked.sql.count("%s") == len(asked.params or ())
    assert asked.params == ["a1", "t", "a2", "a3", "a4", "b1", "t", "b2", "b3", "b4", *given[8:]]


def test_without_a_thread_all_shards_are_asked() -> None:
    """A list of everybody's checkpoints is the same statement, but for what Citus cannot send."""
    asked = translated(Fetch(f"{SELECT_SQL} ORDER BY checkpoint_id DESC", []))
    assert isinstance(asked, Fetch)
    assert "from (select * from jsonb_each_text" in asked.sql
