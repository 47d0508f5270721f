"""The functions in the database are files with a number of their own."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.sql import ddl, functions
from langgraph_sessions.sql.citus import functions as citus_functions
from langgraph_sessions.sql.functions import Function
from tests.catalogue import catalogue
from tests.support import config, graph_builder, texts

Db = psycopg.Connection[Any]

# The number of the functions, and the digest of their files as they are under this number.
NUMBER = 1
DIGEST = "78c4ca21d307022eb3a8bdd87cb64cec972e74e0a2245b03c59c53c27450115a"

MADE = "SELECT version FROM user_sessions_functions ORDER BY version"
BODY = "SELECT prosrc AS body FROM pg_proc WHERE proname = 'user_sessions_thread_owner'"


def test_who_edits_a_function_raises_the_number() -> None:
    """The files are those of the number: without another, no database would get a mended one."""
    text = "\n".join(function.sql for function in (*functions.load(), *citus_functions.load()))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert (functions.FUNCTIONS_VERSION, digest) == (NUMBER, DIGEST), (
        f"raise FUNCTIONS_VERSION and set the digest: {digest}"
    )


def test_every_file_is_a_function_with_its_reason() -> None:
    """Each file is loaded, makes the function of its name, and says in the body what it is for."""
    files = {Path(file.name) for file in resources.files(functions).iterdir()}
    assert {file.stem for file in files if file.suffix == ".sql"} == set(functions.FILES)
    for file, function in zip(functions.FILES, functions.load(), strict=True):
        assert function.name == f"user_sessions_{file}"
        assert function.body.startswith("\n-- ")


def test_every_function_for_citus_says_what_it_is_for() -> None:
    """Each file makes the function of its name, and each takes its place, or comes after all."""
    files = {Path(file.name) for file in resources.files(citus_functions).iterdir()}
    named = {*citus_functions.OTHERS, *citus_functions.MORE}
    assert {file.stem for file in files if file.suffix == ".sql"} == named
    made = {function.name: function for function in citus_functions.load()}
    assert all(function.body.startswith("\n-- ") for function in made.values())
    assert {f"user_sessions_{name}" for name in (*functions.FILES, *named)} <= made.keys()
    assert list(made)[: len(functions.FILES)] == [function.name for function in functions.load()]


def test_the_sqlstates_and_the_default_title_are_pythons() -> None:
    """What the files raise, and call a session without a title, is what Python knows them by."""
    text = "\n".join(function.sql for function in functions.load())
    known = {functions.NOT_FOUND, functions.IN_USE, functions.NO_CHECKPOINT, functions.CONFLICT}
    known |= {functions.TOO_LARGE}
    assert set(re.findall(r"ERRCODE = '(\w+)'", text)) == known
    (put,) = (f.sql for f in functions.load() if f.name == "user_sessions_put")
    assert f"'{DEFAULT_TITLE}'" in put


@pytest.mark.parametrize("name", ["put", "plain", "refuse", "copy_session"])
def test_what_runs_call_takes_one_jsonb(name: str) -> None:
    """The signature of what workers of several versions call never changes."""
    (function,) = (f for f in functions.load() if f.name == f"user_sessions_{name}")
    assert function.arguments == "p jsonb"


def test_every_call_names_its_schema_or_is_of_ours() -> None:
    """What PostgreSQL has is called with `pg_catalog.`, in whatever schema others may create."""
    grammar = {"bit", "coalesce", "greatest", "least", "nullif", "position", "substring"}
    grammar |= {"OPERATOR", "unnest"}  # That of several arrays.
    for function in {*functions.load(), *citus_functions.load()}:
        code = re.sub(r"--.*|'[^']*'", "", function.body)
        calls = set(re.findall(r"(?<![\w.$])(\w+)\(", code))
        ours = {call for call in calls if call.startswith("user_sessions_")}
        assert calls - ours <= grammar, function.name
        assert not re.search(r"->>? '[^']*'(?!::text)", function.body), function.name


def test_absent_keys_have_defaults_and_unknown_ones_are_ignored(db: Db) -> None:
    """An older worker leaves keys out, and a newer one gives more: both save."""
    where = '"user_id": "alice", "thread_id": "t"'
    put = f"SELECT user_sessions_put('{{{where}, \"new\": [1]}}') AS row"
    (made,) = (found["row"] for found in db.execute(put.encode()))
    assert (made["title"], made["title_source"], made["is_active"]) == ("New Chat", "default", True)
    refuse = f"SELECT user_sessions_refuse('{{{where}, \"new\": [1]}}')"
    with pytest.raises(psycopg.Error) as refused:
        db.execute(refuse.encode())
    assert refused.value.sqlstate == functions.CONFLICT
    copied = (
        """SELECT user_sessions_copy_session('{"source": "t", "target": "u", "x": 1}') AS row"""
    )
    (copy,) = (found["row"] for found in db.execute(copied))
    assert (copy["user_id"], copy["thread_id"]) == ("alice", "u")


def set_number(patch: pytest.MonkeyPatch, number: int) -> None:
    """Let the package's functions have another number, of which the bodies tell."""
    told = [f._replace(sql=f.sql.replace("$$\n--", f"$$\n-- {number}.", 1)) for f in LOADED]
    patch.setattr(functions, "load", lambda: tuple(told))
    patch.setattr(functions, "FUNCTIONS_VERSION", number)


