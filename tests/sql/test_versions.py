"""A schema that can change: versions, from scratch and step by step, and what is newer."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH

from langgraph_sessions import SessionError, SessionSaver
from langgraph_sessions.sql import ddl, functions, migrations, schema
from langgraph_sessions.sql.migrations import Migration
from tests.catalogue import catalogue
from tests.support import config, graph_builder, psycopg_pool_options, texts, until

Db = psycopg.Connection[Any]

# The digest of each migration, the first one's first.
DIGESTS = ("0ef34034c9152b1b9119f4750cc3ab98ca53a30a54ee304ca46d957e07fedca1",)
SECOND = Migration(
    (
        "ALTER TABLE user_sessions ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT FALSE",
        "CREATE INDEX user_sessions_pinned_idx ON user_sessions (user_id) WHERE pinned",
    ),
    finish=("CREATE INDEX checkpoints_owner_idx ON checkpoints (user_sessions_owner(metadata))",),
)
THIRD = Migration(
    (
        "ALTER TABLE user_sessions DROP COLUMN pinned, ADD COLUMN pinned_at TIMESTAMPTZ",
        "ALTER TABLE session_users ADD CONSTRAINT session_users_named CHECK (user_id <> '')",
    ),
    breaking=True,
)
VERSIONS = ((*migrations.MIGRATIONS, SECOND, THIRD), (1, 2, 2))
OLDER_TOOL = """
CREATE TABLE user_sessions (
    id SERIAL PRIMARY KEY, user_id VARCHAR(255) NOT NULL, thread_id VARCHAR(255) UNIQUE NOT NULL,
    title VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, is_active BOOLEAN DEFAULT TRUE)"""
LOADED = functions.load()


def test_a_released_migration_never_changes() -> None:
    """Each migration is what its digest says: databases that have it would not get another."""
    digests = [
        hashlib.sha256(repr((m.statements, m.finish, m.breaking)).encode()).hexdigest()
        for m in migrations.MIGRATIONS
    ]
    assert tuple(digests) == DIGESTS, f"add a migration, and its digest, instead: {digests}"


def be_version(patch: pytest.MonkeyPatch, version: int) -> None:
    """Let the package be as of *version*: the second one changes the body of a function, too."""
    known, numbers = VERSIONS
    number = numbers[version - 1]
    changed = [f._replace(sql=f.sql.replace("'New Chat'", f"'New Chat {number}'")) for f in LOADED]
    patch.setattr(migrations, "MIGRATIONS", known[:version])
    patch.setattr(functions, "FUNCTIONS_VERSION", number)
    patch.setattr(functions, "load", lambda: LOADED if number == 1 else tuple(changed))


def set_up(url: str) -> None:
    with SessionSaver(url) as saver:
        saver.setup()


def execute(url: str, script: str) -> None:
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        db.execute(script.encode())


def clear(url: str) -> None:
    execute(url, "DROP SCHEMA public CASCADE")
    execute(url, "CREATE SCHEMA public")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_from_scratch_equals_step_by_step(
    version: int, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a version comes about, columns, constraints, indexes and functions are the same.

    At once, version by version, by the script, and from a table of the older tool's.
    """
    be_version(monkeypatch, version)
    set_up(empty_url)
    made = catalogue(empty_url)
    assert all(made.values())
    clear(empty_url)
    for step in range(1, version + 1):
        be_version(monkeypatch, step)
        set_up(empty_url)
    assert catalogue(empty_url) == made
    clear(empty_url)
    execute(empty_url, ddl.ddl(LANGGRAPH))
    assert catalogue(empty_url) == made
    clear(empty_url)
    execute(empty_url, OLDER_TOOL)
    set_up(empty_url)
    assert catalogue(empty_url) == made


