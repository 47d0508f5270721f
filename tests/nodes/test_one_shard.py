"""What a user does goes to the shards of the user and of the thread, and to no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from langgraph.types import Command

from langgraph_sessions import SessionSaver
from langgraph_sessions.sql.citus.distributing import THREADS, USERS
from tests.nodes.cluster import needs_citus
from tests.support import asking, config, graph_builder

pytestmark = needs_citus

_SHARD = re.compile(rf"\b(?:{'|'.join((*THREADS, *USERS))})_(\d{{5,}})\b")
_OWN = """
SELECT get_shard_id_for_distribution_column(name::regclass, %(key)s::text) AS shard
FROM unnest(%(tables)s::text[]) AS name"""


class Sent:
    """What is sent to workers meanwhile: the shards that each command names."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.commands: list[set[int]] = []
        conn.add_notice_handler(self._note)
        conn.execute("SET client_min_messages = log")
        conn.execute("SET citus.log_remote_commands = on")

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        said = notice.message_primary or ""
        shards = {int(each) for each in _SHARD.findall(said)}
        if shards and said.startswith("issuing "):
            self.commands.append(shards)

    @contextmanager
    def of(self, what: str, own: set[int]) -> Iterator[None]:
        self.commands.clear()
        yield
        assert self.commands, what
        print(f"{what}: {len(self.commands)} commands")
        assert set().union(*self.commands) <= own, what


@pytest.fixture
def conn(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


def test_each_command_of_a_users_turns_and_lists_goes_to_the_users_own_shards(
    conn: psycopg.Connection[Any], db: psycopg.Connection[Any]
) -> None:
    """Runs, questions and answers, lists, names, switches and histories."""

    def shards(tables: tuple[str, ...], key: str) -> set[int]:
        rows = db.execute(_OWN, {"tables": list(tables), "key": key})
        return {row["shard"] for row in rows}

    saver = SessionSaver(conn)
    sessions, who = saver.sessions, config(user_id="alice")
    graph, asks = (each.compile(checkpointer=saver) for each in (graph_builder(), asking()))
    first = sessions.create_user_session("alice").thread_id
    second = sessions.create_user_session("alice").thread_id
    users = shards(USERS, "alice")
    own = users | shards(THREADS, second)
    given = {"messages": ["Hello"]}
    sent = Sent(conn)
    with sent.of("first run", own):
        graph.invoke(given, who)
    with sent.of("second run", own):
        graph.invoke(given, who)
    with sent.of("question", own):
        asks.invoke(given, who)
    with sent.of("answer", own):
        asks.invoke(Command(resume="yes"), who)
    with sent.of("list", users):
        sessions.list_sessions("alice")
    with sent.of("current", users):
        sessions.clear_memory_cache()
        sessions.get_current_user_session("alice")
    with sent.of("name", own):
        sessions.update_session("alice", {"title": "Title"}, thread_id=second)
    # Not yet so of `get_messages`: LangGraph's query for delta channels asks every shard.
    with sent.of("checkpoints", own):
        sessions.list_checkpoints("alice", second)
    with sent.of("switch", users | shards(THREADS, first)):
        sessions.switch_session("alice", first)
