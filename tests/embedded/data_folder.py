"""The folder of an embedded server: made by hand, and whether its server runs, as which process."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from langgraph_sessions.embedded.account import Account, become, reading_all, server_account
from langgraph_sessions.errors import SessionError
from tests.servers import make_folder


def postmaster(folder: Path) -> int:
    """Return the server's process id."""
    return int((folder / "data/postmaster.pid").read_text().split()[0])


def is_running(folder: Path) -> bool:
    """Say whether the server's pid file is there, which a stopped one removes."""
    return (folder / "data/postmaster.pid").exists()


def make_data(folder: Path, version: str) -> None:
    """Make the folder as a server of that major version would leave it, all but empty."""
    folder.mkdir(mode=0o700)
    make_folder(folder / "data")
    (folder / "data/PG_VERSION").write_text(version)


def need_reading_all(path: Path) -> None:
    """Skip the test where root may not let PostgreSQL into *path*, which is root's alone."""
    try:
        become(server_account(), path)
    except SessionError:
        pytest.skip("root may not give the capability to read everything, as in a container")
    assert os.geteuid() != 0 or become(server_account(), path)[0]


def as_normal_user() -> tuple[Account, list[str]]:
    """Return somebody who is not root, and what before a command lets root run it as that one.

    They may read everything, since the interpreter may be in root's home.
    """
    user = pwd.getpwnam("daemon")
    account = Account(user.pw_name, user.pw_uid, user.pw_gid)
    prefix = reading_all(account)
    if not prefix or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root may not give the capability to read everything, as in a container")
    return account, prefix
