"""What others made in a later schema of the search path, to be called in place of PostgreSQL's.

It is chosen where it suits the arguments' types better than what PostgreSQL has itself.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from langgraph_sessions import SessionSaver
from tests.support import asking, config, graph_builder

Db = psycopg.Connection[Any]

TYPES = ("text", "varchar", "jsonb", "name", "oid", "regclass", "text[]", "public.user_sessions")
OPERATORS = ("=", "<>", "<", ">", "||", "->", "->>", "#>>", "!~")
FUNCTIONS = (
    "to_jsonb(public.user_sessions)",
    "format(text, text)",
    "format(text, text, text)",
    "quote_ident(name)",
    "concat(text, text)",
    "split_part(varchar, varchar, integer)",
    "jsonb_typeof(anyelement)",
    "user_sessions_latest(varchar)",
    "user_sessions_status_after(text, text)",
)


def trap(db: Db, signature: str, returns: str = "text") -> None:
    """Make a function that fails when it is called."""
    db.execute(
        f"CREATE FUNCTION later.{signature} RETURNS {returns} LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE 'trapped'; END $$".encode()
    )


@pytest.fixture
def trapped(db: Db) -> Db:
    """A connection by whose search path traps come after ours, for each pair of types."""
    db.execute("CREATE SCHEMA later")
    is_theirs = "SELECT to_regoperator(%s) IS NOT NULL AS found"
    for number, operator in enumerate(OPERATORS):
        for pair in product(TYPES, TYPES):
            types = ", ".join(pair)
            (row,) = db.execute(is_theirs, [f"pg_catalog.{operator}({types})"])
            if row["found"]:
                continue
            trap(db, f"trap_{number}({types})", "boolean" if operator in "=<>!~" else "text")
            db.execute(
                f"CREATE OPERATOR later.{operator} (LEFTARG = {pair[0]}, RIGHTARG = {pair[1]}, "
                f"FUNCTION = later.trap_{number})".encode()
            )
    for signature in FUNCTIONS:
        trap(db, signature)
    db.execute("SET search_path = public, later")
    return db


def test_the_traps_work(trapped: Db) -> None:
    """What leaves a type to be guessed falls into them."""
    for query in (
        "SELECT 'a'::varchar = 'b'",
        "SELECT 'a'::varchar = 'b'::text",
        "SELECT '{}'::jsonb ->> '[]'",
        "SELECT quote_ident('a'::name)",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="trapped"):
            trapped.execute(query.encode())


def test_our_functions_call_what_they_mean(saver: SessionSaver, url: str, trapped: Db) -> None:
    """None of them falls into a trap: its calls are qualified, or of PostgreSQL's exact types.

    Nor does a saver on connections of its own, which know no schema but the first.
    """
    where = config(user_id="alice", thread_id="t")
    graph_builder().compile(checkpointer=saver).invoke({"messages": ["One"]}, where)
    asking().compile(checkpointer=saver).invoke({"messages": ["Two"]}, where)
    owner = {"user_id": "alice", "agent": None}
    again = {**owner, "thread_id": "t", "known": True, "first": True, "title": "T"}
    call(trapped, "put", again | {"checked": True, "save": "r.1", "own": "9", "base": "8"}, "LGS04")
    call(trapped, "put", again | {"save": "r.1", "task": "x", "channels": ["__interrupt__"]})
    call(trapped, "put", {**owner, "thread_id": "new", "at": "2025-01-01", "own": "1"})
    call(trapped, "put", {**owner, "thread_id": "t", "agent": "another"}, "LGS01")
    call(trapped, "refuse", {**owner, "thread_id": "t"}, "LGS04")
    rows = trapped.execute("SELECT checkpoint_id AS id FROM checkpoints ORDER BY 1").fetchall()
    for number, row in enumerate([*rows, {"id": None}]):
        copy = {**owner, "source": "t", "target": f"copy-{number}", "checkpoint_id": row["id"]}
        call(trapped, "copy_session", copy | {"title": "Copy"})
    call(trapped, "copy_session", {"source": "t", "target": "copy-0"}, "LGS02")
    (row,) = trapped.execute("SELECT user_sessions_thread_owner('t'::text) AS owner")
    assert row["owner"] == "alice"
    assert saver.sessions.count_sessions("alice") == len(rows) + 3


def call(db: Db, function: str, given: dict[str, Any], error: str | None = None) -> None:
    """Call one of our functions, which raises *error*, if any."""
    query = f"SELECT user_sessions_{function}(%s)".encode()
    if error is None:
        db.execute(query, [Jsonb(given)])
        return
    with pytest.raises(psycopg.Error) as raised:
        db.execute(query, [Jsonb(given)])
    assert raised.value.sqlstate == error, raised.value
