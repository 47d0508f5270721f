"""What a save reads does not grow with the conversation: by PostgreSQL's own account."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from langgraph_sessions.sql.saving import Beside, PutSession
from tests.answering import answering
from tests.support import config

Connection = psycopg.Connection[Any]

TURNS = 500
# Checkpoints older than those of the thread, and writes on them.
OLDER = (
    """INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)
    SELECT thread_id, '', '0' || number || checkpoint_id, checkpoint, metadata
    FROM checkpoints, generate_series(1, %(turns)s) AS number""",
    """INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx,
        channel, type, blob)
    SELECT thread_id, '', '0' || number || checkpoint_id, task_id, idx, channel, type, blob
    FROM checkpoint_writes, generate_series(1, %(turns)s) AS number""",
)


@pytest.mark.one_server("a generic plan cannot be forced there")
@pytest.mark.parametrize("touches", [False, True])
def test_a_runs_first_save_reads_no_older_turns(url: str, db: Connection, touches: bool) -> None:
    """Also of the only thread in the database, for which a whole table looks cheap to read."""
    with SessionSaver(url) as saver:
        graph = answering().compile(checkpointer=saver)
        graph.invoke({"messages": ["Hello"]}, config(user_id="alice", thread_id="t"))
    (found,) = db.execute("""
        SELECT (SELECT max(checkpoint_id) FROM checkpoints) AS base, last_save AS seen
        FROM session_threads""")
    for older in OLDER:
        db.execute(older, {"turns": TURNS})
    db.execute("VACUUM (ANALYZE)")
    put = PutSession(
        user_id="alice",
        thread_id="t",
        known=True,
        checked=True,
        save="next.1",
        first=True,
        own="9",
        idle=touches,
        **found,
    )
    assert put.touches == touches
    beside = Beside(put, ())
    # The plan that PostgreSQL keeps, for a function too, whatever it is called with.
    db.execute("SET plan_cache_mode = force_generic_plan")
    with db.transaction():
        before = rows_read(db)
        db.execute(beside.sql.encode(), beside.params, prepare=True)
        assert rows_read(db) - before <= 3


def rows_read(db: Connection) -> int:
    """Return how many rows of LangGraph's tables this connection has read of late."""
    (found,) = db.execute("""
        SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS number
        FROM pg_stat_xact_user_tables WHERE relname LIKE 'checkpoint%'""")
    number: int = found["number"]
    return number
