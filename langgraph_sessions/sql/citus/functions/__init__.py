"""The functions that are others on Citus than in `sql.functions`, or there alone."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from langgraph_sessions.sql import functions
from langgraph_sessions.sql.functions import Function
from langgraph_sessions.sql.retention import ThreadStates

OTHERS: Final = ("free", "plain", "exists")
MORE: Final = ("settle", "reserved", "lock", "try_lock", "move")

# A thread's state, as a function that is called on the node of its shard, for many at once; it
# reads nothing of another.
_STATE: Final = """
CREATE OR REPLACE FUNCTION user_sessions_state(p_thread_id text)
RETURNS jsonb LANGUAGE plpgsql
SET citus.allow_nested_distributed_execution = on SET search_path FROM CURRENT AS $$
-- The row of a thread that `sql.retention.ThreadStates` returns, on the node of its shard, which
-- does not know the search path of who calls it.
BEGIN
    RETURN (SELECT pg_catalog.to_jsonb(state) FROM ({state}) AS state);
END $$;"""


@cache
def load() -> tuple[Function, ...]:
    """Return all functions of a distributed database, in the order in which they are created."""
    folder = resources.files(__name__)
    others = {
        name: functions.parsed((folder / f"{name}.sql").read_text("utf-8"))
        for name in (*OTHERS, *MORE)
    }
    whole = [others.pop(file, function) for file, function in functions.by_file().items()]
    return (*whole, *others.values(), functions.parsed(_STATE.strip().replace("{state}", _state())))


def _state() -> str:
    """Return the SQL of `ThreadStates` for the one thread *p_thread_id*."""
    sql = ThreadStates.sql.replace("%%", "%").replace("SELECT s.thread_id,", "SELECT thread_id,", 1)
    sql = sql.replace("FROM unnest(%(thread_ids)s::text[]) AS s (thread_id)", _ONE)
    return sql.replace("s.thread_id", "p_thread_id")


_ONE: Final = "FROM (SELECT p_thread_id AS thread_id) AS s"
