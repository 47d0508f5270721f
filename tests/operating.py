"""Operators' commands in this process, and conversations for them to work on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
from langchain_core.messages import AIMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import interrupt

from langgraph_sessions import Session, SessionSaver
from langgraph_sessions.embedded.server import find_binaries
from tests.support import TABLES, config, graph_builder, past_pooler

Db = psycopg.Connection[Any]

EVIL = "\x1b[31m[bold]red[/bold]\u202e\nrole> x"


class Done(NamedTuple):
    """How a command ended, and what it printed.

    Attributes:
        err: Its errors, without the line that says which database it is on.
        database: That line's, if there is one.
    """

    status: int
    out: str
    err: str
    database: str | None = None

    @property
    def json(self) -> Any:
        """What it printed, read as one JSON document."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)


Operate = Callable[..., Done]


def talk(saver: SessionSaver, user_id: str, text: str, **configurable: Any) -> Session:
    """Say something in a session, and return it."""
    graph = graph_builder().compile(checkpointer=saver)
    graph.invoke({"messages": [text]}, config(user_id=user_id, **configurable))
    saver.sessions.clear_memory_cache()
    return saver.sessions.get_current_user_session(user_id)


def ask(state: Any) -> dict[str, Any]:
    """Wait for an answer."""
    return {"messages": [AIMessage(interrupt("Go on?"))]}


def leave_behind(url: str, thread_id: str, **configurable: Any) -> None:
    """Let a plain PostgresSaver save a thread."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        plain.setup()
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["Long ago"]}, config(thread_id=thread_id, **configurable))


def contents(db: Db) -> dict[str, list[Any]]:
    """Return every row of every table."""
    return {
        table: sorted(map(str, db.execute(f"SELECT * FROM {table}").fetchall())) for table in TABLES
    }


def age(db: Db, *thread_ids: str, days: int = 100) -> None:
    """Let sessions, and what is in them, be older."""
    db.execute(
        "UPDATE user_sessions SET created_at = now() - make_interval(days => %(days)s), "
        "updated_at = now() - make_interval(days => %(days)s) WHERE thread_id = ANY (%(ids)s)",
        {"days": days, "ids": list(thread_ids)},
    )
    db.execute(
        "UPDATE checkpoints SET checkpoint = checkpoint || jsonb_build_object('ts', "
        "now() - make_interval(days => %s)) "
        "WHERE thread_id = ANY (%s)",
        [days, list(thread_ids)],
    )


def psql(url: str, script: str) -> None:
    """Run *script* in one go; psql comes with the embedded PostgreSQL."""
    program = shutil.which("psql", path=f"{find_binaries()}:{os.environ['PATH']}")
    assert program
    command = [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", url]
    subprocess.run(command, input=script, text=True, check=True, stdout=subprocess.DEVNULL)
