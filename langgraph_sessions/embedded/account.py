"""The account that PostgreSQL runs as, with as little as it needs.

It is the user's own, but for root's, whom PostgreSQL refuses. There it is `nobody`, to whom other
programs belong as well, in a group that none of these is in: what only that group may enter, they
cannot read, and by it the kernel keeps them from the server's memory too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

from langgraph_sessions.errors import SessionError

UNPRIVILEGED_USER: Final = "nobody"
# Nothing of the user's environment: neither keys and passwords nor what is preloaded.
ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
UMASK: Final = 0o077
READ_ALL: Final = "dac_read_search"


class Account(NamedTuple):
    """Whom PostgreSQL runs as."""

    name: str
    uid: int
    gid: int


def owner() -> str:
    """Return the name of who runs this process: the one whom the server lets in.

    Raises:
        SessionError: This process's user has no name.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise SessionError(
            f"the embedded PostgreSQL needs a user with a name: add one for the user id "
            f"{os.geteuid()} to /etc/passwd, or give a database URL"
        ) from None


def server_account(group: int | None = None) -> Account:
    """Return the account of this user's server; as root, in *group* instead of the account's own.

    Raises:
        SessionError: This process's user has no name, or root finds no `nobody`.
    """
    if os.geteuid() != 0:
        return Account(owner(), os.geteuid(), os.getegid())
    try:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise SessionError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USER!r}: "
            "add it, or give a database URL"
        ) from None
    return Account(user.pw_name, user.pw_uid, user.pw_gid if group is None else group)


def become(account: Account, *needed: Path) -> tuple[list[str], dict[str, Any]]:
    """Return what, before a command and beside it in `subprocess`, makes it run as *account*.

    It has no capability where it can run, or enter, what is *needed*. Else, as where that lies in
    root's home, it has the one to read and enter everything, and never one to write.

    Raises:
        SessionError: It is needed and not to be had.
    """
    options: dict[str, Any] = {"env": ENVIRONMENT, "umask": UMASK, "cwd": "/"}
    if os.geteuid() != 0:
        return [], options
    change = {"user": account.uid, "group": account.gid, "extra_groups": []}
    shut = [path for path in needed if not _passes(["test", "-x", str(path)], options | change)]
    if not shut:
        return [], options | change
    prefix = reading_all(account)
    if not prefix or not _passes([*prefix, "test", "-x", str(shut[0])], options):
        raise SessionError(
            f"as root PostgreSQL runs as {account.name!r}, who cannot reach {shut[0]}: choose a "
            f"path, or install where everybody may pass, or let root give the capability {READ_ALL}"
        )
    return prefix, options


def reading_all(account: Account) -> list[str]:
    """Return what, before a command, runs it as *account* that may read all; empty if nothing."""
    setpriv = shutil.which("setpriv", path=ENVIRONMENT["PATH"])
    if setpriv is None:
        return []
    return [
        setpriv,
        f"--reuid={account.uid}",
        f"--regid={account.gid}",
        "--clear-groups",
        f"--inh-caps=+{READ_ALL}",
        f"--ambient-caps=+{READ_ALL}",
        # Else access(2), by which PostgreSQL looks for its programs, would not count it.
        "--securebits=+no_setuid_fixup",
    ]


def _passes(command: list[str], options: dict[str, Any]) -> bool:
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL, **options).returncode == 0
    except OSError:  # A container may have taken from root what it takes to become another.
        return False
