"""The pages of the guide, in a terminal or as they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar, Final

import click

FOLDER: Final = Path(__file__).parents[1] / "guide"
PAGES: Final = {page.stem: page for page in sorted(FOLDER.glob("*.md"))}
LESS: Final = "FRX"  # As git has it: what fits ends by itself, in colours, and stays on the screen.
WIDEST: Final = 100  # Columns; longer lines are hard to read.


@click.command("guide")
@click.argument("page", required=False, metavar="[PAGE]", type=click.Choice(list(PAGES)))
def guide_command(page: str | None) -> None:
    """Show a page of the guide; without PAGE, which there are."""
    if page is None:
        click.echo(_contents())
    elif sys.stdout.isatty():
        os.environ.setdefault("LESS", LESS)
        click.echo_via_pager(_rendered(PAGES[page].read_text(encoding="utf-8")))
    else:
        click.echo(PAGES[page].read_text(encoding="utf-8"), nl=False)


def _contents() -> str:
    """Return a line for each page: its name, and what it says of itself."""
    width = max(map(len, PAGES))
    return "\n".join(f"{name:{width}}  {_about(page)}" for name, page in PAGES.items())


def _about(page: Path) -> str:
    """Return what is after the colon of the page's heading, else all of that."""
    with page.open(encoding="utf-8") as lines:
        heading = next(lines).removeprefix("# ").strip()
    return heading.partition(": ")[2] or heading


def _rendered(text: str) -> str:
    """Return Markdown as it looks in this terminal, on whatever ground."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.theme import Theme

    class Whole(TableElement):
        """A table in which a word too long for its column goes on in the next line."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for table in super().__rich_console__(console, options):
                for column in getattr(table, "columns", ()):
                    column.overflow = "fold"
                yield table

    class Page(Markdown):
        elements: ClassVar = {**Markdown.elements, "table_open": Whole}

    console = Console(theme=Theme({"markdown.code": "cyan"}))
    with console.capture() as shown:
        page = Page(text, code_theme="ansi_light", hyperlinks=False)
        console.print(page, width=min(console.width, WIDEST))
    return shown.get()
