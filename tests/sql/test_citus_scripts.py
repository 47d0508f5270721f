"""The tables distributed by Citus: by the command, by the script, from nothing and in use."""

from __future__ import annotations

import subprocess

import psycopg
import pytest
from psycopg.rows import scalar_row

from langgraph_sessions import SessionSaver
from langgraph_sessions.sql.citus import functions
from tests import clusters
from tests.operating import Operate, leave_behind, psql, talk
from tests.support import graph_builder, texts

FUNCTIONS = "SELECT prosrc FROM pg_proc WHERE proname LIKE 'user\\_sessions\\_%%' ORDER BY 1"


def keys(url: str) -> dict[str, str | None]:
    """Return by what each table is distributed, `None` for everywhere."""
    with psycopg.connect(url) as conn:
        return dict(
            conn.execute(
                "SELECT logicalrelid::text, column_to_column_name(logicalrelid, partkey)"
                " FROM pg_dist_partition"
            ).fetchall()
        )


def said(saver: SessionSaver, user: str) -> list[str]:
    session = saver.sessions.get_current_user_session(user)
    return texts(graph_builder().compile(checkpointer=saver).get_state(session.config))


def healthy(operate: Operate, url: str) -> bool:
    """Say whether the doctor finds nothing to mend, and knows that Citus is there."""
    done = operate("doctor", "--json", database=url)
    checks = [finding["check"] for finding in done.json["findings"]]
    return bool(done.json["healthy"]) and checks == ["citus"]


def test_the_command_distributes(operate: Operate, citus_url: str, distributed_url: str) -> None:
    """`setup --citus` makes what `setup(citus=True)` makes; again, it changes nothing."""
    done = operate("setup", "--citus", database=citus_url)
    assert done.out == "The tables are there, distributed, and up to date.\n"
    assert clusters.made(citus_url) == clusters.made(distributed_url)
    assert keys(citus_url) == keys(distributed_url)
    before = clusters.whole(citus_url)
    assert operate("setup", "--citus", database=citus_url).status == 0
    assert operate("setup", database=citus_url).status == 0
    assert clusters.whole(citus_url) == before


def test_the_script_from_nothing(operate: Operate, citus_url: str, distributed_url: str) -> None:
    """On an empty database, `ddl --citus` makes what `setup(citus=True)` makes."""
    psql(citus_url, operate("ddl", "--citus", database="postgresql://nowhere.invalid/x").out)
    assert clusters.made(citus_url) == clusters.made(distributed_url)
    assert keys(citus_url) == keys(distributed_url)
    with SessionSaver(citus_url, auto_setup=False) as saver:
        talk(saver, "alice", "Hi")
        assert said(saver, "alice") == ["Hi", "1 so far"]
    assert healthy(operate, citus_url)


@pytest.mark.parametrize("has_ours", [True, False])
def test_the_script_in_use(operate: Operate, citus_url: str, has_ours: bool) -> None:
    """Tables of both packages, or LangGraph's alone, are distributed with what they hold."""
    leave_behind(citus_url, "old", user_id="carol")
    if has_ours:
        with SessionSaver(citus_url) as saver:
            talk(saver, "alice", "Hi")
            assert said(saver, "alice") == ["Hi", "1 so far"]
    psql(citus_url, operate("ddl", "--citus").out)
    with SessionSaver(citus_url, auto_setup=False) as saver:
        talk(saver, "alice", "Again")
        before = ["Hi", "1 so far"] if has_ours else []
        assert said(saver, "alice") == [*before, "Again", f"{len(before) + 1} so far"]
        saver.sessions.backfill()
        assert said(saver, "carol") == ["Long ago", "1 so far"]
    assert healthy(operate, citus_url)


def test_the_script_twice(operate: Operate, distributed_url: str) -> None:
    """Where tables are distributed, it fails and changes nothing."""
    before = clusters.whole(distributed_url)
    with pytest.raises(subprocess.CalledProcessError):
        psql(distributed_url, operate("ddl", "--citus").out)
    assert clusters.whole(distributed_url) == before


def test_the_functions_reach_all_nodes(operate: Operate, distributed_url: str) -> None:
    """`ddl --functions --citus` makes Citus' functions again, on each node."""
    wanted = sorted(function.body for function in functions.load())
    for url in clusters.addresses(distributed_url):
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SET citus.enable_ddl_propagation = off")
            conn.execute("DROP FUNCTION user_sessions_refuse")
    psql(distributed_url, operate("ddl", "--functions", "--citus").out)
    for url in clusters.addresses(distributed_url):
        with psycopg.connect(url, row_factory=scalar_row) as conn:
            assert sorted(conn.execute(FUNCTIONS).fetchall()) == wanted


@pytest.mark.parametrize("more", [["--citus"], ["--functions"], ["--citus", "--functions"]])
def test_partitions_are_asked_for_alone(operate: Operate, more: list[str]) -> None:
    """`--partitions` with `--citus`, or with `--functions`, is wrong."""
    done = operate("ddl", "--partitions", "4", *more)
    assert (done.status, done.out) == (2, "")
    assert "give --partitions alone" in done.err
