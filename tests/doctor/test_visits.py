"""What the doctor finds of a schema: columns, indexes, functions and their versions."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH

from langgraph_sessions import SessionSaver
from langgraph_sessions.doctor import columns, visit
from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.sql import partitions
from langgraph_sessions.sql.columns import TABLES
from tests.catalogue import catalogue
from tests.support import config, graph_builder, texts

pytestmark = [
    pytest.mark.whole("what is found on partitions has tests of its own"),
    pytest.mark.one_server("what is found on Citus has tests of its own"),
]

Db = psycopg.Connection[Any]


def diagnose(url: str) -> list[Finding]:
    """Return what the doctor finds, and see that it changes nothing."""
    before = catalogue(url)
    found = visit.visit(url, LANGGRAPH)
    assert catalogue(url) == before
    return found


def execute(db: Db, *statements: str) -> None:
    for statement in statements:
        db.execute(statement.encode())


# --- Columns -------------------------------------------------------------------------------------

ROWS = [
    {
        "table": table,
        "column": column.name,
        "type": column.type,
        "nullable": column.nullable,
        "default": column.default,
        "identity": False,
    }
    for table, made in TABLES.items()
    for column in made
]


def examined(rows: list[dict[str, Any]]) -> list[Finding]:
    """Return what is found of our tables if these are their columns."""
    plan = columns.find(tuple(TABLES))
    next(plan)
    with pytest.raises(StopIteration) as done:
        plan.send(rows)
    found: list[Finding] = done.value.value
    return found


@pytest.mark.parametrize("at", range(len(ROWS)), ids=lambda at: ROWS[at]["column"])
def test_each_column_is_looked_at(at: int) -> None:
    """Of whichever column of ours: that it is gone, of another type, or NULL, or has no default."""
    assert examined(ROWS) == []
    row = ROWS[at]
    for change in (None, {"type": "point"}, {"nullable": not row["nullable"]}, {"default": None}):
        if change == {"default": row["default"]}:
            continue
        changed = [] if change is None else [row | change]
        (finding,) = examined([*ROWS[:at], *changed, *ROWS[at + 1 :]])
        assert (finding.check, finding.count) == ("column", 1)
        assert finding.which == [f"{row['table']}.{row['column']}"]
        assert finding.is_problem


@pytest.mark.parametrize(
    ("which", "breakage"),
    [
        ("session_threads.last_save", "ALTER TABLE session_threads DROP COLUMN last_save"),
        ("session_users.preferences", "ALTER TABLE session_users DROP COLUMN preferences"),
        (
            "user_sessions_migrations.breaking",
            "ALTER TABLE user_sessions_migrations DROP COLUMN breaking",
        ),
        ("user_sessions.id", "ALTER TABLE user_sessions ALTER id TYPE integer"),
        ("user_sessions.title", "ALTER TABLE user_sessions ALTER title TYPE text"),
        (
            "user_sessions.created_at",
            "ALTER TABLE user_sessions ALTER created_at TYPE timestamp(0)",
        ),
        (
            "user_sessions.is_active",
            "DROP INDEX user_sessions_current_idx, user_sessions_agent_current_idx;"
            "ALTER TABLE user_sessions ALTER is_active DROP DEFAULT,"
            " ALTER is_active TYPE text, ALTER is_active SET DEFAULT 'yes'",
        ),
        (
            "user_sessions.title_source",
            "ALTER TABLE user_sessions ALTER title_source DROP NOT NULL;"
            " INSERT INTO session_threads (thread_id, user_id) VALUES ('t', 'alice');"
            " INSERT INTO user_sessions (user_id, thread_id, title, title_source)"
            " VALUES ('alice', 't', '', NULL)",
        ),
        ("session_threads.last_save", "ALTER TABLE session_threads ALTER last_save SET NOT NULL"),
        ("user_sessions.status", "ALTER TABLE user_sessions ALTER status DROP DEFAULT"),
        ("user_sessions.status", "ALTER TABLE user_sessions ALTER status SET DEFAULT 'error'"),
    ],
)
def test_what_is_not_as_it_was_made_is_mended(which: str, breakage: str, url: str, db: Db) -> None:
    """A changed column is found, alone, and the SQL that the doctor gives mends it."""
    made = catalogue(url)
    execute(db, *breakage.split(";"))
    found = diagnose(url)
    assert [(finding.check, finding.which) for finding in found][:1] == [("column", [which])]
    while found:  # What a column takes with it is found when the column is there again.
        execute(db, *(statement for finding in found for statement in finding.mend.split("; ")))
        assert diagnose(url) != found
        found = diagnose(url)
    assert {kind: catalogue(url)[kind] for kind in ("indexes", "functions")} == {
        kind: made[kind] for kind in ("indexes", "functions")
    }


def test_what_only_a_backup_has_is_not_made_up(url: str, db: Db) -> None:
    """Of a column whose values nothing can stand for, the doctor says so."""
    execute(db, "ALTER TABLE user_sessions DROP COLUMN title")
    (finding,) = diagnose(url)
    assert "restore user_sessions.title from a backup" in finding.mend


def test_an_identity_numbers_rows_as_well(url: str, db: Db) -> None:
    """An id that is numbered otherwise than by our sequence is as good."""
    execute(
        db,
        "ALTER TABLE user_sessions ALTER id DROP DEFAULT",
        "ALTER TABLE user_sessions ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
    )
    assert diagnose(url) == []


FOREIGN = [
    'ALTER TABLE user_sessions ADD COLUMN "The team" text NOT NULL',
    "ALTER TABLE session_users ADD COLUMN tenant integer NOT NULL",
    "ALTER TABLE checkpoints ADD COLUMN tenant integer NOT NULL",
]
HARMLESS = [
    "ALTER TABLE user_sessions ADD COLUMN team text",
    "ALTER TABLE user_sessions ADD COLUMN tenant integer NOT NULL DEFAULT 1",
    "ALTER TABLE user_sessions ADD COLUMN n integer GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE user_sessions ADD COLUMN low text NOT NULL GENERATED ALWAYS AS (title) STORED",
    "CREATE DOMAIN tenant AS integer DEFAULT 1",
    "ALTER TABLE checkpoints ADD COLUMN tenant tenant NOT NULL",
]


def test_a_foreign_column_that_fails_every_insert(saver: SessionSaver, url: str, db: Db) -> None:
    """Somebody's NOT NULL column without a default is found, of both packages' tables."""
    execute(db, *FOREIGN)
    graph = graph_builder().compile(checkpointer=saver)
    with pytest.raises(psycopg.errors.NotNullViolation):
        graph.invoke({"messages": ["Hi"]}, config(user_id="alice"))
    (finding,) = diagnose(url)
    assert finding.check == "column-foreign"
    assert sorted(finding.which) == [
        "checkpoints.tenant",
        "session_users.tenant",
        "user_sessions.The team",
    ]
    execute(db, *finding.mend.split("; "))
    assert diagnose(url) == []
    graph.invoke({"messages": ["Hi"]}, config(user_id="alice"))


def test_foreign_columns_that_do_no_harm(saver: SessionSaver, url: str, db: Db) -> None:
    """Columns that may be NULL, or give themselves a value, are nobody's business."""
    execute(db, *HARMLESS)
    assert diagnose(url) == []
    graph = graph_builder().compile(checkpointer=saver)
    graph.invoke({"messages": ["Hi"]}, config(user_id="alice"))
    session = saver.sessions.get_current_user_session("alice")
    saver.sessions.fork_session("alice", session.thread_id)


