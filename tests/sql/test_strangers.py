"""Tables of somebody else's with the names of ours, and that of the older tool."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH

from langgraph_sessions import SessionError, SessionSaver
from langgraph_sessions.doctor import visit
from tests.catalogue import catalogue
from tests.support import psycopg_pool_options

Db = psycopg.Connection[Any]

OLDER = (
    "CREATE TABLE user_sessions (id SERIAL PRIMARY KEY, user_id VARCHAR(255) NOT NULL, "
    "thread_id VARCHAR(255) UNIQUE NOT NULL, title VARCHAR(255), "
    "created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, "
    "updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, is_active BOOLEAN DEFAULT TRUE)"
)
STRANGERS = {
    "CREATE TABLE user_sessions (id SERIAL PRIMARY KEY, token TEXT)": (
        "user_sessions has no column user_id"
    ),
    "CREATE VIEW user_sessions AS SELECT 1 AS id": "user_sessions is a view",
    "CREATE SEQUENCE user_sessions": "user_sessions is a sequence",
    f"{OLDER}; ALTER TABLE user_sessions ALTER user_id TYPE UUID USING NULL": (
        "has user_id as uuid, not character varying(255)"
    ),
    f"{OLDER}; ALTER TABLE user_sessions ADD ip INET": "user_sessions has a column ip",
    f"{OLDER}; ALTER TABLE user_sessions ADD UNIQUE (user_id)": "has UNIQUE (user_id)",
    f"{OLDER}; CREATE UNIQUE INDEX one ON user_sessions (user_id) WHERE is_active": "has index one",
    f"{OLDER}; ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_pkey": (
        "has no PRIMARY KEY (id)"
    ),
    f"{OLDER}; ALTER TABLE user_sessions ALTER user_id DROP NOT NULL": "has no NOT NULL user_id",
    f"{OLDER}; ALTER TABLE user_sessions ADD CHECK (id < 9)": "has CHECK ((id < 9))",
    "CREATE TABLE session_threads (id INT)": "session_threads has no column thread_id",
    "CREATE MATERIALIZED VIEW session_users AS SELECT 1": "session_users is a materialized view",
    "CREATE TABLE session_users (user_id VARCHAR(255), preferences JSONB)": (
        "session_users looks like this package's, but no row of user_sessions_migrations says so"
    ),
    "CREATE TABLE session_reservations (user_id INT, agent VARCHAR(255), thread_id VARCHAR(255))": (
        "session_reservations has user_id as integer, not character varying(255)"
    ),
    "CREATE TABLE user_sessions_migrations (name TEXT)": (
        "user_sessions_migrations has no column version, has no column applied_at"
    ),
    "CREATE VIEW user_sessions_functions AS SELECT 1 AS version": (
        "user_sessions_functions is a view"
    ),
    "CREATE TABLE checkpoints (epoch INT, weights BYTEA)": "checkpoints has no column thread_id",
    "CREATE TABLE checkpoint_migrations (version INT)": "checkpoint_migrations has no column v",
}


@pytest.fixture
def bare(empty_url: str) -> Any:
    """A connection to an empty database."""
    with psycopg.connect(empty_url, **psycopg_pool_options()) as db:
        yield db


@pytest.mark.parametrize("made", STRANGERS)
def test_somebody_elses_tables_are_left_as_they_are(made: str, empty_url: str, bare: Db) -> None:
    """A set-up refuses, says what differs, and has changed nothing; so does the doctor."""
    bare.execute(made.encode())
    before = catalogue(empty_url)
    for use in (lambda saver: saver.setup(), lambda saver: saver.sessions.count_sessions()):
        with SessionSaver(empty_url) as saver, pytest.raises(SessionError) as raised:
            use(saver)
        assert STRANGERS[made] in str(raised.value)
    (finding,) = visit.visit(empty_url, LANGGRAPH)
    assert (finding.check, finding.is_problem) == ("table-foreign", True)
    assert STRANGERS[made] in "; ".join(finding.which)
    assert catalogue(empty_url) == before


@pytest.mark.one_server("told as tables that are not distributed")
def test_tables_that_are_gone_are_not_made_up(url: str, db: Db) -> None:
    """Where the versions say that there are tables and some are not, a saver says which."""
    db.execute("DROP TABLE session_users")
    for use in (lambda saver: saver.setup(), lambda saver: saver.sessions.count_sessions()):
        with SessionSaver(url) as saver, pytest.raises(SessionError, match=r"gone.*session_users"):
            use(saver)


def test_no_time_of_the_older_tools_lies_in_the_future(empty_url: str, bare: Db) -> None:
    """Times of an application in the east are moved back, in their order; what is none is now."""
    bare.execute(OLDER.encode())
    now = datetime.now(UTC).replace(tzinfo=None)
    times = {
        "old": now - timedelta(days=300),
        "yesterday": now - timedelta(hours=20),
        "east": now + timedelta(hours=9),
        "first": datetime(1, 1, 1),
    }
    add = (
        "INSERT INTO user_sessions (user_id, thread_id, created_at, updated_at) "
        "VALUES ('alice', %s, %s, %s)"
    )
    bare.execute("SET timezone = 'UTC'")
    for thread_id, time in times.items():
        bare.execute(add, [thread_id, time, time])
    for time in ("infinity", "-infinity", "9998-01-01", "0044-03-15 BC"):
        bare.execute(add, [time, time, now - timedelta(hours=1)])
    bare.execute("INSERT INTO user_sessions (user_id, thread_id) VALUES ('alice', 'default')")
    with SessionSaver(f"{empty_url} options='-c timezone=UTC'") as saver:
        saver.setup()
        found = {s.thread_id: s for s in saver.sessions.list_sessions("alice")}
    assert len(found) == 9
    end = datetime.now(UTC)
    assert all(max(s.created_at, s.updated_at) <= end for s in found.values())
    ahead = times["east"] - found["east"].created_at.replace(tzinfo=None)
    assert timedelta(hours=8) < ahead <= timedelta(hours=9)
    assert found["old"].created_at.replace(tzinfo=None) == times["old"] - ahead
    for time in ("infinity", "-infinity", "9998-01-01", "0044-03-15 BC"):
        assert found[time].created_at == found[time].updated_at
