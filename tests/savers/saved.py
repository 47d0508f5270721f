"""What the tables hold of a thread, and of the only session that a user has."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from langgraph_sessions import Session
from tests.support import Chat, config, texts

Connection = psycopg.Connection[Any]

CHECKPOINT_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
ALICE = config(user_id="alice")

STORED = """
SELECT thread_id, checkpoint_ns FROM checkpoints
UNION SELECT thread_id, checkpoint_ns FROM checkpoint_blobs
UNION SELECT thread_id, checkpoint_ns FROM checkpoint_writes"""


def namespaces(db: Connection) -> dict[str, set[str]]:
    """Return the namespaces that the three tables hold of each thread, without task ids."""
    found: dict[str, set[str]] = {}
    for row in db.execute(STORED):
        bare = re.sub(r":[0-9a-f-]{36}", "", row["checkpoint_ns"])
        found.setdefault(row["thread_id"], set()).add(bare)
    return found


async def only_session(chat: Chat, db: Connection, *inner: str, user_id: str = "alice") -> Session:
    """Return the user's only session, after a look at where everything was saved.

    All of the root graph's rows, and the *inner* namespaces', are in its thread, and each
    checkpoint says whose it is.
    """
    (session,) = await chat.sessions(None)
    assert session.user_id == user_id
    assert namespaces(db) == {session.thread_id: {"", *inner}}
    owners = db.execute("SELECT DISTINCT metadata ->> 'user_id' AS owner FROM checkpoints")
    assert [row["owner"] for row in owners] == [user_id]
    return session


async def conversation(chat: Chat, graph: Any, session: Session) -> list[str]:
    """Return the texts of what *graph* keeps in a session."""
    return texts(await chat.call(graph, "get_state", session.config))


def counts(db: Connection, thread_id: str) -> dict[str, int]:
    """Count the rows that each table holds of a thread."""
    tables = ("user_sessions", *CHECKPOINT_TABLES)
    query = "SELECT count(*) FROM {} WHERE thread_id = %s"
    return {t: db.execute(query.format(t), [thread_id]).fetchone()["count"] for t in tables}  # type: ignore[arg-type, index]
