"""`sessions doctor`: what it finds, what it does not, and that what it says mends it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_sessions import SessionSaver
from langgraph_sessions.database import place
from langgraph_sessions.doctor import visit
from langgraph_sessions.sql import ddl
from tests.catalogue import catalogue
from tests.operating import Db, Operate, ask, leave_behind, psql, talk
from tests.support import config, graph_builder
from tests.terminal import run

pytestmark = [
    pytest.mark.whole("what is found on partitions has tests of its own"),
    pytest.mark.one_server("what is found on Citus has tests of its own"),
]

SET = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {}', current_database()); END $$"
CHECKPOINT = (
    "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata) "
    "VALUES ('t', '1', '{}', '{}')"
)
UNVERSIONED = [
    f"{table} looks like this package's, but no row of user_sessions_migrations says so"
    for table in ("session_threads", "session_users", "session_reservations", "user_sessions")
]
BREAKAGES = [
    ("schema-old", [], "DROP SCHEMA public CASCADE; CREATE SCHEMA public"),
    ("table-foreign", UNVERSIONED, "DELETE FROM user_sessions_migrations"),
    ("table-foreign", UNVERSIONED, "DROP TABLE user_sessions_migrations"),
    ("schema-old", [], "DELETE FROM checkpoint_migrations WHERE v > 4"),
    (
        "schema-new",
        [],
        "INSERT INTO user_sessions_migrations (version, breaking) VALUES (999, TRUE)",
    ),
    ("schema-new", [], "INSERT INTO checkpoint_migrations (v) VALUES (999)"),
    ("table-missing", ["checkpoint_writes"], "DROP TABLE checkpoint_writes"),
    ("table-missing", ["user_sessions"], "DROP TABLE user_sessions CASCADE"),
    ("table-missing", ["session_threads"], "DROP TABLE session_threads CASCADE"),
    ("index-missing", ["user_sessions_user_idx"], "DROP INDEX user_sessions_user_idx"),
    ("index-missing", ["checkpoints_thread_id_idx"], "DROP INDEX checkpoints_thread_id_idx"),
    (
        "index-missing",
        ["user_sessions_thread_id_key"],
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_thread_id_key",
    ),
    (
        "index-missing",
        ["checkpoint_blobs_pkey"],
        "ALTER TABLE checkpoint_blobs DROP CONSTRAINT checkpoint_blobs_pkey",
    ),
    ("column", ["user_sessions.metadata"], "ALTER TABLE user_sessions DROP COLUMN metadata"),
    ("column", ["user_sessions.id"], "ALTER TABLE user_sessions ALTER id DROP DEFAULT"),
    ("column", ["user_sessions.id"], "ALTER TABLE user_sessions DROP COLUMN id CASCADE"),
    (
        "index-other",
        ["user_sessions_recent_idx"],
        "DROP INDEX user_sessions_recent_idx;"
        " CREATE INDEX user_sessions_recent_idx ON user_sessions (title)",
    ),
    (
        "index-other",
        ["user_sessions_thread_id_key"],
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_thread_id_key;"
        " CREATE INDEX user_sessions_thread_id_key ON user_sessions (thread_id)",
    ),
    (
        "index-invalid",
        ["user_sessions_recent_idx"],
        "UPDATE pg_index SET indisvalid = FALSE "
        "WHERE indexrelid = 'user_sessions_recent_idx'::regclass",
    ),
    (
        "index-invalid",
        ["checkpoint_blobs_thread_id_idx"],
        "UPDATE pg_index SET indisvalid = FALSE "
        "WHERE indexrelid = 'checkpoint_blobs_thread_id_idx'::regclass",
    ),
    ("function", ["user_sessions_refuse"], "DROP FUNCTION user_sessions_refuse"),
    (
        "function",
        ["user_sessions_owner"],
        "CREATE OR REPLACE FUNCTION user_sessions_owner(p_metadata jsonb) RETURNS text "
        "LANGUAGE sql IMMUTABLE AS $$ SELECT 'me' $$",
    ),
    (
        "thread-without-session",
        ["t"],
        CHECKPOINT.replace("'{}')", """'{"user_id": "carol"}')"""),
    ),
    (
        "stray-rows",
        ["t"],
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob) "
        "VALUES ('t', '1', 'x', 0, 'c', '')",
    ),
    (
        "stray-rows",
        ["t"],
        "INSERT INTO checkpoint_blobs (thread_id, channel, version, type) "
        "VALUES ('t', 'c', '1', 'empty')",
    ),
    (
        "session-unpaired",
        ["t"],
        "INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('alice', 't', 'By hand')",
    ),
    (
        "session-unpaired",
        ["t"],
        "INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('alice', 't', 'By hand');"
        "INSERT INTO session_threads (thread_id, user_id) VALUES ('t', 'bob')",
    ),
    (
        "thread-unpaired",
        ["t"],
        "INSERT INTO session_threads (thread_id, user_id) VALUES ('t', 'alice')",
    ),
    ("isolation", [], SET.format("default_transaction_isolation = serializable")),
    ("read-only", [], SET.format("default_transaction_read_only = on")),
]
MENDED = ("index-missing", "index-invalid", "stray-rows", "session-unpaired", "thread-unpaired")
REMARKABLE = [
    ("thread-of-nobody", ["t"], CHECKPOINT),
    (
        "session-without-thread",
        ["t"],
        "INSERT INTO user_sessions (user_id, thread_id, title, created_at) "
        "VALUES ('alice', 't', 'Unused', now() - interval '2 hours');"
        "INSERT INTO session_threads (thread_id, user_id) VALUES ('t', 'alice')",
    ),
]


def diagnose(operate: Operate, database: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the doctor's status and findings, and see that people are told the same."""
    done = operate("doctor", "--json", database=database)
    report = json.loads(done.out)
    told = operate("doctor", database=database)
    assert (told.status, told.err, done.err) == (done.status, "", "")
    assert report["healthy"] is (done.status == 0)
    for finding in report["findings"]:
        assert f"{'Problem' if finding['is_problem'] else 'Note'}: {finding['what']}" in told.out
        assert f"    mend: {finding['mend']}\n" in told.out
    return done.status, report["findings"]


