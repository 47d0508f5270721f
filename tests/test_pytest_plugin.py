"""The fixtures for tests of applications, in pytest runs of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from langgraph_sessions.embedded.server import PACKAGES

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "langgraph_sessions/guide/testing.md"
PLUGIN = ("-p", "langgraph_sessions.pytest_plugin")
ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
ANYIO = ("-p", "anyio")
XDIST = ("-p", "xdist.plugin")


def guide() -> str:
    """Return the guide's tests."""
    return "\n\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL))


def run(folder: Path, tests: str, *arguments: str, **variables: str) -> str:
    """Run *tests* in *folder* with the plugins that are named alone; return what was shown."""
    (folder / "test_it.py").write_text(tests)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TMPDIR": str(folder),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-W", "error", "-vv", *arguments, "test_it.py"],
        capture_output=True,
        cwd=folder,
        env=environment,
        text=True,
    )
    return done.stdout + done.stderr


def databases(server: str) -> set[str]:
    """Return the names of the server's databases that are the plugin's."""
    with psycopg.connect(server) as conn:
        found = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'session_test_%'")
        return {name for (name,) in found}


@pytest.mark.parametrize(
    ("mark", "plugins"),
    [
        ("anyio", ANYIO),
        ("anyio", (*ASYNCIO, *ANYIO)),
        ("asyncio", ASYNCIO),
        ("asyncio", (*ANYIO, *ASYNCIO, "-o", "asyncio_mode=auto")),
    ],
    ids=["anyio", "anyio_beside_asyncio", "asyncio_strict", "asyncio_auto"],
)
def test_the_guides_tests_pass(
    tmp_path: Path, server: str, mark: str, plugins: tuple[str, ...]
) -> None:
    """They do with each plugin for async tests, without a warning, and leave no database."""
    tests = guide().replace("mark.anyio", f"mark.{mark}")
    shown = run(tmp_path, tests, *plugins, "--session-database", server)
    assert re.search(r"=+ 4 passed in ", shown), shown
    assert not databases(server)


SHARED = """
import pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_a_session(session_saver, session_user, session_server, number):
    assert session_saver.sessions.count_sessions() == 0
    session_saver.sessions.create_user_session(session_user)
    import psycopg
    with psycopg.connect(session_server) as conn:
        ask = "SELECT pg_postmaster_start_time(), current_setting('fsync')"
        started, fsync = conn.execute(ask).fetchone()
    assert fsync == "off"
    postmaster, *_ = next(pathlib.Path("DIR").rglob("postmaster.pid")).read_text().split()
    pathlib.Path(f"{number}.seen").write_text(f"{postmaster} {started}")
"""


@pytest.mark.parametrize("workers", [(), (*XDIST, "-n", "2")], ids=["one_process", "workers"])
def test_a_run_starts_one_server_and_stops_it(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """All tests, of all workers, use one server, which is gone with its data when the run ends."""
    tmp_path.parent.chmod(0o711)
    shown = run(tmp_path, SHARED.replace("DIR", str(tmp_path)), *workers)
    assert re.search(r"=+ 4 passed in ", shown), shown
    seen = {path.read_text() for path in tmp_path.glob("*.seen")}
    assert len(seen) == 1
    assert not Path(f"/proc/{seen.pop().split()[0]}").exists()
    assert not list(tmp_path.glob("lgs-*"))


UNUSED = """
import sys

def test_nothing_is_imported():
    found = {"langgraph", "langchain_core", "psycopg", "pytest_asyncio", "subprocess"}
    ours = {name for name in sys.modules if name.startswith("langgraph_sessions.")}
    assert ours == {"langgraph_sessions.pytest_plugin"}
    assert not found & set(sys.modules) - EXPECTED
"""


def test_a_run_without_the_fixtures_pays_nothing(tmp_path: Path) -> None:
    """The plugin imports neither LangGraph nor psycopg, and makes no folder."""
    shown = run(tmp_path, UNUSED.replace("EXPECTED", "{'subprocess'}"))
    assert re.search(r"=+ 1 passed in ", shown), shown
    assert not list(tmp_path.glob("lgs-*"))


ASKING = """
def test_a_session(session_saver): pass
def test_another(session_saver): pass
"""


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """A run without a server names the extra, the option and the variable."""
    patch = "from langgraph_sessions.embedded import server\nserver.PACKAGES.clear()\n"
    shown = run(tmp_path, patch + ASKING)
    assert re.search(r"=+ 2 errors in ", shown), shown
    for word in (
        "pip install 'langgraph-sessions[embedded]'",
        list(PACKAGES)[1].replace("_", "-"),
        "--session-database",
        "LANGGRAPH_SESSIONS_TEST_URL",
    ):
        assert word in shown
    assert "Traceback" not in shown
    assert not list(tmp_path.glob("lgs-*"))


def test_without_a_plugin_for_async_tests_it_says_so(tmp_path: Path, server: str) -> None:
    """The error names both that may be used."""
    tests = "async def test_a_session(async_session_saver): pass\n"
    shown = run(tmp_path, tests, LANGGRAPH_SESSIONS_TEST_URL=server)
    assert "async_session_saver needs what runs async tests" in shown, shown
    assert "pytest-asyncio" in shown


CHOOSING = """
def test_the_server(session_server): assert session_server == "EXPECTED"
"""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_option_comes_before_the_variable_and_the_setting(tmp_path: Path, count: int) -> None:
    """Of several servers named, the option's is used, then the variable's, then the setting's."""
    named = ["by-setting", "by-variable", "by-option"][:count]
    option = ("--session-database", "by-option") if count == 3 else ()
    variables = {"LANGGRAPH_SESSIONS_TEST_URL": "by-variable"} if count > 1 else {}
    tests = CHOOSING.replace("EXPECTED", named[-1])
    shown = run(tmp_path, tests, "-o", "session_database=by-setting", *option, **variables)
    assert re.search(r"=+ 1 passed in ", shown), shown


def test_a_user_who_may_not_create_databases_is_told(tmp_path: Path, server: str) -> None:
    """The server's own words say what is missing."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("CREATE ROLE session_tester LOGIN")
        try:
            named = make_conninfo(server, user="session_tester")
            shown = run(tmp_path, ASKING, "--session-database", named)
        finally:
            admin.execute("DROP ROLE session_tester")
    assert "each test gets a database of its own, but: permission denied" in shown
