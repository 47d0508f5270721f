"""A gate before a database of Citus', which tests shut where they stop a server of their own."""

from __future__ import annotations

import os
import selectors
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from tests import citus
from tests.servers import Server

_END = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE client_port = ANY (%s)"


class Gate:
    """The way to a database, on a Unix socket, to be used in place of a `tests.servers.Server`.

    Who comes through it finds a coordinator that is there or not; it runs all the while.
    """

    def __init__(self, url: str) -> None:
        """Stand before the database of *url*, shut."""
        self._behind = url
        with psycopg.connect(url) as conn:
            self._address = conn.info.host, conn.info.port
        self._folder = tempfile.mkdtemp(prefix="lgs-")
        self._open: tuple[socket.socket, Thread] | None = None
        self._ways: list[tuple[socket.socket, int, Thread]] = []

    @property
    def conninfo(self) -> str:
        """The way through it."""
        return make_conninfo(self._behind, host=self._folder, port=5432)

    @property
    def elsewhere(self) -> str:
        """The way through it when it is opened with `hidden`."""
        return make_conninfo(self.conninfo, port=5433)

    @property
    def is_running(self) -> bool:
        """Whether it is open."""
        return self._open is not None

    def start(self, *, hidden: bool = False) -> None:
        """Open it; *hidden*: where `conninfo` does not find it."""
        assert not self.is_running
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self._folder}/.s.PGSQL.{5433 if hidden else 5432}")
        listener.listen(100)
        thread = Thread(target=self._let_in, args=[listener], daemon=True)
        thread.start()
        self._open = listener, thread

    def stop(self, how: object = None) -> None:
        """Shut it, if it is open: nobody comes in, and whoever is in is put out."""
        if self._open is None:
            return
        (listener, thread), self._open = self._open, None
        with listener:
            os.unlink(listener.getsockname())
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
        ways, self._ways = [way for way in self._ways if way[2].is_alive()], []
        for client, _, thread in ways:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join()
        ports = [port for _, port, _ in ways]
        with psycopg.connect(self._behind, autocommit=True) as conn:
            conn.execute(_END, [ports])
            # As a coordinator does that begins again: what was half committed holds its locks.
            conn.execute("SELECT recover_prepared_transactions()")

    def execute(self, statement: str) -> list[Any]:
        """As `tests.servers.Server.execute`."""
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def running(self) -> Iterator[str]:
        """Open it for the block, give the way through it, and remove it."""
        try:
            self.start()
            yield self.conninfo
        finally:
            self.stop()
            os.rmdir(self._folder)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make another database, and give the way to it."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        citus.create(self._behind, name)
        try:
            yield make_conninfo(self.conninfo, dbname=name)
        finally:
            citus.drop(self._behind, name)

    def _let_in(self, listener: socket.socket) -> None:
        with suppress(OSError):  # It is shut.
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._address)
                port = server.getsockname()[1]
                thread = Thread(target=_carry, args=[client, server], daemon=True)
                thread.start()
                self._ways.append((client, port, thread))


@contextmanager
def stoppable() -> Iterator[Server | Gate]:
    """Give a server that can be stopped, or what stands before Citus; its database has the tables.

    It runs, and need not at the end.
    """
    if (cluster := citus.url()) is None:
        server = Server()
        with server.running() as conninfo:
            with SessionSaver(conninfo) as saver:
                saver.setup()
            yield server
        return
    name = f"t_{uuid.uuid4().hex[:12]}"
    with citus.cloned(cluster, name, "template0") as url:
        citus.prepare(cluster, name)
        with SessionSaver(url) as saver:
            saver.setup(citus=True)
        gate = Gate(url)
        with gate.running():
            yield gate


def _carry(client: socket.socket, server: socket.socket) -> None:
    """Carry what the two say to each other, until one of them goes."""
    other = {client: server, server: client}
    with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
        for each in other:
            selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                said = key.fileobj.recv(1 << 16)
                if not said:
                    return
                other[key.fileobj].sendall(said)
