"""The shape of the package, in numbers: `python -m tests.shape [FOLDER …]`.

For each folder, by default the package: its files, the floors on which they stand (the longest
chain of imports) and the arrows between them; the same of its rooms; the lines of each room; and
how many lines the sync and async versions of a module have in common once `async` and `await`
are taken out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "langgraph_sessions"


def modules(package: Path) -> dict[str, Path]:
    """Return the files of *package* by their names below it; a folder's own file is `room`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            if len(path.read_text().splitlines()) > 1:
                found[".".join(parts[:-1])] = path
        else:
            found[".".join(parts)] = path
    return found


def imports(package: Path) -> dict[str, set[str]]:
    """Return, for each module of *package*, those of it that it imports."""
    files = modules(package)
    return {name: _imported(path, files, package.name) - {name} for name, path in files.items()}


def _imported(path: Path, files: dict[str, Path], package: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            head, _, rest = node.module.partition(".")
            if head != package:
                continue
            for alias in node.names:
                inner = f"{rest}.{alias.name}" if rest else alias.name
                found.add(inner if inner in files else rest or "__init__")
    return found & files.keys()


def floors(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Return on which floor each module stands: 1 for those that import none of the others.

    Raises:
        ValueError: Imports go in a circle.
    """
    open_: set[str] = set()

    @cache
    def floor(name: str) -> int:
        if name in open_:
            raise ValueError(f"imports go in a circle through {name}")
        open_.add(name)
        height = 1 + max((floor(other) for other in arrows[name]), default=0)
        open_.discard(name)
        return height

    return {name: floor(name) for name in arrows}


def between_rooms(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return *arrows* between rooms, each once; a file that stands in none is one of its own."""
    found: dict[str, set[str]] = {name.partition(".")[0]: set() for name in arrows}
    for name, imported in arrows.items():
        found[name.partition(".")[0]] |= {other.partition(".")[0] for other in imported}
    return {room: others - {room} for room, others in found.items()}


def lines_by_room(package: Path) -> Counter[str]:
    """Return how many lines each room has; `.` is the ground."""
    lines: Counter[str] = Counter()
    for path in [*package.rglob("*.py"), *package.rglob("*.sql")]:
        parts = path.relative_to(package).parts
        lines[parts[0] if len(parts) > 1 else "."] += len(path.read_text().splitlines())
    return lines


def equal_lines(package: Path) -> dict[str, int]:
    """Return, for each async module with a sync one beside it, how many lines are the same."""
    files = modules(package)
    found = {}
    for name, path in files.items():
        room, dot, own = name.rpartition(".")
        plain = {"aio": "saver"}.get(own, re.sub(r"^(_?)aio_", r"\1", own))
        if plain != own and f"{room}{dot}{plain}" in files:
            sync = _bare(files[f"{room}{dot}{plain}"])
            matcher = SequenceMatcher(None, sync, _bare(path), autojunk=False)
            found[name] = sum(block.size for block in matcher.get_matching_blocks())
    return found


def _bare(path: Path) -> list[str]:
    text = re.sub(r"\basync |\bawait |Async|\ba(?=sync|iter|next)|aio_|\ba_", "", path.read_text())
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def main() -> None:
    """Print the numbers."""
    for package in map(Path, sys.argv[1:] or [str(PACKAGE)]):
        arrows = imports(package)
        for what, graph in (("files", arrows), ("rooms", between_rooms(arrows))):
            height, count = max(floors(graph).values()), sum(map(len, graph.values()))
            print(f"{package}: {len(graph)} {what}, {height} floors, {count} arrows")
        print(f"{sum(equal_lines(package).values())} equal lines in sync and async")
        for name, count in sorted(equal_lines(package).items()):
            print(f"    {name:<32}{count:6}")
        for room, count in lines_by_room(package).most_common():
            print(f"  {room:<16}{count:6}")


if __name__ == "__main__":
    main()
