"""A titler, and what it makes of a session's title."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import psycopg
from langchain_core.messages import BaseMessage

from tests.support import PATIENCE

Connection = psycopg.Connection[Any]


class Titler:
    """A titler that keeps what it was asked, and may wait until it is told to go on."""

    def __init__(self, title: Any = "By the model", *, waits: bool = False) -> None:
        self.title = title
        self.asked: list[list[str]] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        if not waits:
            self.go_on.set()

    def __call__(self, messages: Sequence[BaseMessage]) -> Any:
        self.asked.append([f"{message.type}: {message.text}" for message in messages])
        self.entered.set()
        assert self.go_on.wait(60)
        if isinstance(self.title, Exception):
            raise self.title
        return self.title

    async def as_coroutine(self, messages: Sequence[BaseMessage]) -> Any:
        return await asyncio.to_thread(self, messages)

    async def is_asked(self) -> None:
        """Wait until it has been called."""
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)


def title(db: Connection, user_id: str = "alice") -> tuple[str, str]:
    """Return the title of a user's only session, and where it is from."""
    (row,) = db.execute("SELECT * FROM user_sessions WHERE user_id = %s", [user_id]).fetchall()
    return row["title"], row["title_source"]
