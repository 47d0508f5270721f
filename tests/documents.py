"""The README and the guide's pages, as programs and as places that link to each other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = {page.stem: page for page in sorted((ROOT / "langgraph_sessions/guide").glob("*.md"))}
DOCUMENTS = [README, *GUIDE.values()]

FENCE = re.compile(r"^```")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PRINTED = re.compile(r"^\s*print\(.*\)  # (.+)$", re.MULTILINE)


def program(document: Path) -> str:
    """Return the document's Python blocks as one program, each line where it stands there."""
    lines, python = [], False
    for line in document.read_text().splitlines():
        if FENCE.match(line):
            python = line == "```python"
            line = ""
        lines.append(line if python else "")
    return "\n".join(lines)


def prose(document: Path) -> str:
    """Return the document without its blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def promised(document: Path) -> list[str]:
    """Return, as patterns, what comments beside `print` say that it prints; `…` is anything."""
    said = PRINTED.findall(program(document))
    return [re.escape(line).replace("…", ".*") for line in said]


def links(document: Path) -> list[tuple[Path, str]]:
    """Return where the document's relative links lead: a file, and a heading in it or `""`."""
    found = [link for link in LINK.findall(prose(document)) if "://" not in link]
    parts = [link.partition("#") for link in found]
    return [
        ((document.parent / path).resolve() if path else document, anchor)
        for path, _, anchor in parts
    ]


def anchors(document: Path) -> set[str]:
    """Return the names that GitHub gives the document's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}
