"""Citus' nodes, stopped and started by tests that may.

A node's folder, and the command that started it, are what it says itself. Only nodes on this
machine are touched, and only where LANGGRAPH_SESSIONS_CITUS_STOPS is set: whoever sets it has a
cluster of their own, made for that.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import scalar_row

from tests import citus
from tests.support import until

_STARTED: list[subprocess.Popen[bytes]] = []  # They go on after the tests, without a warning.
MAY = "LANGGRAPH_SESSIONS_CITUS_STOPS"

needs_citus = pytest.mark.skipif(
    not citus.url(), reason=f"{citus.VARIABLE} does not name the coordinator of a Citus"
)
may_stop = pytest.mark.skipif(
    not (citus.url() and os.environ.get(MAY)),
    reason=f"wants {MAY}=1, and in {citus.VARIABLE} the coordinator of a Citus on this machine "
    "whose nodes a test may kill, as the account that they run as or as root; with -n 0",
)


@dataclass(frozen=True)
class Node:
    """A node.

    Attributes:
        url: Where it answers.
        folder: Its data.
        command: What starts it.
    """

    url: str
    folder: Path
    command: tuple[str, ...]

    @classmethod
    def at(cls, url: str) -> Node:
        """Ask the node itself."""
        host = str(conninfo_to_dict(url)["host"])
        assert host == "localhost" or ipaddress.ip_address(host).is_loopback, host
        with psycopg.connect(url) as conn:
            sql = "SELECT current_setting('data_directory'), pg_read_file('postmaster.opts')"
            found = conn.execute(sql).fetchone()
        assert found is not None
        return cls(url, Path(found[0]), tuple(shlex.split(found[1])))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(conninfo_to_dict(self.url)["port"])

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        return int((self.folder / "postmaster.pid").read_text().partition("\n")[0])

    def kill(self) -> None:
        """Kill all of it with -9, as if its machine were gone."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)  # It makes no more processes.
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (*map(int, children), pid):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        owner = self.folder.stat()
        options: dict[str, Any] = {}
        if os.getuid() == 0:
            options = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        process: subprocess.Popen[bytes] | None = None

        def answers() -> bool:
            nonlocal process
            for each in _STARTED:
                each.poll()  # A killed one that nobody waits for would hold its place.
            # It ends at once while processes of the killed one are there.
            if process is None or process.poll() is not None:
                process = subprocess.Popen(
                    self.command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    **options,
                )
            return self.answers()

        until(answers)
        assert process is not None
        _STARTED.append(process)

    def answers(self) -> bool:
        """Say whether it answers."""
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url).close()
            return True
        return False


def through_all(url: str) -> list[str]:
    """Return the address of *url*'s database through each node, the coordinator first."""
    with citus.everywhere(url) as connections:
        places = [(each.info.host, each.info.port) for each in connections]
    return [make_conninfo(url, host=host, port=port) for host, port in places]


def nodes(server: str) -> list[Node]:
    """Return the nodes, the coordinator first."""
    return [Node.at(url) for url in through_all(server)]


def node_of(conn: psycopg.Connection[object], table: str, key: str) -> Node:
    """Return the node on which *table* has *key*."""
    port = port_of(conn, table, key)
    (node,) = (each for each in nodes(citus.url() or "") if each.port == port)
    return node


@contextmanager
def down(node: Node) -> Iterator[None]:
    """Kill *node*, and start it afterwards."""
    node.kill()
    try:
        yield
    finally:
        node.start()


def halves(conn: psycopg.Connection[Any]) -> list[Any]:
    """Return the sessions without their thread's row, and the threads without a session."""
    threads = set(conn.execute("SELECT thread_id, user_id FROM session_threads").fetchall())
    return sorted(threads ^ set(conn.execute("SELECT thread_id, user_id FROM user_sessions")))


def loose(conn: psycopg.Connection[Any]) -> list[Any]:
    """Return the threads of which there are checkpoints, blobs or writes, and nobody's row."""
    of_all = " UNION ".join(
        f"(SELECT thread_id FROM {table})"
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    )
    found = set(conn.execute(of_all.encode()))
    return sorted(found - set(conn.execute("SELECT thread_id FROM session_threads")))


def port_of(conn: psycopg.Connection[object], table: str, key: str) -> int:
    """Return the port of the node on which *table* has *key*."""
    sql = """
SELECT nodeport AS port FROM citus_shards WHERE table_name = %(table)s::regclass
AND shardid = get_shard_id_for_distribution_column(%(table)s::regclass, %(key)s::text)"""
    with conn.cursor(row_factory=scalar_row) as cursor:
        found = cursor.execute(sql, {"table": table, "key": key}).fetchone()
    assert isinstance(found, int)
    return found
