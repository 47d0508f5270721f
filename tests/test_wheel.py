"""What is distributed: built, looked into, and run where nothing else of the project is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif("CI" not in os.environ, reason="takes a minute: set CI=true to run it"),
]

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "langgraph_sessions"
# What hatchling puts beside the package into a source distribution.
BESIDE = {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
INSTALLED = """
import importlib.metadata, langgraph_sessions
print(langgraph_sessions.__file__, importlib.metadata.version("langgraph-sessions"))
"""
TESTS = """
def test_a_session(session_saver, session_user):
    assert session_saver.sessions.create_user_session(session_user).user_id == session_user
"""


def run(*command: str | Path, folder: Path) -> str:
    """Run *command* in *folder*, far from this checkout, and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=kept,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture
def bare() -> Iterator[Path]:
    """An environment with nothing in it, which everybody may enter: so may PostgreSQL's account."""
    with tempfile.TemporaryDirectory(prefix="lgs-bare-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
        yield folder


def files_of_the_package() -> set[str]:
    """Return the files of the package, from the checkout."""
    found = (path for path in PACKAGE.rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_the_distributions_hold_the_package_and_nothing_else(distributions: Path) -> None:
    """The pages of the guide, the SQL and `py.typed` are in both; neither tests nor notebooks."""
    expected = files_of_the_package()
    assert {
        "langgraph_sessions/py.typed",
        "langgraph_sessions/guide/testing.md",
        "langgraph_sessions/sql/functions/put.sql",
    } <= expected
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected
    (source,) = distributions.glob("*.tar.gz")
    with tarfile.open(source) as tar:
        files = {member.name.partition("/")[2] for member in tar if member.isfile()}
    assert files == expected | BESIDE


def test_the_distributions_are_fit_for_an_index(distributions: Path) -> None:
    """Their metadata are complete, and the README can be shown."""
    shown = run(
        *(sys.executable, "-m", "twine", "--no-color", "check", "--strict"),
        *distributions.iterdir(),
        folder=distributions,
    )
    assert shown.count("PASSED") == 2


def test_the_wheel_runs_where_nothing_else_is(distributions: Path, bare: Path) -> None:
    """Installed with the extra `demo`, it runs the demo, and pytest finds its fixtures."""
    (wheel,) = distributions.glob("*.whl")
    python = bare / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    run(*pip, f"{wheel}[demo]", "pytest", folder=bare)
    found, version = run(python, "-c", INSTALLED, folder=bare).split()
    assert Path(found).is_relative_to(bare)
    assert f"-{version}-" in wheel.name
    shown = run(bare / "venv/bin/langgraph-sessions", "demo", folder=bare)
    assert "alice" in shown
    (bare / "test_it.py").write_text(TESTS)
    assert "1 passed" in run(python, "-m", "pytest", "test_it.py", folder=bare)