def test_a_healthy_database(operate: Operate, saver: SessionSaver, url: str) -> None:
    """With sessions used, fresh, waiting and forked, nothing is found."""
    talk(saver, "alice", "Hi")
    saver.sessions.create_user_session("alice")
    graph_builder(ask).compile(checkpointer=saver).invoke({"messages": ["Hm"]}, config(user_id="b"))
    assert diagnose(operate, url) == (0, [])
    assert operate("doctor").out == "Healthy.\n"


@pytest.mark.parametrize(("check", "which", "breakage"), [*BREAKAGES, *REMARKABLE])
def test_what_the_doctor_finds(
    check: str, which: list[str], breakage: str, operate: Operate, url: str, db: Db
) -> None:
    """Each way in which a database can be broken is found, alone, and nothing is changed."""
    for statement in breakage.split(";") if "DO" not in breakage else [breakage]:
        db.execute(statement)
    before = catalogue(url)
    status, findings = diagnose(operate, url)
    assert {finding["check"] for finding in findings} == {check}
    assert findings[0]["which"] == which
    assert status == (0 if check in {name for name, *_ in REMARKABLE} else 1)
    assert catalogue(url) == before


@pytest.mark.parametrize(
    ("check", "breakage"),
    [
        (check, breakage)
        for check, which, breakage in BREAKAGES
        if check in MENDED and "_pkey" not in which[0]
    ],
)
def test_what_mends_it(check: str, breakage: str, operate: Operate, url: str, db: Db) -> None:
    """The SQL that the doctor gives, run as it stands, mends what it found."""
    for statement in breakage.split(";"):
        db.execute(statement)
    _, (finding,) = diagnose(operate, url)
    db.execute(finding["mend"].removeprefix("while no run is at work: "))
    assert diagnose(operate, url) == (0, [])


def test_what_commands_mend(operate: Operate, url: str, db: Db) -> None:
    """`ddl --functions` restores functions; `backfill` makes the sessions of bare threads."""
    db.execute("DROP FUNCTION user_sessions_refuse, user_sessions_status")
    _, (finding,) = diagnose(operate, url)
    assert finding["which"] == ["user_sessions_refuse", "user_sessions_status"]
    assert "ddl --functions" in finding["mend"]
    psql(url, operate("ddl", "--functions").out)
    leave_behind(url, "old", user_id="carol")
    _, (finding,) = diagnose(operate, url)
    assert finding["mend"].endswith("sessions backfill")
    operate("backfill")
    assert diagnose(operate, url) == (0, [])


def test_an_old_schema_is_mended_by_setup(operate: Operate, empty_url: str) -> None:
    """Of a plain saver's database, ours alone are missing; setup mends it."""
    leave_behind(empty_url, "old", user_id="carol")
    _, (finding,) = diagnose(operate, empty_url)
    assert finding["what"].startswith("the tables of langgraph-sessions are missing")
    with SessionSaver(empty_url) as saver:
        saver.setup()
    assert [f["check"] for f in diagnose(operate, empty_url)[1]] == ["thread-without-session"]


