"""A network between client and server: a TCP proxy on loopback, in a process of its own.

Each direction's bytes are delivered a fixed time after they came, however many more come
meanwhile: it delays, and does not throttle.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.conninfo import conninfo_to_dict, make_conninfo


@contextmanager
def away(conninfo: str, milliseconds: float) -> Iterator[str]:
    """Give a conninfo of the same database that is so many *milliseconds* away, there and back."""
    command = [sys.executable, "-m", __name__, conninfo, str(milliseconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        port = process.stdout.readline().strip()
        try:
            # What a socket of the machine does without, the proxy does, too.
            yield make_conninfo(
                conninfo, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
            )
        finally:
            process.stdin.close()  # At which it ends, as it does when this process does.


class Proxy:
    """Passes bytes on to the server of *conninfo*, each so many *seconds* after it came."""

    def __init__(self, conninfo: str, seconds: float) -> None:
        given = conninfo_to_dict(conninfo)
        self._host = str(given.get("host") or "localhost")
        self._port = str(given.get("port") or 5432)
        self._seconds = seconds

    async def serve(self) -> None:
        """Print the port, and serve until standard input ends."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            server = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            server = await asyncio.open_connection(self._host, int(self._port))
        await asyncio.gather(self._pump(reader, server[1]), self._pump(server[0], writer))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Pass on what comes, late; the end, too."""
        later = asyncio.get_running_loop().call_later
        try:
            while data := await source.read(65536):
                later(self._seconds, target.write, data)
        except ConnectionResetError:
            pass
        later(self._seconds, target.close)


def main() -> None:
    """Serve, by a selector that waits for microseconds: epoll's smallest wait is a millisecond."""
    proxy = Proxy(sys.argv[1], float(sys.argv[2]) / 2000)
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(proxy.serve())
    os._exit(0)  # Nobody waits for what is still on its way.


if __name__ == "__main__":
    main()