# --- Versions and functions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "breakage", ["DELETE FROM user_sessions_functions", "DROP TABLE user_sessions_functions"]
)
def test_older_functions_are_mended_by_setup(breakage: str, url: str, db: Db) -> None:
    """Functions of a lower number are found, and made by setup()."""
    execute(db, breakage, "DROP FUNCTION user_sessions_refuse")
    (finding,) = diagnose(url)
    assert (finding.check, finding.is_problem) == ("functions-old", True)
    assert "number 0" in finding.what
    assert "sessions setup" in finding.mend
    with SessionSaver(url) as saver:
        saver.setup()
    assert diagnose(url) == []


CHANGED = """
CREATE OR REPLACE FUNCTION user_sessions_waits(p_thread_id text) RETURNS boolean
LANGUAGE sql STABLE AS $$ SELECT TRUE $$"""


def test_newer_functions_are_noted(url: str, db: Db) -> None:
    """What a newer version made of the functions is right; one that is missing is not."""
    execute(db, "INSERT INTO user_sessions_functions (version) VALUES (999)", CHANGED)
    (note,) = diagnose(url)
    assert (note.check, note.is_problem) == ("functions-new", False)
    execute(db, "DROP FUNCTION user_sessions_refuse")
    finding, *notes = diagnose(url)
    assert (finding.check, finding.which) == ("function", ["user_sessions_refuse"])
    assert notes == [note]


def test_newer_tables_are_noted(url: str, db: Db) -> None:
    """A newer version that this one can go on with is no problem, nor is what it changed."""
    execute(
        db,
        "INSERT INTO user_sessions_migrations (version) VALUES (999)",
        "DROP INDEX user_sessions_user_idx",
        "ALTER TABLE user_sessions ALTER title TYPE text",
    )
    (note,) = diagnose(url)
    assert (note.check, note.is_problem) == ("schema-new", False)