LOADED: tuple[Function, ...] = functions.load()


@pytest.mark.one_server("it changes the functions of one server")
@pytest.mark.parametrize("first", ["setup", "use"])
def test_functions_of_a_higher_number_are_made_of_a_lower_never(
    first: str, url: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer package makes all functions again, on its own; an older one leaves them alone."""
    for number, made in ((3, 3), (2, 3), (5, 5)):
        set_number(monkeypatch, number)
        with SessionSaver(url) as saver:
            if first == "setup":
                saver.setup()
            else:
                saver.sessions.count_sessions()
        (row,) = db.execute(BODY)
        assert row["body"].startswith(f"\n-- {made}.")
    assert [row["version"] for row in db.execute(MADE)] == [1, 3, 5]


@pytest.mark.one_server("it changes the functions of one server")
def test_functions_and_their_number_are_made_together(
    url: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one of them cannot be made, none is, and the number stays."""
    before = catalogue(url)
    set_number(monkeypatch, 2)
    wrong = LOADED[-1]._replace(sql="CREATE FUNCTION nonsense")
    monkeypatch.setattr(functions, "load", lambda told=functions.load: (*told()[:-1], wrong))
    with SessionSaver(url) as saver, pytest.raises(psycopg.errors.SyntaxError):
        saver.setup()
    assert catalogue(url) == before
    assert [row["version"] for row in db.execute(MADE)] == [1]


@pytest.mark.one_server("Citus has no unique column but the key")
def test_a_column_added_later_is_copied(saver: SessionSaver, url: str, db: Db) -> None:
    """A fork has what stands in columns that its function was not told of, of each table.

    But not what is the table's own to give: a computed column, and one that is unique.
    """
    for table in ("user_sessions", "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN extra text".encode())
    db.execute(
        "ALTER TABLE user_sessions ADD COLUMN low text GENERATED ALWAYS AS (lower(title)) STORED"
    )
    db.execute("ALTER TABLE user_sessions ADD COLUMN public uuid UNIQUE DEFAULT gen_random_uuid()")
    db.execute("ALTER TABLE user_sessions DROP COLUMN metadata")
    db.execute("ALTER TABLE user_sessions ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}'")
    graph = graph_builder().compile(checkpointer=saver)
    for text in ("One", "Two"):
        graph.invoke({"messages": [text]}, config(user_id="alice", thread_id="t"))
    for table in ("user_sessions", "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        db.execute(f"UPDATE {table} SET extra = 'kept'".encode())
    older = list(graph.get_state_history(config(user_id="alice", thread_id="t")))[3].config
    at = older["configurable"]["checkpoint_id"]
    for checkpoint_id, said in (
        (None, ["One", "1 so far", "Two", "3 so far"]),
        (at, ["One", "1 so far"]),
    ):
        fork = saver.sessions.fork_session("alice", "t", checkpoint_id=checkpoint_id, title="Fork")
        assert texts(graph.get_state(fork.config)) == said
        for table in ("user_sessions", "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            query = f"SELECT DISTINCT extra FROM {table} WHERE thread_id = %s".encode()
            assert [row["extra"] for row in db.execute(query, (fork.thread_id,))] == ["kept"]
    computed = db.execute("SELECT low, public FROM user_sessions ORDER BY id").fetchall()
    assert [row["low"] for row in computed] == ["one", "fork", "fork"]
    assert len({row["public"] for row in computed}) == 3


@pytest.mark.one_server("it changes the functions of one server")
def test_the_script_makes_functions_with_their_number(url: str, db: Db) -> None:
    """`ddl --functions` makes what setup makes, number included, also where it is made already."""
    before = catalogue(url)
    db.execute("DROP FUNCTION user_sessions_refuse")
    db.execute("DELETE FROM user_sessions_functions")
    script = ddl.functions_script().encode()
    assert b"-- The functions of langgraph-sessions, number 1\n" in script
    for _ in range(2):
        db.execute(script)
        assert catalogue(url) == before
        assert [row["version"] for row in db.execute(MADE)] == [1]


def test_the_script_refuses_newer_functions(url: str, db: Db) -> None:
    """An older package's `ddl --functions` does not put its functions in place of newer ones."""
    db.execute("DROP FUNCTION user_sessions_refuse")
    db.execute("INSERT INTO user_sessions_functions (version) VALUES (2)")
    before = catalogue(url)
    with pytest.raises(psycopg.errors.RaiseException, match="newer langgraph-sessions"):
        db.execute(ddl.functions_script().encode())
    db.execute("ROLLBACK")
    assert catalogue(url) == before
