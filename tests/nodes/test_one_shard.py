"""What a user does goes to the shards of the user and of the thread, each statement to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
import pytest
from langgraph.types import Command

from langgraph_sessions import SessionSaver
from langgraph_sessions.sessions import naming
from langgraph_sessions.sql.citus.distributing import THREADS, USERS
from tests.graphs import delta_graph
from tests.nodes.cluster import needs_citus
from tests.nodes.explaining import Watched, own, tasks
from tests.runs.test_fan_out import fan_out
from tests.support import Chat, asking, config, graph_builder

pytestmark = needs_citus

Db = psycopg.Connection[Any]
HELLO = {"messages": ["Hello"]}
NOW = datetime.now(UTC)


class Whose(NamedTuple):
    """Whose what was done is: a user's, and a thread's."""

    user: str | None
    thread: str


class Alice:
    """Alice, who has two sessions, through a connection that is watched.

    Attributes:
        first: The thread of the first one, in which she was asked something.
        second: That of the second one, which is current.
    """

    def __init__(self, conn: Watched) -> None:
        self.conn = conn
        self.saver, self.trusting = (
            SessionSaver(conn, trust_thread_id=trusts) for trusts in (False, True)
        )
        self.sessions = self.saver.sessions
        self.graph, self.asks = graph_builder(), asking()
        self.delta = delta_graph(Chat(self.saver), 5, node=lambda state: {"messages": ["Hi"]})
        self.trusting.sessions.count_sessions()  # Both find out about the tables.
        self.first = self.say(self.asks, user_id="alice").thread
        self.second = self.say(user_id="alice", title="Title", new_session=True).thread
        self.config = config(user_id="alice", thread_id=self.second)
        (*_, self.earlier) = self.compiled(self.graph).get_state_history(self.config, limit=3)
        self.sessions.clear_memory_cache()

    def compiled(self, builder: Any) -> Any:
        return builder.compile(checkpointer=self.saver)

    def say(
        self, graph: Any = None, given: Any = HELLO, durability: Any = None, **configurable: Any
    ) -> Whose:
        """Run a graph, and tell where that was."""
        if graph is not self.delta:
            graph = self.compiled(graph or self.graph)
        graph.invoke(given, config(**configurable), durability=durability)
        user = configurable.get("user_id")
        return Whose(user, configurable.get("thread_id") or self.current(user))

    def current(self, user: str) -> str:
        return self.sessions.get_current_user_session(user).thread_id

    def trust(self) -> Whose:
        """Run a graph by a thread's id alone."""
        graph = self.graph.compile(checkpointer=self.trusting)
        graph.invoke(HELLO, config(thread_id=self.first))
        return Whose("alice", self.first)

    def state(self, method: str, *args: Any) -> Whose:
        """Call a method of a graph."""
        assert [*getattr(self.compiled(self.graph), method)(self.config, *args)]
        return Whose("alice", self.second)

    def call(self, method: str, **given: Any) -> Whose:
        """Call a method of the manager for a thread."""
        getattr(self.sessions, method)("alice", self.second, **given)
        return Whose("alice", self.second)


@pytest.fixture
def alice(url: str) -> Iterator[Alice]:
    with Watched.to(url) as conn:
        yield Alice(conn)


def check(alice: Alice, db: Db, deed: Callable[[Alice], Any]) -> Any:
    """Do *deed*, each statement of which is to be one task, and so each inside of it."""
    with alice.conn.during():
        found = deed(alice)
    counts = [(each.sql, tasks(db, each)) for each in alice.conn.sent]
    assert [each for each in counts if any(count > 1 for count in each[1])] == []
    assert any(count for _, count in counts)
    # None at all: Citus sees by itself that there is no such row.
    assert [each for each in alice.conn.done if each.tasks > 1] == []
    assert alice.conn.shards
    return found