def test_a_function_beside_ours(url: str, db: Db) -> None:
    """One of the same name with other arguments is found, and dropped by the SQL given."""
    execute(
        db,
        "CREATE FUNCTION user_sessions_put(p text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        "CREATE FUNCTION user_sessions_owner(p_metadata jsonb, n integer DEFAULT 1)"
        " RETURNS text LANGUAGE sql AS $$ SELECT 'me' $$",
        "CREATE SCHEMA elsewhere",
        "CREATE FUNCTION elsewhere.user_sessions_put(p text) RETURNS text LANGUAGE sql"
        " AS 'SELECT $1'",
    )
    (finding,) = diagnose(url)
    assert (finding.check, finding.is_problem) == ("function-extra", True)
    assert finding.which == ["user_sessions_owner(jsonb,integer)", "user_sessions_put(text)"]
    execute(db, finding.mend.partition(": ")[2])
    assert diagnose(url) == []


def test_who_else_may_create_in_the_schema_is_noted(url: str, db: Db) -> None:
    """Whoever may create there could put a function in place of ours."""
    execute(db, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    (note,) = diagnose(url)
    assert (note.check, note.is_problem, note.which) == ("schema-open", False, ["PUBLIC"])
    execute(db, note.mend)
    assert diagnose(url) == []


# --- Indexes and partitions ----------------------------------------------------------------------


@pytest.fixture
def parts(db: Db) -> Db:
    """A database in which LangGraph's tables are hash-partitioned by thread."""
    db.execute(partitions.script(LANGGRAPH, 3).encode())
    return db


def test_partitions_are_no_fault(saver: SessionSaver, url: str, parts: Db) -> None:
    """Partitioned tables are told of as they are, and what they lack is not made up."""
    graph = graph_builder().compile(checkpointer=saver)
    for user in ("alice", "bob", "carol"):
        graph.invoke({"messages": ["Hi"]}, config(user_id=user))
        session = saver.sessions.get_current_user_session(user)
        fork = saver.sessions.fork_session(user, session.thread_id)
        assert texts(graph.get_state(fork.config)) == ["Hi", "1 so far"]
    (note,) = diagnose(url)
    assert (note.check, note.is_problem) == ("partitioned", False)
    assert note.what == "tables are partitioned by HASH (thread_id)"
    assert sorted(note.which) == sorted(partitions.TABLES)


def test_a_partition_that_is_missing_is_found(url: str, parts: Db) -> None:
    """Threads whose hash has no partition cannot be saved: a problem that names the table."""
    execute(parts, "DROP TABLE checkpoint_blobs_p1")
    finding, note = diagnose(url)
    assert (finding.check, finding.which) == ("partition-missing", ["checkpoint_blobs"])
    assert (note.check, note.is_problem) == ("partitioned", False)
    execute(
        parts,
        "CREATE TABLE again PARTITION OF checkpoint_blobs FOR VALUES WITH (MODULUS 3, REMAINDER 1)",
    )
    assert [note.check for note in diagnose(url)] == ["partitioned"]


@pytest.mark.parametrize(
    ("check", "which", "breakages"),
    [
        (
            "index-missing",
            "checkpoints_thread_id_idx",
            ["DROP INDEX checkpoints_thread_id_idx"],
        ),
        (
            "index-invalid",
            "checkpoint_writes_thread_id_idx",
            [
                "DROP INDEX checkpoint_writes_thread_id_idx",
                "CREATE INDEX checkpoint_writes_thread_id_idx"
                " ON ONLY checkpoint_writes (thread_id)",
            ],
        ),
        (
            "index-invalid",
            "checkpoints_p1_thread_id_idx",
            [
                "UPDATE pg_index SET indisvalid = FALSE"
                " WHERE indexrelid = 'checkpoints_p1_thread_id_idx'::regclass"
            ],
        ),
        (
            "index-other",
            "checkpoints_thread_id_idx",
            [
                "DROP INDEX checkpoints_thread_id_idx",
                "CREATE INDEX checkpoints_thread_id_idx ON checkpoints (checkpoint_id)",
            ],
        ),
    ],
)
def test_the_indexes_of_partitioned_tables(
    check: str, which: str, breakages: list[str], url: str, parts: Db
) -> None:
    """What an index of a partitioned table lacks is found, and mended by the SQL given."""
    execute(parts, *breakages)
    finding, _ = diagnose(url)
    assert (finding.check, finding.which) == (check, [which])
    mend = finding.mend.replace(" (or its constraint)", "")
    execute(parts, *mend.split("; "))
    assert [note.check for note in diagnose(url)] == ["partitioned"]


@pytest.mark.parametrize(
    "definition",
    [
        "user_sessions (user_id, is_active)",
        "user_sessions (user_id, is_active, updated_at, id)",
        "user_sessions (user_id, is_active, updated_at DESC, id DESC) WHERE is_active",
        "user_sessions USING hash (user_id)",
        "user_sessions (user_id, lower(title), updated_at DESC, id DESC)",
    ],
)
def test_an_index_that_is_not_what_its_name_says(definition: str, url: str, db: Db) -> None:
    """Other columns, another order, another kind or condition under the name is found."""
    name = "user_sessions_active_idx"
    execute(db, f"DROP INDEX {name}", f"CREATE INDEX {name} ON {definition}")
    (finding,) = diagnose(url)
    assert (finding.check, finding.which) == ("index-other", [name])