def test_the_versions_differ(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared sees a column, an index, a constraint and a function's body."""
    seen = []
    for version in (1, 2, 3):
        be_version(monkeypatch, version)
        set_up(empty_url)
        seen.append(catalogue(empty_url))
    changed = [
        {kind for kind in before if before[kind] != after[kind]} for before, after in pairwise(seen)
    ]
    assert changed == [{"columns", "indexes", "functions"}, {"columns", "constraints", "indexes"}]


@pytest.mark.parametrize("first", ["setup", "use", "use without setup"])
def test_newer_tables_are_used_with_one_warning(
    first: str, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A migration that breaks nothing lets older workers go on; each process says so once."""
    with monkeypatch.context() as newer:
        be_version(newer, 2)
        set_up(url)
    made = catalogue(url)
    monkeypatch.setattr(schema, "_told", {})
    with caplog.at_level(logging.WARNING, "langgraph_sessions"):
        for turn in (1, 2):
            with SessionSaver(url, auto_setup=first != "use without setup") as saver:
                if first == "setup":
                    saver.setup()
                graph = graph_builder().compile(checkpointer=saver)
                state = graph.invoke({"messages": ["Hi"]}, config(user_id="alice"))
                assert len(texts(state)) == 2 * turn
    (record,) = caplog.records
    assert "upgrade the package" in record.getMessage()
    assert (vars(record)["version"], vars(record)["known"]) == (2, 1)
    assert catalogue(url) == made


@pytest.mark.parametrize("known", [1, 2])
@pytest.mark.parametrize("first", ["setup", "use", "run"])
def test_a_breaking_version_refuses_older_workers(
    known: int, first: str, url: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told to upgrade before anything is written, whichever version they are of."""
    be_version(monkeypatch, 3)
    set_up(url)
    made = catalogue(url)
    be_version(monkeypatch, known)
    refused = pytest.raises(SessionError, match=r"version 3, .* newer .* upgrade the package")
    with SessionSaver(url) as saver, refused:
        if first == "setup":
            saver.setup()
        elif first == "use":
            saver.sessions.create_user_session("alice")
        else:
            graph = graph_builder().compile(checkpointer=saver)
            graph.invoke({"messages": ["Hi"]}, config(user_id="alice"))
    assert catalogue(url) == made
    for table in ("checkpoints", "checkpoint_writes", "user_sessions", "session_users"):
        assert db.execute(f"SELECT FROM {table}".encode()).rowcount == 0


def test_what_a_breaking_version_broke_with_is_in_the_database(
    url: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that adds to a breaking one refuses those before the break alone."""
    fourth = Migration(("ALTER TABLE user_sessions ADD COLUMN note TEXT",))
    known = (*VERSIONS[0], fourth)
    monkeypatch.setattr(migrations, "MIGRATIONS", known)
    set_up(url)
    rows = db.execute("SELECT version, breaking FROM user_sessions_migrations ORDER BY version")
    assert [tuple(row.values()) for row in rows] == [(1, False), (2, False), (3, True), (4, False)]
    monkeypatch.setattr(migrations, "MIGRATIONS", known[:3])
    set_up(url)
    monkeypatch.setattr(migrations, "MIGRATIONS", known[:2])
    with pytest.raises(SessionError, match="newer"):
        set_up(url)


def test_a_migration_that_fails_leaves_the_version_before(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables, functions and versions are made together, or not at all."""
    made = catalogue(url)
    be_version(monkeypatch, 3)
    wrong = Migration(("ALTER TABLE user_sessions ADD COLUMN note TEXT",), finish=("SELECT 1 / 0",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*VERSIONS[0], wrong))
    with pytest.raises(psycopg.errors.DivisionByZero):
        set_up(url)
    assert catalogue(url) == made
    be_version(monkeypatch, 1)
    set_up(url)


def test_a_save_that_waits_while_a_column_is_added_is_saved(saver: SessionSaver, url: str) -> None:
    """The row that the save returns is read as it was before, by whoever was under way."""
    waits = """SELECT FROM pg_locks
        WHERE relation = 'user_sessions'::regclass AND NOT granted"""
    with psycopg.connect(url, **psycopg_pool_options()) as db, ThreadPoolExecutor() as threads:

        def add(state: object) -> dict[str, Any]:
            """Add a column in a transaction that ends when a save waits for it."""
            db.execute("BEGIN")
            db.execute("ALTER TABLE user_sessions ADD COLUMN note TEXT")
            threads.submit(end)
            return {"messages": ["Added"]}

        def end() -> None:
            until(lambda: db.execute(waits).rowcount)
            db.execute("COMMIT")

        graph = graph_builder(add).compile(checkpointer=saver)
        state = graph.invoke({"messages": ["Hi"]}, config(user_id="alice"), durability="sync")
        assert texts(state) == ["Hi", "Added"]
        session = saver.sessions.get_current_user_session("alice")
        assert texts(graph.get_state(session.config)) == ["Hi", "Added"]
