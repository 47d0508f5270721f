"""What a round cost: CPU of the client and of its server processes, WAL, row versions."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row

PATIENCE: Final = 10.0  # Seconds that connections have to end.
_OTHERS: Final = """
SELECT FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
    AND pid <> pg_backend_pid()"""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Cost:
    """What a turn cost.

    Attributes:
        client: Microseconds of CPU of this process.
        server: Microseconds of CPU of the server's processes for its connections.
    """

    client: float
    server: float

    @property
    def cpu(self) -> float:
        """Microseconds of CPU of both."""
        return self.client + self.server


class Meter:
    """Reads what the connections to a server cost, by a connection of its own."""

    def __init__(self, conninfo: str) -> None:
        """Connect to the server of *conninfo*, whose processes must be on this machine."""
        self._conn: Connection = psycopg.connect(conninfo, autocommit=True, row_factory=tuple_row)
        if "postgres" not in _command(self._conn.info.backend_pid):
            raise SystemExit("The server is elsewhere: its processes' CPU cannot be measured")
        self._cores: set[int] = set()  # Where connections are to be; anywhere, if it is empty.

    @contextmanager
    def on_one_core(self) -> Iterator[None]:
        """Keep this process, and the server's for the connections it measures, on one core.

        One user's client and server work in turn. On two cores they wake each other, which costs
        a third of all, and more or less of it for as long as the scheduler leaves them where they
        are: a saver measured against itself differed by a fifth.
        """
        everywhere = os.sched_getaffinity(0)
        self._cores = {min(everywhere)}
        os.sched_setaffinity(0, self._cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, everywhere)
            self._cores = set()

    def close(self) -> None:
        """Disconnect."""
        self._conn.close()

    def cost(self, work: Callable[[], object], url: str, turns: int) -> Cost:
        """Do *work*, which is so many *turns* over *url*, and return what one cost.

        The connections must still be there at its end; they are known by their database and
        their application name.
        """
        gc.collect()
        before = self._backends(url)
        began = time.process_time()
        work()
        client = time.process_time() - began
        after = self._backends(url)
        server = sum(ran - before.get(pid, 0) for pid, ran in after.items())  # Nanoseconds.
        return Cost(client / turns * 1e6, server / turns / 1e3)

    def _backends(self, url: str) -> dict[int, int]:
        """Return the nanoseconds that each of *url*'s server processes has run."""
        given = conninfo_to_dict(url)
        rows = self._conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
            [given["dbname"], given["application_name"]],
        )
        pids = [pid for (pid,) in rows]
        for pid in pids if self._cores else ():
            with suppress(OSError):  # It may have ended, or be another user's.
                os.sched_setaffinity(pid, self._cores)
        return {pid: _ran(pid) for pid in pids}

    def wal(self, work: Callable[[], object]) -> float:
        """Do *work*, and return how many bytes of WAL the server wrote meanwhile."""
        ((before,),) = self._conn.execute("SELECT pg_current_wal_insert_lsn()")
        work()
        rows = self._conn.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", [before]
        )
        ((written,),) = rows
        return float(written)


def versions(url: str) -> dict[str, int]:
    """Return the row versions that *url*'s tables have had: inserted, updated, of them HOT.

    Connections of *url* tell what they did at their end, for which this waits.
    """
    with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as conn:
        until = time.monotonic() + PATIENCE
        while conn.execute(_OTHERS).fetchall() and time.monotonic() < until:
            time.sleep(0.01)
        row = conn.execute(
            "SELECT sum(n_tup_ins)::int AS inserted, sum(n_tup_upd)::int AS updated, "
            "sum(n_tup_hot_upd)::int AS hot FROM pg_stat_user_tables"
        ).fetchone()
    assert row is not None
    return row


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return ""


def _ran(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0  # It has just ended.
