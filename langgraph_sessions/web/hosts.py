"""Where the page may be served, and by which names it may be called."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_address

LOOPBACK_NAMES = frozenset({"localhost"})


@dataclass(frozen=True)
class Hosts:
    """The names by which a browser may call the server.

    A page of somebody else's, whose name was made to lead here (DNS rebinding), is called by that
    name, and never by a number: a loopback address, or any where *remote* is true, is ours.

    Attributes:
        names: Names that are ours, in lower case.
        remote: Whether other machines are served.
    """

    names: frozenset[str]
    remote: bool = False

    @classmethod
    def of(cls, host: str, *, remote: bool) -> Hosts:
        """Return those of a server that listens on *host*."""
        own = {socket.gethostname().lower(), socket.getfqdn().lower()} if remote else set()
        return cls(LOOPBACK_NAMES | own | {host.lower()}, remote)

    def is_ours(self, header: str | None) -> bool:
        """Say whether *header*, which the browser sent as `Host`, names this server."""
        name = _without_port(header or "").lower()
        if name in self.names:
            return True
        try:
            number = ip_address(name)
        except ValueError:
            return False
        return self.remote or number.is_loopback


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def listen(host: str, port: int, *, remote: bool) -> socket.socket:
    """Return a socket that listens on *host*; port 0 is any that is free.

    Raises:
        ValueError: Other machines reach *host*, and *remote* is false.
        OSError: There is no such host, or the port is in use; the text says which.
    """
    family, address = _resolved(host, port)
    if not (remote or ip_address(address).is_loopback):
        raise ValueError(
            f"--host {host}: other machines could reach it, over a connection that is not "
            "encrypted; if that is meant, give --allow-remote as well"
        )
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} is in use: give another --port, or none") from None
        raise OSError(f"cannot listen on {host}, port {port}: {error.strerror}") from None


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OSError(f"--host {host!r}: there is no such host") from None
    family, _, _, _, address = found[0]
    return family, str(address[0])


def url(listening: socket.socket, token: str) -> str:
    """Return the address to open in a browser: of this machine, where all of its are served."""
    host, port = listening.getsockname()[:2]
    number = ip_address(host)
    name = socket.gethostname() if number.is_unspecified else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/?token={token}"
