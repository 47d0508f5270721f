"""What is logged: constant messages, with what they are about beside them."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver

from langgraph_sessions import SessionSaver
from tests.documents import GUIDE
from tests.shape import PACKAGE, modules
from tests.support import config, graph_builder, past_pooler

LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield all calls in the package of methods with these *names*, with where they stand."""
    for module, path in modules(PACKAGE).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in names:
                yield f"{module}:{node.lineno}", node


def logged() -> dict[str, ast.Call]:
    """Return the calls that log something."""
    loggers = ("logger", "logging", "log")
    return {
        place: call
        for place, call in calls(*LEVELS)
        if ast.unparse(call.func).rpartition(".")[0].endswith(loggers)
    }


# What a message may quote: what an error is, and the place in a database's address.
QUOTED = ([], ["described(error)"], ["never_reached", "described(error)"])


def test_messages_are_constant() -> None:
    """Each is a literal, followed by a described error and a place at most; all else is `extra`."""
    assert len(logged()) >= 8
    for place, call in logged().items():
        message, *arguments = call.args
        assert isinstance(message, ast.Constant), place
        assert isinstance(message.value, str), place
        assert [ast.unparse(each) for each in arguments] in QUOTED, place
        assert message.value.count("%") == len(arguments), place
        assert [keyword.arg for keyword in call.keywords] in ([], ["extra"]), place


def test_there_is_one_logger() -> None:
    """No other is asked for, but psycopg's, to which the commands give a handler."""
    asked = {ast.unparse(call) for _, call in calls("getLogger")}
    assert asked == {
        "logging.getLogger('langgraph_sessions')",
        "logging.getLogger('psycopg')",
    }


def test_every_message_is_told() -> None:
    """Each begins as a row of the guide's table says, and each of those is one."""
    table = GUIDE["tracing"].read_text().partition("| message |")[2].partition("```")[0]
    rows = re.findall(r"^\| ([a-z].*?) \|", table, re.MULTILINE)
    told = {begin: False for row in rows for begin in row.split("; ")}
    for place, call in logged().items():
        message = ast.literal_eval(call.args[0])
        begins = [begin for begin in told if message.startswith(begin)]
        assert begins, f"{place}: {message}"
        told.update(dict.fromkeys(begins, True))
    assert all(told.values()), told


def only(caplog: pytest.LogCaptureFixture, message: str) -> Any:
    """Return what the only record with this *message* says."""
    (record,) = [record for record in caplog.records if record.msg.startswith(message)]
    assert record.name == "langgraph_sessions"
    return record


@pytest.mark.server
def test_a_titler_that_fails_is_told_with_its_thread(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And with the place of its error."""

    def fails(messages: Any) -> str:
        raise RuntimeError

    with SessionSaver(url, titler=fails) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["Hi"]}, config(user_id="alice", thread_id="t"))
    assert only(caplog, "a titler failed").thread_id == "t"


@pytest.mark.server
def test_a_thread_that_is_not_adopted_is_told_by_its_id(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One whose id is too long for a session is left as it is."""
    thread_id = "t" * 300
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        where = {**config(thread_id=thread_id), "metadata": {"user_id": "alice"}}
        graph.invoke({"messages": ["Hi"]}, where)
    with SessionSaver(url) as saver:
        assert saver.sessions.backfill()["skipped"] == 1
    assert only(caplog, "a thread was not adopted").thread_id == thread_id


@pytest.mark.server
def test_what_is_lost_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A program that ends while the database is away says how many changes it held."""
    with (
        caplog.at_level(logging.INFO, "langgraph_sessions"),
        SessionSaver("postgresql://127.0.0.1:1/none", retry_for=0) as saver,
    ):
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["Hi"]}, config(user_id="alice"), durability="exit")
    assert only(caplog, "closed while the database is away").changes == 1
