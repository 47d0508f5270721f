"""PgBouncer in transaction mode, before any server: one of the tests' own, on a Unix socket.

With LANGGRAPH_SESSIONS_TEST_PGBOUNCER, the fixtures' addresses lead through it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.servers import as_server, make_folder

VARIABLE = "LANGGRAPH_SESSIONS_TEST_PGBOUNCER"
# Debian puts it where not everybody's PATH leads.
ELSEWHERE = "/usr/sbin:/usr/local/sbin"
HOW = "there is no PgBouncer: apt-get install pgbouncer"
# Fewer than the tests have connections, so that these are lent from transaction to transaction.
POOL_SIZE = 3
# What a client waits for a free connection before PgBouncer says so; its default is two minutes.
WAIT_SECONDS = 20

SETTINGS = """
[databases]
* = {server}

[pgbouncer]
unix_socket_dir = {folder}
unix_socket_mode = 0777
listen_addr =
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
query_wait_timeout = {wait}
server_login_retry = 1
"""


def wanted() -> bool:
    """Say whether the fixtures' addresses are to lead through PgBouncer."""
    return bool(os.environ.get(VARIABLE))


def find() -> str | None:
    """Return PgBouncer's program: the variable's, or one of the system's."""
    named = os.environ.get(VARIABLE, "1")
    path = f"{os.environ.get('PATH', os.defpath)}:{ELSEWHERE}"
    return shutil.which("pgbouncer" if named == "1" else named, path=path)


# The servers' conninfos behind each running one, by its folder.
_servers: dict[str, str] = {}


def past(conninfo: str) -> str:
    """Return *conninfo* as it leads to the server itself."""
    given = conninfo_to_dict(conninfo)
    server = _servers.get(str(given.get("host")))
    return conninfo if server is None else make_conninfo(server, dbname=given["dbname"])


class PgBouncer:
    """A running PgBouncer."""

    def __init__(self, folder: Path) -> None:
        """Name the folder of its socket."""
        self.folder = folder

    def before(self, conninfo: str) -> str:
        """Return *conninfo* as it leads through PgBouncer."""
        given = conninfo_to_dict(conninfo)
        return make_conninfo(
            host=str(self.folder), port=6432, user=given.get("user"), dbname=given.get("dbname")
        )


@contextmanager
def running(
    server: str, pool_size: int = POOL_SIZE, wait: int = WAIT_SECONDS
) -> Iterator[PgBouncer]:
    """Run a PgBouncer before *server* in this block.

    Args:
        server: The conninfo of any database on it.
        pool_size: How many connections to each database it lends.
        wait: For how many seconds a client waits for one.
    """
    program = find()
    assert program is not None, HOW
    folder = Path(tempfile.mkdtemp(prefix="lgs-"))  # A socket's path must be short.
    make_folder(folder)
    folder.chmod(0o755)
    given = conninfo_to_dict(server)
    keys = ("host", "port", "user", "password")
    address = " ".join(f"{key}={given[key]}" for key in keys if given.get(key))
    settings = SETTINGS.format(server=address, folder=folder, size=pool_size, wait=wait)
    (folder / "pgbouncer.ini").write_text(settings)
    prefix, options = as_server()  # It refuses root.
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*prefix, program, "-q", str(folder / "pgbouncer.ini")],
            stdout=log,
            stderr=log,
            **options,
        )
    try:
        bouncer = PgBouncer(folder)
        _wait_for(bouncer.before(server), process, folder / "log")
        _servers[str(folder)] = server
        yield bouncer
    finally:
        _servers.pop(str(folder), None)
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _wait_for(conninfo: str, process: subprocess.Popen[bytes], log: Path) -> None:
    while process.poll() is None:
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            continue
        return
    raise RuntimeError(f"PgBouncer did not start: {log.read_text(errors='replace')}")
