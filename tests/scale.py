"""What a sidebar's queries cost among 1,000,000 sessions, against the same among 1,000.

    python -m tests.scale [--sessions 1000000] [--users 100000] [--heavy 50000] [--calls 50]

Builds both databases on an embedded server of its own, measures the session manager's methods
with the cache off, for ordinary users and for one with very many sessions, and counts the rows
that each reads. Ends with 1 if a limit of issue 3, point 10, does not hold.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from langgraph_sessions import AgentSessionManager, SessionSaver
from langgraph_sessions.embedded.server import EmbeddedServer
from langgraph_sessions.plans import Plan, Statement
from langgraph_sessions.sessions import operations
from langgraph_sessions.sessions.listing import Listing
from tests.support import config, graph_builder, pair, psycopg_pool_options

Connection = psycopg.Connection[Any]

PAGE: Final = 20
SMALL_PAGE: Final = 4  # With which an ordinary user's ten sessions have a last page, too.
MEASURED_USERS: Final = 50
MILLISECONDS: Final = 5.0  # What a call may take, but for:
HEAVY_MILLISECONDS: Final = 50.0  # a search in, and a count of, very many sessions.
RATIO: Final = 2.0

# A user's sessions lie all over the table, as they do when many users talk at once. One in a
# hundred is active, and each user's newest. One in a hundred titles has a word searched for, and
# one in a hundred waits for an answer.
_SESSIONS = """
INSERT INTO user_sessions
    (user_id, thread_id, title, title_source, created_at, updated_at, current_at, is_active,
    metadata, status)
SELECT owner, owner || '_' || md5(i::text)::uuid,
    (ARRAY['Plan a trip to Rome', 'Draft my CV', 'A loan', 'Fix the test'])[1 + i %% 4]
        || ' ' || CASE WHEN chance = 1 THEN 'needle' ELSE left(md5((i * 3)::text), 12) END,
    'message', at, used, used, chance = 0,
    jsonb_build_object('channel', 'web', 'project', i %% 1000),
    CASE chance WHEN 2 THEN 'interrupted' WHEN 3 THEN 'error' ELSE 'idle' END
