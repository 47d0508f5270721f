"""The notebooks run from top to bottom, and are committed with what they print."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
IDS = [path.stem for path in NOTEBOOKS]


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook as it is after it ran in *folder*; a cell's error is raised."""
    notebook = read(path)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, kernel_name="python3", timeout=120, resources=resources)
    return client.execute()


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return which kinds of output each code cell has."""
    return [
        [output.get("name", output.output_type) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_notebooks() -> None:
    """The quickstart is among them."""
    assert "01_quickstart" in IDS


@pytest.mark.server
@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in a fresh folder, and again in the same, and prints what is stored."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    stored = kinds(read(path))
    assert kinds(execute(path, tmp_path)) == stored
    assert kinds(execute(path, tmp_path)) == stored
    assert any(stored)
    assert "stderr" not in [kind for cell in stored for kind in cell]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_what_is_committed_is_clean(path: Path) -> None:
    """The committed cells ran once, in order, on any Python 3, and show no path of a machine."""
    notebook = read(path)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    outputs = str([cell.get("outputs") for cell in notebook.cells])
    for folder in (Path.home(), REPOSITORY, Path("/tmp"), Path("/home"), Path("/Users")):
        assert str(folder) not in outputs
