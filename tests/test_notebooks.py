"""The notebooks run from top to bottom, and are committed with what they print."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import matplotlib.font_manager
import matplotlib.image
import pytest

from tests.notebooks import ELSEWHERE, FOLDER, NOTEBOOKS, execute, read

IDS = [path.stem for path in NOTEBOOKS]
NOWHERE = "postgresql://nowhere.invalid/none"
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)

# A machine's first chart is said to take a while, as the list of its fonts is made. Not in ours.
assert matplotlib.font_manager.fontManager.ttflist


def kinds(notebook: Any) -> list[list[str]]:
    """Return which kinds of output each code cell has."""
    return [
        [output.get("name", output.output_type) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def outputs(path: Path) -> str:
    """Return all that is stored of what a notebook printed and showed."""
    return str([cell.get("outputs") for cell in read(path).cells])


def test_there_are_notebooks() -> None:
    """Those that the guide names, and no other."""
    assert IDS == ["01_quickstart", "02_sessions", "03_operations", "04_benchmark"]


@pytest.mark.server
@notebooks
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in a fresh folder, and again in the same, and prints what is stored.

    All but the first, which is about what `SessionSaver()` does, leave DATABASE_URL alone.
    """
    for variable in ELSEWHERE:
        monkeypatch.delenv(variable, raising=False)
    stored = kinds(read(path))
    assert kinds(execute(path, tmp_path)) == stored
    if path.stem != "01_quickstart":
        monkeypatch.setenv("DATABASE_URL", NOWHERE)
    assert kinds(execute(path, tmp_path)) == stored


@notebooks
def test_what_is_committed_is_clean(path: Path) -> None:
    """The committed cells ran once, in order, on any Python 3, and show no path of a machine."""
    notebook = read(path)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert any(kinds(notebook))
    assert {"stderr", "error"}.isdisjoint(kind for cell in kinds(notebook) for kind in cell)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    for folder in (Path.home(), FOLDER.parent, Path("/tmp"), Path("/home"), Path("/Users")):
        assert str(folder) not in outputs(path)


@notebooks
def test_each_cell_has_its_sentence(path: Path) -> None:
    """One, before the code, under a heading or not; the code fits a screen."""
    before = ""
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert before, cell.source
            assert len(cell.source.splitlines()) <= 25
            before = ""
            continue
        prose = re.sub(r"^#.*\n+", "", cell.source)
        assert not re.search(r"[.!?] +[A-Z]|\n\n", prose), prose
        before = prose


@notebooks
def test_charts_are_legible_in_light_and_dark(path: Path) -> None:
    """They are drawn on nothing, and no background is asked for beneath them."""
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                assert "needs_background" not in str(output.metadata)
                pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(png)))
                assert pixels[0, 0, 3] == 0, "its corner is not transparent"
