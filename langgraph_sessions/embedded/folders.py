"""Folders that are one user's alone, and files in them that are nowhere else.

All is reached from the open folder, and no link is followed: who can rename a folder above, or
prepared this one, leads nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import secrets
import shutil
import stat
from pathlib import Path
from typing import Final, Self

from langgraph_sessions.embedded.account import Account
from langgraph_sessions.errors import SessionError

PRIVATE: Final = 0o700
# systemd gives these to services that come and go; no distribution and no administrator does.
SPARE_GROUPS: Final = range(61184, 65520)


class PrivateFolder:
    """A folder that only its owner may enter, held open; of root's, also the server's group.

    Attributes:
        path: Where it was found.
        group: The group of the server; of root's folders, no other account's.
    """

    def __init__(self, path: Path, group: int | None = None) -> None:
        """Open it, and make it first if it is not there; root lets *group*, or a new one, enter.

        Raises:
            SessionError: It is no folder but a link, belongs to somebody else, or others may write
                to it, or read it although there is something in it.
        """
        self.path = path
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=PRIVATE, parents=True)
        self._file = _open_folder(path)
        try:
            self.group = self._make_private(group)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)

    def open(self, name: str, flags: int = os.O_RDWR) -> int:
        """Open a file of the owner's own, made if it is not there, that nobody else can read.

        Raises:
            SessionError: It is not a file, or one that is also elsewhere, or somebody else's.
        """
        flags |= os.O_CREAT
        return _open_file(self.path / name, flags, os.geteuid(), self._file)

    def make(self, name: str, account: Account) -> None:
        """Make a private folder of *account*'s in it, unless it is there.

        Raises:
            SessionError: What is there is no folder, or is somebody else's.
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, PRIVATE, dir_fd=self._file)
        file = _open_folder(self.path / name, self._file)
        try:
            if os.fstat(file).st_uid == os.geteuid() != account.uid:
                os.fchown(file, account.uid, account.gid)
            _check_owner(self.path / name, file, account.uid)
            os.fchmod(file, PRIVATE)
        finally:
            os.close(file)

    def has(self, name: str, account: Account) -> bool:
        """Say whether there is a folder of *account*'s of that name, private as `make` made it.

        Raises:
            SessionError: What is there is no folder, is somebody else's or not private.
        """
        try:
            file = _open_folder(self.path / name, self._file)
        except FileNotFoundError:
            return False
        try:
            _check_owner(self.path / name, file, account.uid)
            if os.fstat(file).st_mode & 0o077:
                raise SessionError(_ask_for_privacy(self.path / name))
        finally:
            os.close(file)
        return True

    def write(self, folder: str, name: str, text: str, account: Account) -> None:
        """Write the file *name* of *account*'s, which is there, in its folder *folder*.

        Raises:
            SessionError: It is not a file, or one that is also elsewhere, or somebody else's.
        """
        inside = _open_folder(self.path / folder, self._file)
        try:
            path = self.path / folder / name
            opened = _open_file(path, os.O_WRONLY, account.uid, inside)
            with open(opened, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.truncate()
                file.write(text)
        finally:
            os.close(inside)

    def rename(self, name: str, new: str) -> None:
        """Rename what is in it."""
        os.rename(name, new, src_dir_fd=self._file, dst_dir_fd=self._file)

    def remove(self, name: str) -> None:
        """Remove a folder in it with all that is there, if it is there."""
        shutil.rmtree(name, ignore_errors=True, dir_fd=self._file)

    def _make_private(self, group: int | None) -> int:
        _check_owner(self.path, self._file, os.geteuid())
        found = os.fstat(self._file)
        shared = stat.S_IMODE(found.st_mode) & 0o077
        if os.geteuid() != 0:
            allowed, mode, group = 0, PRIVATE, found.st_gid
        else:
            known = found.st_gid in SPARE_GROUPS
            allowed, mode = 0o010 if known else 0, PRIVATE | 0o010
            group = group or (found.st_gid if known else _spare_group())
        if shared & ~allowed and (shared & 0o022 or os.listdir(self._file)):
            raise SessionError(_ask_for_privacy(self.path))
        if found.st_gid != group:
            os.fchown(self._file, -1, group)
        os.fchmod(self._file, mode)
        return group


def _open_folder(path: Path, inside: int | None = None) -> int:
    """Open a folder, which may be in an open one."""
    name = path if inside is None else path.name
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
    except FileNotFoundError:
        raise
    except PermissionError:
        raise SessionError(_ask_for_ownership(path)) from None
    except OSError as error:
        raise SessionError(
            f"{path} must be a folder, and no link to one: {error.strerror}"
        ) from None


def _open_file(path: Path, flags: int, owner: int, inside: int) -> int:
    """Open a file in an open folder that is *owner*'s, and only in that folder."""
    try:
        # Not blocking: a pipe would wait for its other end.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(path.name, flags, 0o600, dir_fd=inside)
    except OSError as error:
        raise SessionError(f"{path} must be a file, and no link to one: {error.strerror}") from None
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != owner:
        os.close(file)
        raise SessionError(f"{path} must be a file of its folder's owner, and of no other folder")
    if stat.S_IMODE(found.st_mode) != 0o600:
        os.fchmod(file, 0o600)
    return file


def _check_owner(path: Path, file: int, owner: int) -> None:
    if os.fstat(file).st_uid != owner:
        raise SessionError(_ask_for_ownership(path))


def _ask_for_ownership(path: Path) -> str:
    return f"{path} belongs to another user: use it as that one, or choose another path"


def _ask_for_privacy(path: Path) -> str:
    return f"others may read or write in {path}: chmod 700 it, or choose another path"


def _spare_group() -> int:
    """Return a group that no account is in."""
    taken = {group.gr_gid for group in grp.getgrall()} | {user.pw_gid for user in pwd.getpwall()}
    return secrets.choice([each for each in SPARE_GROUPS if each not in taken])