def test_missing_rights(operate: Operate, url: str, db: Db) -> None:
    """What the role may not do is found, and granted by the SQL that the doctor gives."""
    role = f"Reader-{db.info.dbname}"
    db.execute(f'CREATE ROLE "{role}" LOGIN')
    try:
        db.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
        theirs = make_conninfo(url, user=role)
        status, (finding,) = diagnose(operate, theirs)
        assert (status, finding["check"]) == (1, "rights")
        assert {"UPDATE on checkpoints", "USAGE on public.user_sessions_id_seq"} <= set(
            finding["which"]
        )
        assert "SELECT on checkpoints" not in finding["which"]
        db.execute(finding["mend"])
        assert diagnose(operate, theirs) == (0, [])
        with SessionSaver(theirs) as saver:
            talk(saver, "alice", "Hi")
            saver.sessions.delete_user("alice")
    finally:
        db.execute(f'DROP OWNED BY "{role}"')
        db.execute(f'DROP ROLE "{role}"')


def test_an_old_server(operate: Operate, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than what is supported is found."""
    monkeypatch.setattr(visit, "OLDEST_SERVER", 99)
    assert [finding["check"] for finding in diagnose(operate, url)[1]] == ["server-version"]


def test_an_old_server_is_used_for_nothing(
    operate: Operate, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither read nor set up: it is named by its version, where its statements would fail."""
    monkeypatch.setattr(place, "OLDEST_SERVER", 99)
    for command in ("list", "setup"):
        done = operate(command)
        assert (done.status, done.out) == (2, "")
        assert re.fullmatch(
            r"Error: the server is PostgreSQL \d\d, which is too old: it must be 99 or newer\n",
            done.err,
        )


def test_another_encoding(operate: Operate, server: str, db: Db) -> None:
    """A database that cannot hold every character is found."""
    name = f"ascii_{db.info.dbname}"
    db.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' "
        "LOCALE_PROVIDER libc LOCALE 'C'"
    )
    database = make_conninfo(server, dbname=name)
    psql(database, ddl.ddl(MIGRATIONS))
    assert [finding["check"] for finding in diagnose(operate, database)[1]] == ["encoding"]
    db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def pooler(url: str) -> Iterator[str]:
    """Stand before the server, and announce another process, as PgBouncer does."""
    info = conninfo_to_dict(url)
    path = f"{info['host']}/.s.PGSQL.{info.get('port', 5432)}"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, path), daemon=True).start()
        port = listening.getsockname()[1]
        yield make_conninfo(
            url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )


def _accept(listening: socket.socket, path: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=_relay, args=pair, daemon=True).start()


def _relay(source: socket.socket, target: socket.socket, is_server: bool) -> None:
    """Pass on what comes; of the server's BackendKeyData, change the process id."""
    with contextlib.suppress(OSError), source, target:
        while data := source.recv(65536):
            at = data.find(b"K\x00\x00\x00\x0c") if is_server else -1
            if at >= 0:
                data = data[: at + 5] + b"\x7f\x00\x00\x01" + data[at + 9 :]
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_pooler_is_noted(operate: Operate, url: str) -> None:
    """A pooler before the server is no problem, but what it asks of one's own pools is told."""
    if not conninfo_to_dict(url).get("host", "").startswith("/"):
        pytest.skip("the test server has no socket")
    with pooler(url) as pooled:
        status, (finding,) = diagnose(operate, pooled)
    assert (status, finding["check"], finding["is_problem"]) == (0, "pooler", False)
    assert "prepare_threshold=None" in finding["mend"]


def test_a_pooler_in_transaction_mode() -> None:
    """A server process that changes under a connection gives transaction mode away."""
    (finding,) = visit._pooler(1, 2, 3)
    assert "such as PgBouncer stands before the server, in transaction mode" in finding.what
    assert list(visit._pooler(1, 1, 1)) == []


def test_many_orphans_are_counted_and_a_few_named(operate: Operate, url: str, db: Db) -> None:
    """Of many, the count is told and five are named, whatever is in their names."""
    db.execute(
        "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata) "
        "SELECT E'\\x1b[31m' || n, '1', '{}', '{\"user_id\": \"carol\"}' "
        "FROM generate_series(10, 2510) AS n"
    )
    status, (finding,) = diagnose(operate, url)
    assert (status, finding["count"], len(finding["which"])) == (1, 2501, 5)
    assert "(2501: \\x1b[31m10, " in operate("doctor").out


def test_doctor_as_a_program(url: str, db: Db, tmp_path: Path) -> None:
    """In a process of its own, its status says whether something is to be mended."""
    words = ("sessions", "doctor", "--database", url)
    healthy = run(*words, cwd=tmp_path)
    assert (healthy.returncode, healthy.stderr.count("\n")) == (0, 1)
    assert healthy.stdout == "Healthy.\n"
    db.execute("DROP INDEX user_sessions_user_idx")
    ill = run(*words, cwd=tmp_path)
    assert (ill.returncode, ill.stderr.count("\n")) == (1, 1)
    assert "Problem: an index is missing (1: user_sessions_user_idx)\n" in ill.stdout
    assert ill.stdout.endswith("\n1 problem.\n")
