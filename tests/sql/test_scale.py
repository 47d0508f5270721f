"""How many rows a sidebar's queries read: by PostgreSQL's own account, without a clock.

`python -m tests.scale` measures the times, among 1,000,000 sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_sessions import AgentSessionManager, SessionSaver
from langgraph_sessions.checks import EVERYBODY, Everybody
from langgraph_sessions.models import STATUSES
from langgraph_sessions.plans import Plan, Statement
from langgraph_sessions.sessions import operations
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.sql.opening import OpenCurrent
from tests.scale import build, explained, indexes, rows_read
from tests.support import psycopg_pool_options

Connection = psycopg.Connection[Any]

SESSIONS, USERS, HEAVY = 20_000, 1_000, 4_000
PAGE = 20
ACTIVE, USER = "user_sessions_active_idx", "user_sessions_user_idx"
CURRENT, AGENT_CURRENT = "user_sessions_current_idx", "user_sessions_agent_current_idx"


@pytest.fixture(scope="module")
def many(server: str) -> Iterator[str]:
    """The conninfo of a database with 20,000 sessions, a fifth of them one user's."""
    name = f"t_scale_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        url = make_conninfo(server, dbname=name)
        build(url, SESSIONS, USERS, HEAVY)
        # The heavy user has not been here for a year: theirs are everybody's last.
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("""
                UPDATE user_sessions SET updated_at = updated_at - interval '2 years'
                WHERE user_id = 'heavy'""")
            # In order on disk, which makes reading everybody's in order look cheap.
            conn.execute("CREATE INDEX by_time ON user_sessions (updated_at)")
            conn.execute("CLUSTER user_sessions USING by_time")
            conn.execute("DROP INDEX by_time")
            conn.execute("VACUUM (ANALYZE)")
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def copied(server: str, database: str) -> Iterator[str]:
    """Copy *database*, and give the copy's conninfo."""
    copy = f"t_scale_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE {database}")
        yield make_conninfo(server, dbname=copy)
        admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")


@pytest.fixture
def conn(many: str) -> Iterator[Connection]:
    """A connection to that database, to read alone.

    A change, even one rolled back, leaves dead rows, with which PostgreSQL may choose another plan
    for the tests that follow: what a test changes is a copy.
    """
    with psycopg.connect(many, **psycopg_pool_options()) as connection:
        connection.execute("SET default_transaction_read_only = on")
        yield connection


@pytest.fixture
def changing(server: str, many: str) -> Iterator[Connection]:
    """A connection to a copy of that database, to change."""
    name = conninfo_to_dict(many)["dbname"]
    with (
        copied(server, str(name)) as url,
        psycopg.connect(url, **psycopg_pool_options()) as connection,
    ):
        yield connection


@pytest.fixture(scope="module")
def many_of_agents(server: str, many: str) -> Iterator[str]:
    """The conninfo of a copy of that database in which every second session is an agent's.

    That is mostly the cook's; one in a hundred is the guide's.
    """
    with copied(server, str(conninfo_to_dict(many)["dbname"])) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("""
                UPDATE user_sessions
                SET agent = CASE WHEN id % 100 = 1 THEN 'guide' ELSE 'cook' END
                WHERE id % 2 = 1""")
            connection.execute("VACUUM (ANALYZE)")
        yield url


@pytest.fixture
def of_agents(many_of_agents: str) -> Iterator[Connection]:
    """A connection to that database, to read alone."""
    with psycopg.connect(many_of_agents, **psycopg_pool_options()) as connection:
        connection.execute("SET default_transaction_read_only = on")
        yield connection


def page(cursor: str | None = None, *filters: Any, **named: Any) -> Plan[Any]:
    """Return the plan of a page."""
    return Listing(*filters, cursor=cursor, **named).page(PAGE)


def cursor_at(
    url: str, pages: int, user_id: str | Everybody = EVERYBODY, **filters: Any
) -> str | None:
    """Walk down a listing, and return the cursor of the page after *pages*."""
    manager = AgentSessionManager(url)
    cursor = None
    for _ in range(pages):
        found = manager.list_sessions(user_id, limit=PAGE, cursor=cursor, **filters)
        cursor = found.next_cursor or cursor
    manager.close()
    return cursor


@pytest.mark.parametrize("user", ["heavy", "user-7", "nobody"])
def test_the_current_session_is_one_row(conn: Connection, user: str) -> None:
    """The current session is found by reading one row, whoever's it is."""
    tree = explained(conn, operations.get_current(user, None))
    assert rows_read(tree) <= 1
    assert indexes(tree) == {CURRENT}


def test_a_run_reads_one_session(conn: Connection) -> None:
    """Where a run goes is settled by one row, and its newest checkpoint."""
    tree = explained(conn, opening(OpenCurrent(user_id="heavy", select=SessionSaver.SELECT_SQL)))
    assert rows_read(tree) == 1
    assert rows_read(tree, "checkpoints") == 1
    assert "user_sessions" not in indexes(tree)


def opening(statement: OpenCurrent) -> Plan[None]:
    """Return a plan of *statement*."""
    yield statement


@pytest.mark.parametrize("agent", ["cook", "guide", "nobody"])
@pytest.mark.parametrize("user", ["heavy", "user-7", "nobody"])
def test_an_agents_current_session_is_one_row(of_agents: Connection, user: str, agent: str) -> None:
    """With an agent, too, the current session is found by reading one row."""
    tree = explained(of_agents, operations.get_current(user, agent))
    assert rows_read(tree) <= 1
    assert indexes(tree) == {AGENT_CURRENT}
    run = OpenCurrent(user_id=user, agent=agent, select=SessionSaver.SELECT_SQL)
    assert rows_read(explained(of_agents, opening(run))) <= 1