RUNS: dict[str, Callable[[Alice], Whose]] = {
    "a new user's first turn": lambda a: a.say(user_id="bob"),
    "a turn": lambda a: a.say(user_id="alice"),
    "a turn that names": lambda a: a.say(user_id="alice", title="Other", is_active=True),
    "a new session": lambda a: a.say(user_id="alice", new_session=True),
    "a new session of that id": lambda a: a.say(user_id="alice", thread_id="own"),
    "another session": lambda a: a.say(user_id="alice", thread_id=a.first),
    "a job": lambda a: a.say(user_id="alice", make_current=False),
    "a turn saved at its end": lambda a: a.say(user_id="alice", durability="exit"),
    "fan-out": lambda a: a.say(fan_out(12), {"done": []}, user_id="alice"),
    "fan-out saved at its end": lambda a: a.say(fan_out(12), {"done": []}, "exit", user_id="bob"),
    "a thread alone, trusted": lambda a: a.trust(),
    "a thread of nobody's": lambda a: a.say(thread_id="plain"),
    "a question": lambda a: a.say(a.asks, user_id="alice"),
    "an answer": lambda a: a.say(a.asks, Command(resume="yes"), user_id="alice", thread_id=a.first),
    "an answer in a subgraph": lambda a: [
        a.say(asking(below=True), given, user_id="bob") for given in (HELLO, Command(resume="yes"))
    ][-1],
    "time travel": lambda a: a.say(None, None, **a.earlier.config["configurable"]),
    "delta channels": lambda a: [a.say(a.delta, user_id="bob") for _ in range(3)][-1],
    "get_state": lambda a: a.state("get_state"),
    "get_state_history": lambda a: a.state("get_state_history"),
    "update_state": lambda a: a.state("update_state", HELLO),
    "get_messages": lambda a: a.call("get_messages"),
    "get_messages of an earlier time": lambda a: a.call(
        "get_messages", checkpoint_id=a.earlier.config["configurable"]["checkpoint_id"]
    ),
    "list_checkpoints": lambda a: a.call("list_checkpoints"),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_each_statement_of_a_run_is_one_task(
    alice: Alice, db: Db, run: Callable[[Alice], Whose]
) -> None:
    """Those of its saves, too, and of their functions; on its user's shards, and its thread's."""
    whose = check(alice, db, run)
    users = own(db, USERS, whose.user) if whose.user else set()
    assert alice.conn.shards <= users | own(db, THREADS, whose.thread)


LISTS: dict[str, Callable[[Alice], Any]] = {
    "all": lambda a: a.sessions.list_sessions("alice"),
    "active": lambda a: a.sessions.list_sessions("alice", active=True),
    "inactive": lambda a: a.sessions.list_sessions("alice", active=False),
    "title": lambda a: a.sessions.list_sessions("alice", title="tit"),
    "metadata": lambda a: a.sessions.list_sessions("alice", metadata={"a": 1}),
    "status": lambda a: a.sessions.list_sessions("alice", status="interrupted"),
    "agent": lambda a: a.sessions.list_sessions("alice", agent="writer"),
    "updated_after": lambda a: a.sessions.list_sessions("alice", updated_after=NOW),
    "updated_before": lambda a: a.sessions.list_sessions("alice", updated_before=NOW),
    "two of them": lambda a: a.sessions.list_sessions("alice", title="tit", status="idle"),
    "cursor": lambda a: a.sessions.list_sessions(
        "alice", cursor=a.sessions.list_sessions("alice", limit=1).next_cursor
    ),
    "list_active_sessions": lambda a: a.sessions.list_active_sessions("alice"),
    "iter_sessions": lambda a: [*a.sessions.iter_sessions("alice")],
    "count": lambda a: a.sessions.count_sessions("alice"),
    "has_session": lambda a: a.sessions.has_session("alice"),
    "get_session": lambda a: a.sessions.get_session("alice", a.first),
    "current": lambda a: a.sessions.get_current_user_session("alice"),
    "by its beginning": lambda a: a.saver._database.run(naming.named("ali", "alice", None)),
    "rename": lambda a: a.sessions.update_session("alice", {"title": "New"}, thread_id=a.first),
    "metadata of the current one": lambda a: a.sessions.update_session(
        "alice", {"metadata": {"a": 1}}
    ),
    "switch": lambda a: a.sessions.switch_session("alice", a.first),
    "deactivate": lambda a: a.sessions.deactivate_session("alice", thread_id=a.first),
    "deactivate all": lambda a: a.sessions.deactivate_session("alice"),
    "preferences": lambda a: [
        a.sessions.update_preferences("alice", {"a": 1}),
        a.sessions.get_preferences("alice"),
    ],
}


@pytest.mark.parametrize("deed", LISTS.values(), ids=LISTS)
def test_each_statement_of_a_users_lists_is_one_task(
    alice: Alice, db: Db, deed: Callable[[Alice], Any]
) -> None:
    """And of what changes a row of them; on the user's shards."""
    check(alice, db, deed)
    assert alice.conn.shards <= own(db, USERS, "alice")


CHANGES: dict[str, Callable[[Alice], Any]] = {
    "create_user_session": lambda a: a.sessions.create_user_session("alice").thread_id,
    "get_or_create_user_session": lambda a: (
        a.sessions.get_or_create_user_session("alice").thread_id
    ),
    "run_config": lambda a: a.sessions.run_config("alice")["configurable"]["thread_id"],
    "delete_session": lambda a: [a.sessions.delete_session("alice", a.first), a.first][-1],
}


@pytest.mark.parametrize("deed", CHANGES.values(), ids=CHANGES)
def test_each_statement_about_a_certain_session_is_one_task(
    alice: Alice, db: Db, deed: Callable[[Alice], str]
) -> None:
    """Where one is made, or deleted: on its user's shards, and its thread's."""
    thread = check(alice, db, deed)
    assert alice.conn.shards <= own(db, USERS, "alice") | own(db, THREADS, thread)


def test_a_fork_goes_to_the_shards_of_its_user_and_of_both_threads(alice: Alice, db: Db) -> None:
    """It copies from one thread to the other, of which no EXPLAIN tells."""
    alice.conn.execute("SET auto_explain.log_min_duration = -1")
    fork = alice.sessions.fork_session("alice", alice.first).thread_id
    alice.conn.shards.clear()
    fork = alice.sessions.fork_session("alice", alice.first).thread_id
    threads = own(db, THREADS, alice.first) | own(db, THREADS, fork)
    assert alice.conn.shards <= own(db, USERS, "alice") | threads


def test_a_session_without_a_threads_row_is_waited_for_once(alice: Alice, db: Db) -> None:
    """Somebody made it by SQL, and its thread's row does not come: each turn asks again."""
    db.execute("INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('bob', 't', 'SQL')")
    db.execute("UPDATE user_sessions SET current_at = now() WHERE user_id = 'bob'")
    alice.conn.sent.clear()
    found = alice.saver.get_tuple(config(user_id="bob"))
    assert found is None
    assert sum("user_sessions_settle" in each.sql for each in alice.conn.sent) == 1


def test_what_asks_all_shards_would_be_noticed(alice: Alice, db: Db) -> None:
    """By EXPLAIN, and by what is told of it: everybody's sessions are one task for each shard."""
    with alice.conn.during():
        alice.sessions.count_sessions()
    (counts,) = (tasks(db, each) for each in alice.conn.sent)
    (told,) = (each.tasks for each in alice.conn.done)
    (shards,) = db.execute(
        "SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'user_sessions'::regclass"
    )
    assert counts == [told] == [shards["count"]]
