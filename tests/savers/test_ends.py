"""How a saver ends: closed, forgotten by its program, dropped, or in a child that forks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from langgraph_sessions import SessionSaver
from tests.support import CLIENTS, psycopg_pool_options, python, until

OPTIONS = psycopg_pool_options()


def test_close_closes_what_was_opened_and_nothing_else(url: str) -> None:
    """The pool of a URL is closed; a given connection or pool stays open."""
    with SessionSaver(url) as saver:
        saver.sessions.count_sessions()
    assert isinstance(saver.conn, ConnectionPool)
    assert saver.conn.closed
    with ConnectionPool(url, kwargs=OPTIONS, open=True) as pool:
        with SessionSaver(pool) as saver:
            saver.sessions.count_sessions()
        assert not pool.closed
    with Connection.connect(url, **OPTIONS) as conn:
        SessionSaver(conn).close()
        assert not conn.closed


FORK = """
import os, sys
from langgraph_sessions import SessionSaver
from tests.support import config, graph_builder
saver = SessionSaver(sys.argv[1], pool_size=1)
graph = graph_builder().compile(checkpointer=saver)
graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
pid = os.fork()
if pid == 0:
    sys.exit(0)
os.waitpid(pid, 0)
print(len(graph.invoke({"messages": ["hi"]}, config(user_id="alice"))["messages"]))
"""


def test_a_forked_child_that_ends_leaves_the_parents_connections(url: str) -> None:
    """A child's exit does not say good-bye on its parent's sockets."""
    ended = subprocess.run(
        [sys.executable, "-c", FORK, url], capture_output=True, text=True, cwd=os.getcwd()
    )
    assert (ended.stdout, ended.stderr) == ("4\n", "")


UNCLOSED = """
import sys, threading
from langgraph_sessions import SessionSaver
from tests.support import config, graph_builder
saver = SessionSaver(sys.argv[1])
graph = graph_builder().compile(checkpointer=saver)
graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
print("done")
"""

UNCLOSED_ASYNC = """
import asyncio, sys
from langgraph_sessions import AsyncSessionSaver
from tests.support import config, graph_builder
async def main():
    global saver
    saver = AsyncSessionSaver(sys.argv[1])
    graph = graph_builder().compile(checkpointer=saver)
    await graph.ainvoke({"messages": ["hi"]}, config(user_id="alice"))
    print("done")
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [UNCLOSED, UNCLOSED_ASYNC], ids=["sync", "async"])
def test_a_saver_that_nobody_closed_ends_with_the_program(
    program: str, direct_url: str, db: Connection[Any]
) -> None:
    """No warning, no hang, no connection left."""
    ended = python(program, direct_url, cwd=os.getcwd())
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
    until(lambda: not db.execute(CLIENTS).fetchall())


def test_a_saver_that_is_dropped_goes(url: str) -> None:
    """A saver that nobody holds any more is collected, and its connections with it."""
    saver = SessionSaver(url)
    saver.sessions.count_sessions()
    gone = weakref.ref(saver._database)
    del saver
    gc.collect()
    assert gone() is None
