"""A proxy before the server that counts what a client waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# The messages that the server answers with ReadyForQuery, which a client waits for: Query and
# Sync. https://www.postgresql.org/docs/current/protocol-message-formats.html
WAITS = b"QS"


class Counter:
    """A proxy before the server that counts the messages after which a client waits."""

    def __init__(self, conninfo: str, folder: Path) -> None:
        """Stand before the server of *conninfo*, with a socket in *folder*."""
        self._parameters = conninfo_to_dict(conninfo)
        self._folder = folder
        self._served: list[asyncio.Task[None]] = []
        self.round_trips = 0

    @property
    def conninfo(self) -> str:
        """The conninfo of the proxy."""
        return make_conninfo(**{**self._parameters, "host": str(self._folder), "port": 5432})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Accept clients in this block."""
        path = self._folder / ".s.PGSQL.5432"
        async with await asyncio.start_unix_server(self._serve, path):
            yield
            await asyncio.gather(*self._served)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.append(task)
        host = str(self._parameters["host"])
        port = self._parameters.get("port") or "5432"
        if host.startswith("/"):
            server = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            server = await asyncio.open_connection(host, int(port))
        await asyncio.gather(self._ask(reader, server[1]), self._answer(server[0], writer))

    async def _ask(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """Pass on the client's messages, counted; the first one has no type."""
        try:
            kind = b""
            while True:
                length = await client.readexactly(4)
                body = await client.readexactly(int.from_bytes(length) - 4)
                server.write(kind + length + body)
                await server.drain()
                kind = await client.readexactly(1)
                self.round_trips += kind in WAITS
        except asyncio.IncompleteReadError:
            server.close()
            await server.wait_closed()

    async def _answer(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await server.read(65536):
            client.write(data)
            await client.drain()
        client.close()
        await client.wait_closed()
