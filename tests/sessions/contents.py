"""What the database holds of threads and users."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from langgraph_sessions import Session
from tests.support import TABLES, Chat, texts

Connection = psycopg.Connection[Any]

HISTORY = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


def stored(db: Connection, thread_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row of LangGraph's that a thread has, but for the thread id."""
    found = {}
    for table in HISTORY:
        sql: Any = f"SELECT to_jsonb(t) - 'thread_id' AS row FROM {table} AS t WHERE thread_id = %s"
        found[table] = sorted((row["row"] for row in db.execute(sql, [thread_id])), key=repr)
    return found


async def said(chat: Chat, graph: Any, session: Session) -> list[str]:
    """Return what *graph* finds said in a session."""
    return texts(await chat.call(graph, "get_state", session.config))


async def states(chat: Chat, graph: Any, session: Session) -> list[Any]:
    """Return the states of a session, oldest first."""
    return list(reversed(await chat.call(graph, "get_state_history", session.config)))


def checkpoint_id(state: Any) -> str:
    """Return the id of a state's checkpoint."""
    return str(state.config["configurable"]["checkpoint_id"])


def everything(db: Connection) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    tables: dict[str, Any] = {table: f"SELECT t::text FROM {table} AS t" for table in TABLES}
    return {table: sorted(row["t"] for row in db.execute(sql)) for table, sql in tables.items()}


def mentioning(db: Connection, text: str) -> dict[str, int]:
    """Return how many rows of each table have *text* in a column, if any do."""
    found = {table: sum(text in row for row in rows) for table, rows in everything(db).items()}
    return {table: count for table, count in found.items() if count}


def count(db: Connection, table: str, thread_id: str) -> int:
    """Count the rows of a thread."""
    sql: Any = f"SELECT count(*) FROM {table} WHERE thread_id = %s"
    row = db.execute(sql, [thread_id]).fetchone()
    assert row is not None
    return int(row["count"])


async def exported(chat: Chat, user_id: Any) -> list[dict[str, Any]]:
    """Return all records of an export."""
    records = chat.saver.sessions.export_user(user_id)
    if hasattr(records, "__aiter__"):
        return [record async for record in records]
    return await asyncio.to_thread(list, records)