FROM (
    SELECT i, now() - interval '1 year' * (1 - i::float / %(sessions)s) AS at,
        CASE WHEN i %% %(every)s = 0 THEN 'heavy'
            ELSE 'user-' || (i - i / %(every)s) * 7919::bigint %% %(users)s END AS owner,
        abs(hashint4(i)) %% 100 AS chance
    FROM generate_series(1, %(sessions)s) AS i
) AS given, LATERAL (SELECT at + random() * interval '5 days' AS used) AS times"""
_NEWEST_IS_ACTIVE = """
UPDATE user_sessions SET is_active = TRUE WHERE id IN (
    SELECT DISTINCT ON (user_id) id FROM user_sessions
    ORDER BY user_id, updated_at DESC, id DESC)"""
# The threads of the users who are measured, each a copy of one real turn's.
_THREADS = """
CREATE TEMPORARY TABLE threads AS
SELECT thread_id AS copy FROM user_sessions
WHERE user_id = 'heavy' OR user_id = ANY (%(users)s)"""
_COPIES = (
    """INSERT INTO checkpoints SELECT copy, checkpoint_ns, checkpoint_id, parent_checkpoint_id,
    type, checkpoint, metadata FROM checkpoints, threads WHERE thread_id = 'turn'""",
    """INSERT INTO checkpoint_blobs SELECT copy, checkpoint_ns, channel, version, type, blob
    FROM checkpoint_blobs, threads WHERE thread_id = 'turn'""",
    """INSERT INTO checkpoint_writes SELECT copy, checkpoint_ns, checkpoint_id, task_id, idx,
    channel, type, blob, task_path FROM checkpoint_writes, threads WHERE thread_id = 'turn'""",
)


def ordinary(number: int) -> str:
    """Return an ordinary user who is measured."""
    return f"user-{number % MEASURED_USERS}"


def build(conninfo: str, sessions: int, users: int, heavy: int) -> None:
    """Fill the database with *sessions* of *users*, *heavy* of them one user's."""
    with SessionSaver(conninfo) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["Plan a trip to Rome"]}, config(thread_id="turn"))
    params = {"sessions": sessions, "users": users, "every": sessions // heavy}
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute(_SESSIONS, params)
        pair(conn)
        conn.execute(_NEWEST_IS_ACTIVE)
        conn.execute(_THREADS, {"users": [ordinary(number) for number in range(MEASURED_USERS)]})
        for copy in _COPIES:
            conn.execute(copy)
        conn.execute("VACUUM (ANALYZE)")


# --- What is measured ---------------------------------------------------------------------------


@dataclass
class Measure:
    """A question that is asked of both databases.

    Attributes:
        name: What it is called in the table.
        limit: How many milliseconds it may take; `None`: it has no limit, nor a ratio.
        is_scaled: Whether it must also take no more than `RATIO` times as long.
        call: Asks a manager, for a user, from a cursor.
        plan: The plan behind *call*.
        pages: How far down the list the cursor is.
        page: How many rows it may read beyond those it returns; `None`: as many as there are.
    """

    name: str
    limit: float | None
    is_scaled: bool
    call: Callable[[AgentSessionManager, str, str | None], Any]
    plan: Callable[[str, str | None], Plan[Any]]
    pages: int = 0
    page: int | None = PAGE + 1

    def cursor(self, manager: AgentSessionManager, user: str) -> str | None:
        """Walk down the list to where it is asked from, or to its last page."""
        cursor = None
        for _ in range(self.pages):
            page = self.call(manager, user, cursor)
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        return cursor


def measures(is_heavy: bool) -> list[Measure]:
    """Return what is measured for a user."""
    size = PAGE if is_heavy else SMALL_PAGE
    slow = HEAVY_MILLISECONDS if is_heavy else MILLISECONDS

    def page(name: str, pages: int, limit: float | None = MILLISECONDS, **filters: Any) -> Measure:
        def call(manager: AgentSessionManager, user: str, cursor: str | None) -> Any:
            return manager.list_sessions(user, limit=size, cursor=cursor, **filters)

        def plan(user: str, cursor: str | None) -> Plan[Any]:
            return Listing(user, cursor=cursor, **filters).page(size)

        return Measure(name, limit, True, call, plan, pages)

    search = page("title search, nothing", 0, slow, title="needle in no haystack")
    rare = page("title search, one in 100", 0, slow, title="NEEDLE")
    common = page("title search, one in 4", 0, title="trip")
    metadata = page("by metadata, one in 1000", 0, None, metadata={"project": 7})
    metadata.page, metadata.is_scaled = None, False
    search.page = rare.page = common.page = None
    search.is_scaled = rare.is_scaled = not is_heavy
    return [
        Measure(
            "current session",
            MILLISECONDS,
            True,
            lambda manager, user, _: manager.get_current_user_session(user),
            lambda user, _: operations.get_current(user, None),
        ),
        page("first page", 0),
        page("hundredth page" if is_heavy else "last page", 99),
        page("first page, active", 0, active=True),
        page("first page, inactive", 0, active=False),
        page("first page, interrupted", 0, status="interrupted"),
        page("first page, idle", 0, status="idle"),
        metadata,
        Measure(
            "active list",
            None if is_heavy else MILLISECONDS,
            not is_heavy,
            lambda manager, user, _: manager.list_active_sessions(user),
            lambda user, _: Listing(user, active=True).all(),
        ),
        search,
        rare,
        common,
        Measure(
            "count",
            slow,
            not is_heavy,
            lambda manager, user, _: manager.count_sessions(user),
            lambda user, _: Listing(user).count(),
            page=None,
        ),
    ]


def operator_measures() -> list[Measure]:
    """Return what an operator asks of everybody's sessions; the issue sets no limits."""

    def page(name: str, pages: int, **filters: Any) -> Measure:
        return Measure(
            name,
            None,
            False,
            lambda manager, _, cursor: manager.list_sessions(cursor=cursor, **filters),
            lambda _, cursor: Listing(cursor=cursor, **filters).page(PAGE),
            pages,
        )

    return [
        page("first page", 0),
        page("hundredth page", 99),
        page("first page, active", 0, active=True),
        page("first page, inactive", 0, active=False),
        page("first page, interrupted", 0, status="interrupted"),
        page("first page, idle", 0, status="idle"),
    ]


def times(manager: AgentSessionManager, measure: Measure, users: Sequence[str]) -> list[float]:
    """Return the milliseconds of a call for each of *users*."""
    taken = []
    for user in users:
        cursor = measure.cursor(manager, user)
        began = time.perf_counter()
        measure.call(manager, user, cursor)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


# --- Rows read ----------------------------------------------------------------------------------


def explained(conn: Connection, plan: Plan[Any]) -> dict[str, Any]:
    """Return PostgreSQL's plan, as it ran, of the first statement of *plan*."""
    step = next(plan)
    assert isinstance(step, Statement)
    sql: Any = f"EXPLAIN (ANALYZE, FORMAT JSON) {step.sql}"
    row = conn.execute(sql, step.params).fetchone()
    assert row is not None
    tree = next(iter(row.values()))[0]["Plan"]
    assert isinstance(tree, dict)
    return tree


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan."""
    yield tree
    for below in tree.get("Plans", ()):
        yield from nodes(below)


def rows_read(tree: dict[str, Any], table: str = "user_sessions") -> int:
    """Return how many rows of *table* a plan read, those that a filter dropped included."""
    return sum(
        round(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in nodes(tree)
        if node.get("Relation Name") == table
    )


def indexes(tree: dict[str, Any]) -> set[str]:
    """Return the indexes that a plan used, and the tables that it read from end to end."""
    whole = {node["Relation Name"] for node in nodes(tree) if node["Node Type"] == "Seq Scan"}
    return whole | {node["Index Name"] for node in nodes(tree) if "Index Name" in node}


# --- The table ----------------------------------------------------------------------------------


def verdict(measure: Measure, big: float, ratio: float, beyond: int) -> str:
    """Say which limits do not hold."""
    broken = []
    if measure.limit is not None and big >= measure.limit:
        broken.append(f"over {measure.limit:g} ms")
    if measure.is_scaled and ratio > RATIO:
        broken.append(f"over {RATIO:g} times")
    if measure.page is not None and beyond > measure.page:
        broken.append(f"reads {beyond} rows too many")
    if broken:
        return ", ".join(broken)
    return "holds" if measure.limit is not None else "no limit"


def compare(
    who: str,
    asked: list[Measure],
    users: Sequence[str],
    managers: tuple[AgentSessionManager, AgentSessionManager],
    big: Connection,
) -> bool:
    """Print a line for each of the measures *asked*; say whether all limits hold."""
    good = True
    for measure in asked:
        for manager in managers:
            times(manager, measure, users[:3])  # Connections open, pages in memory.
        taken: tuple[list[float], list[float]] = ([], [])
        for user in users:  # In turn, so that a noisy machine is noisy to both.
            for manager, milliseconds in zip(managers, taken, strict=True):
                milliseconds += times(manager, measure, [user])
        was, now = (statistics.median(milliseconds) for milliseconds in taken)
        cursor = measure.cursor(managers[1], users[0])
        tree = explained(big, measure.plan(users[0], cursor))
        read, returned = rows_read(tree), round(tree["Actual Rows"])
        result = verdict(measure, now, now / was, read - returned)
        good = good and result in ("holds", "no limit")
        print(
            f"{who:9} {measure.name:24} {was:8.2f} {now:8.2f} {now / was:6.2f} {read:8} "
            f"{returned:8}  {result:24} {', '.join(sorted(indexes(tree)))}",
            flush=True,
        )
    return good


def main() -> int:
    """Build, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--heavy", type=int, default=50_000)
    parser.add_argument("--calls", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lgs-") as folder:
        server = EmbeddedServer(Path(folder) / "data")
        conninfo = server.start()
        try:
            return measured(conninfo, asked)
        finally:
            server.release()
            wait_for_end(Path(folder) / "data/data/postmaster.pid")


def wait_for_end(pid_file: Path) -> None:
    """Wait until the server, which another process stops, has removed *pid_file*."""
    while pid_file.exists():
        time.sleep(0.05)


def measured(conninfo: str, asked: argparse.Namespace) -> int:
    """Build both databases on the server of *conninfo*, measure them, and print the table."""
    shapes = {
        "small": (1000, MEASURED_USERS, 500),
        "big": (asked.sessions, asked.users, asked.heavy),
    }
    urls = [make_conninfo(conninfo, dbname=name) for name in shapes]
    for (name, shape), url in zip(shapes.items(), urls, strict=True):
        began = time.perf_counter()
        with psycopg.connect(conninfo, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        build(url, *shape)
        print(f"{name}: {shape[0]} sessions, built in {time.perf_counter() - began:.0f} s")
    small, big = (AgentSessionManager(url, cache_size=0) for url in urls)
    print(
        f"\n{'user':9} {'':24} {'small ms':>8} {'big ms':>8} {'ratio':>6} {'read':>8} "
        f"{'returned':>8}  limits"
    )
    people = [ordinary(number) for number in range(asked.calls)]
    groups = [
        ("ordinary", measures(is_heavy=False), people),
        ("heavy", measures(is_heavy=True), ["heavy"] * asked.calls),
        ("everybody", operator_measures(), ["heavy"] * asked.calls),
    ]
    with psycopg.connect(urls[1], **psycopg_pool_options()) as conn:
        good = [compare(*group, (small, big), conn) for group in groups]
    small.close()
    big.close()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
