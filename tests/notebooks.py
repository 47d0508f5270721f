"""The notebooks, executed: `python -m tests.notebooks [NAME …]` stores what they print.

Each runs in a fresh folder, with the files beside the notebooks at hand. Then look at them, in
both themes: `jupyter nbconvert --to html --theme dark notebooks/*.ipynb`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# What would send a notebook elsewhere than to a database, and a model, of its own.
ELSEWHERE = ("DATABASE_URL", "GOOGLE_API_KEY")


def read(path: Path) -> Any:
    """Return a notebook."""
    return nbformat.read(path, as_version=4)


def execute(path: Path, folder: Path) -> Any:
    """Return the notebook as it is after it ran in *folder*; a cell's error is raised."""
    for data in FOLDER.glob("*.json"):
        shutil.copy(data, folder)
    client = NotebookClient(
        read(path),
        kernel_name="python3",
        timeout=120,
        record_timing=False,
        coalesce_streams=True,  # However slowly it was printed.
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def store(path: Path) -> None:
    """Run a notebook, and store it with what it printed, and nothing of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # As root, the embedded server runs as another account.
        notebook = execute(path, Path(folder))
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)


def main() -> None:
    """Store the notebooks of the names that are given, else all."""
    for variable in ELSEWHERE:
        os.environ.pop(variable, None)
    for path in NOTEBOOKS:
        if path.stem in (sys.argv[1:] or [path.stem]):
            store(path)
            print(path.name)


if __name__ == "__main__":
    main()