@pytest.mark.parametrize("agent", ["cook", "guide", "nobody"])
@pytest.mark.parametrize("user", ["heavy", "user-7", EVERYBODY])
def test_a_page_of_an_agents_reads_a_page(
    of_agents: Connection, user: str | Everybody, agent: str
) -> None:
    """A first page of a user's with an agent, or of everybody's, reads no other session."""
    tree = explained(of_agents, page(None, user, agent=agent))
    assert rows_read(tree) <= PAGE + 1
    assert "user_sessions" not in indexes(tree)


@pytest.mark.parametrize("user", ["heavy", "user-7"])
def test_an_agent_that_statistics_do_not_know_is_found_as_well(
    changing: Connection, user: str
) -> None:
    """Where PostgreSQL expects nothing of an agent that has very many, it reads no more."""
    changing.execute("UPDATE user_sessions SET agent = 'new'")
    assert rows_read(explained(changing, operations.get_current(user, "new"))) == 1
    assert rows_read(explained(changing, page(None, user, agent="new"))) <= PAGE + 1


def test_sessions_without_an_agent_are_found_as_before(of_agents: Connection) -> None:
    """What asks for no agent reads the row and the index that it did, with agents or without."""
    tree = explained(of_agents, operations.get_current("heavy", None))
    assert rows_read(tree) == 1
    assert indexes(tree) == {CURRENT}
    assert indexes(explained(of_agents, page(None, "heavy"))) == {USER}


@pytest.mark.parametrize("user", ["heavy", "user-7", "nobody"])
@pytest.mark.parametrize("filters", [{}, {"active": True}, {"active": False}], ids=repr)
def test_a_page_reads_a_page(conn: Connection, user: str, filters: dict[str, Any]) -> None:
    """A user's first page reads no more than the page and one row, of one index."""
    tree = explained(conn, page(None, user, **filters))
    assert rows_read(tree) <= PAGE + 1
    assert len(indexes(tree)) == 1
    assert indexes(tree) <= {USER, ACTIVE}


@pytest.mark.parametrize("user", ["heavy", "user-7", EVERYBODY])
@pytest.mark.parametrize("status", STATUSES)
def test_a_page_of_a_status_reads_a_page(
    conn: Connection, user: str | Everybody, status: str
) -> None:
    """Of the sessions that wait for something no other is read; of the idle ones, few others."""
    tree = explained(conn, page(None, user, status=status))
    spare = PAGE if status == "idle" else 0
    assert rows_read(tree) <= PAGE + 1 + spare
    assert "user_sessions" not in indexes(tree)


def test_a_page_far_down_reads_a_page(conn: Connection, many: str) -> None:
    """The hundredth page of a user is no more work than the first."""
    tree = explained(conn, page(cursor_at(many, 99, "heavy"), "heavy"))
    assert rows_read(tree) == tree["Actual Rows"] == PAGE + 1
    assert indexes(tree) == {USER}


@pytest.mark.parametrize("pages", [0, 99])
def test_a_page_of_everybodys_reads_a_page(conn: Connection, many: str, pages: int) -> None:
    """So it is for an operator's list of all users."""
    tree = explained(conn, page(cursor_at(many, pages)))
    assert rows_read(tree) == PAGE + 1
    assert "user_sessions" not in indexes(tree)


def test_everybodys_active_sessions_are_read_alone(changing: Connection) -> None:
    """An operator's list of active sessions does not read the inactive ones, nor the other way."""
    changing.execute("UPDATE user_sessions SET is_active = FALSE WHERE id % 50 <> 0 AND is_active")
    changing.execute("ANALYZE user_sessions")
    trees = [explained(changing, page(None, active=active)) for active in (True, False)]
    assert max(rows_read(tree) for tree in trees) <= PAGE + 1


def test_a_search_reads_the_users_sessions_alone(conn: Connection) -> None:
    """A search that finds nothing has seen the user's sessions, and nobody else's."""
    for user, most in (("heavy", HEAVY), ("user-7", SESSIONS // USERS)):
        tree = explained(conn, page(None, user, title="in no haystack"))
        assert rows_read(tree) <= most
        assert "user_sessions" not in indexes(tree)


def test_a_count_can_do_with_the_index(conn: Connection) -> None:
    """Counting a user's sessions need not fetch any of them.

    Of a fifth of a table this small, PostgreSQL would rather read the table.
    """
    conn.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    tree = explained(conn, Listing("heavy").count())
    (scan,) = tree["Plans"]
    assert (scan["Node Type"], scan["Heap Fetches"]) == ("Index Only Scan", 0)
    assert rows_read(tree) == HEAVY


def test_statuses_are_read_for_the_page_alone(conn: Connection) -> None:
    """The status of a page's sessions reads one checkpoint for each, and no other table whole."""
    before = fetched(conn)
    conn.execute("BEGIN")
    step = next(page(None, "heavy"))
    assert isinstance(step, Statement)
    sql: Any = step.sql
    conn.execute(sql, step.params)
    after = fetched(conn, "pg_stat_xact_user_tables")
    conn.execute("ROLLBACK")
    assert before.keys() >= after.keys()
    assert after["checkpoints"] <= PAGE + 1
    assert after["user_sessions"] == PAGE + 1


def fetched(conn: Connection, view: str = "pg_stat_user_tables") -> dict[str, int]:
    """Return how many rows were fetched of each table."""
    sql: Any = f"SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS n FROM {view}"
    return {row["relname"]: row["n"] for row in conn.execute(sql)}
