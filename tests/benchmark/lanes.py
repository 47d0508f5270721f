"""How savers are opened and have turns: sync or async, one user after another or many at once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from psycopg import AsyncConnection, Connection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tests.benchmark.entrants import Parent, Steps
from tests.benchmark.work import Job, Turn

POOL: Final = 16
CROWD: Final = 32
# What LangGraph's documentation gives its savers' connections and pools.
OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "row_factory": dict_row,
}


@dataclass(eq=False)
class Opened:
    """An entrant with an open saver.

    Attributes:
        entrant: Who it is.
        url: Where its database is; its connections bear the application name therein.
        saver: The saver.
        turn: Has one turn.
    """

    entrant: Parent
    url: str
    saver: Any
    turn: Turn

    @property
    def name(self) -> str:
        """The entrant's name."""
        return self.entrant.name


class Lane(ABC):
    """A way to have turns.

    *over* says by what: `"connection"`, one of the benchmark's own; `"pool"`, of `POOL`
    connections; `"readme"`, what each one's README says: `from_conn_string(url)` of LangGraph's,
    `SessionSaver(url)` of ours.
    """

    kind: str

    def __init__(self, over: str = "connection", crowd: int = 1) -> None:
        """Have the turns of at most *crowd* users at once."""
        self.over = over
        self.crowd = crowd

    def __str__(self) -> str:
        users = "1 user" if self.crowd == 1 else f"{self.crowd} users"
        return f"{users}, {self.kind}"

    @abstractmethod
    def open(self, entrant: Parent, url: str, job: Job) -> Opened:
        """Open an entrant's saver, until `close`."""

    @abstractmethod
    def turns(
        self, opened: Opened, users: Sequence[str], count: int = 1, every: int | None = None
    ) -> None:
        """Have *count* turns of each of *users*; each *every*-th, from the first, begins a session.

        With a crowd of one, one user after the other; else all at once.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what was opened."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Return itself, to be ended at the end of the block."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Close what was opened, and end."""


class Threads(Lane):
    """Sync savers; many users are as many threads, which are there before the first turn."""

    kind = "sync"

    def __str__(self) -> str:
        return super().__str__() if self.crowd == 1 else f"{self.crowd} users, threads"

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        self._executor = ThreadPoolExecutor(self.crowd)
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.close()

    def open(self, entrant: Parent, url: str, job: Job) -> Opened:
        enter, saver = self._opened.enter_context, entrant.sync
        if self.over == "readme":
            # Ours is a context manager itself.
            ours = hasattr(saver, "close")
            made: Any = enter(saver(url) if ours else saver.from_conn_string(url))  # type: ignore[arg-type]
        elif self.over == "pool":
            made = saver(enter(_pool(ConnectionPool, url)))
        else:
            made = saver(enter(Connection.connect(url, **OPTIONS)))
        return Opened(entrant, url, made, job(made))

    def turns(
        self, opened: Opened, users: Sequence[str], count: int = 1, every: int | None = None
    ) -> None:
        def talk(user: str) -> None:
            for number in range(count):
                self._turn(opened, user, new=every is not None and number % every == 0)

        if self.crowd == 1:
            for user in users:
                talk(user)
        else:
            list(self._executor.map(talk, users))

    def _turn(self, opened: Opened, user: str, *, new: bool) -> None:
        configurable = self._done(opened, opened.entrant.before(user, new=new))
        opened.turn(configurable, new)
        self._done(opened, opened.entrant.after(configurable))

    def _done(self, opened: Opened, steps: Steps) -> Any:
        rows: Any = None
        while True:
            try:
                sql, params = steps.send(rows)
            except StopIteration as end:
                return end.value
            conn = opened.saver.conn
            if isinstance(conn, ConnectionPool):
                with conn.connection() as lent:
                    rows = _rows(lent.execute(sql, params))
            else:
                rows = _rows(conn.execute(sql, params))

    def close(self) -> None:
        self._opened.close()


class Tasks(Lane):
    """Async savers; many users are as many tasks of one loop."""

    kind = "async"

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._opened = AsyncExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._runner.close()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a coroutine function in the loop."""
        return self._runner.run(function(*args))

    def open(self, entrant: Parent, url: str, job: Job) -> Opened:
        opened: Opened = self.run(self._open, entrant, url, job)
        return opened

    async def _open(self, entrant: Parent, url: str, job: Job) -> Opened:
        enter, saver = self._opened.enter_async_context, entrant.twin
        if self.over == "readme":
            ours = hasattr(saver, "close")
            made: Any = await enter(saver(url) if ours else saver.from_conn_string(url))  # type: ignore[arg-type]
        elif self.over == "pool":
            made = saver(await enter(_pool(AsyncConnectionPool, url)))
        else:
            made = saver(await enter(await AsyncConnection.connect(url, **OPTIONS)))
        return Opened(entrant, url, made, job(made))

    def turns(
        self, opened: Opened, users: Sequence[str], count: int = 1, every: int | None = None
    ) -> None:
        self.run(self.talk_all, opened, users, count, every)

    async def talk_all(
        self, opened: Opened, users: Sequence[str], count: int, every: int | None
    ) -> None:
        """Have turns, in the loop."""

        async def talk(user: str) -> None:
            for number in range(count):
                new = every is not None and number % every == 0
                await self._turn(opened, user, new=new)

        if self.crowd == 1:
            for user in users:
                await talk(user)
        else:
            await asyncio.gather(*map(talk, users))

    async def _turn(self, opened: Opened, user: str, *, new: bool) -> None:
        configurable = await self._done(opened, opened.entrant.before(user, new=new))
        await opened.turn(configurable, new)
        await self._done(opened, opened.entrant.after(configurable))

    async def _done(self, opened: Opened, steps: Steps) -> Any:
        rows: Any = None
        while True:
            try:
                sql, params = steps.send(rows)
            except StopIteration as end:
                return end.value
            conn = opened.saver.conn
            if isinstance(conn, AsyncConnectionPool):
                async with conn.connection() as lent:
                    cursor = await lent.execute(sql, params)
            else:
                cursor = await conn.execute(sql, params)
            rows = (await cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        self.run(self._opened.aclose)


def _pool(kind: Any, url: str) -> Any:
    return kind(url, kwargs=OPTIONS, min_size=POOL, max_size=POOL, open=False)


def _rows(cursor: Any) -> list[Any]:
    return cursor.fetchall() if cursor.description else []
