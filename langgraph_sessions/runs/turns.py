"""A run's saves, one at a time; those that wait meanwhile go on together."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar, cast

from langgraph_sessions.plans import Composite, Done, Plan, fail, proceed

T = TypeVar("T")
# Makes one question of what several plans ask; `None` where they must ask by themselves.
Join = Callable[[Sequence[Any]], Composite | None]

STEPS: Final = 6  # Of the event loop: so many, and LangGraph has begun to save the next checkpoint.
MOST: Final = 4  # Saves that go together: each number is another statement to prepare.


class Turn(Generic[T]):
    """A save's plan, which may begin in somebody else's turn, and ends in its own."""

    def __init__(self, plan: Plan[T]) -> None:
        """Wait with *plan*."""
        self._plan = plan
        self._context = contextvars.copy_context()
        self._step: Any = None  # What it asks, once it has begun; `Done` at its end.
        self._error: BaseException | None = None
        self._is_answered = False

    def begin(self) -> Any:
        """Return what it asks first, in the surroundings of its own; `None` if it asks nothing."""
        self._context.run(self._begin)
        return None if self._error or isinstance(self._step, Done) else self._step

    def answer(self) -> None:
        """Note that what it asks first is done."""
        self._is_answered = True

    @property
    def has_begun(self) -> bool:
        """Whether it has, or has failed to."""
        return self._step is not None or self._error is not None

    def rest(self) -> Plan[T]:
        """Return the plan from where it is to its end."""
        if not self.has_begun:
            return self._plan
        return self._rest()

    def _rest(self) -> Plan[T]:
        if self._error is not None:
            raise self._error
        try:
            if self._is_answered:
                self._step = proceed(self._plan)
            while not isinstance(self._step, Done):
                try:
                    answer = yield self._step
                except Exception as error:
                    self._step = fail(self._plan, error)
                else:
                    self._step = proceed(self._plan, answer)
        finally:
            self._plan.close()
        return cast(T, self._step.value)

    def _begin(self) -> None:
        try:
            self._step = proceed(self._plan)
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):  # Ctrl-C, in the thread whose turn it is.
                raise


class Turns:
    """Lets one save of a run at a time go on, however wide the run fans out.

    All of them write to one row, the thread's. They queue here rather than in the database, so that
    a run holds one connection at most. It also settles who makes the session: a save that was sent
    before the session was made, and carried out after it was made and deleted, would outlive the
    deletion.

    What came while a save was under way is sent together, where it can be; each then ends in its
    own turn. Where that fails, each is sent in its own turn, too, and told what is its own.

    After a save has failed the others fail side by side: each may wait for a database that is away.
    """

    def __init__(self) -> None:
        """Begin with the first save."""
        self._failed = False
        self._waiting: deque[Turn[Any]] = deque()
        self._threads, self._tasks = threading.Lock(), asyncio.Lock()

    def __reduce__(self) -> tuple[type[Turns], tuple[()]]:
        """Copy and pickle with the runs of a config, without the locks."""
        return Turns, ()

    def turn(self, plan: Plan[T], run: Callable[[Plan[Any]], Any], join: Join) -> T:
        """Have *run* carry out *plan* in its turn, in a thread; what waits meanwhile is joined."""
        if not (self._waiting or self._failed) and self._threads.acquire(blocking=False):
            try:
                first: T = run(plan)
            except BaseException:
                self._failed = True
                raise
            finally:
                self._threads.release()
            return first
        mine = Turn(plan)
        self._waiting.append(mine)
        with self._threads:
            if not self._failed:
                try:
                    if (others := self._others(mine)) is not None:
                        with suppress(Exception):
                            run(_together(others, join))
                    return cast(T, run(mine.rest()))
                except BaseException:
                    self._failed = True
                    raise
        return cast(T, run(mine.rest()))

    async def aturn(
        self, plan: Plan[T], run: Callable[[Plan[Any]], Awaitable[Any]], join: Join
    ) -> T:
        """Async version of `turn`, in a task."""
        if not (self._waiting or self._failed or self._tasks.locked()):
            async with self._tasks:
                try:
                    first: T = await run(plan)
                except BaseException:
                    self._failed = True
                    raise
            return first
        mine = Turn(plan)
        self._waiting.append(mine)
        async with self._tasks:
            if not self._failed:
                await self._company(mine)
                try:
                    if (others := self._others(mine)) is not None:
                        with suppress(Exception):
                            await run(_together(others, join))
                    return cast(T, await run(mine.rest()))
                except BaseException:
                    self._failed = True
                    raise
        return cast(T, await run(mine.rest()))

    def hold(self) -> Callable[[], None]:
        """Wait, in a thread, for the save under way, and let none begin until the result is called.

        What is done meanwhile is no save.
        """
        self._threads.acquire()
        return self._threads.release

    async def ahold(self) -> Callable[[], None]:
        """Async version of `hold`, in a task."""
        await self._tasks.acquire()
        return self._tasks.release

    async def _company(self, mine: Turn[Any]) -> None:
        """Let what *mine* may go together with begin: LangGraph saves the next checkpoint then.

        That is when the one before is saved, behind which *mine* has waited.
        """
        for _ in range(STEPS):
            if mine.has_begun or len(self._waiting) >= MOST:
                return
            await asyncio.sleep(0)

    def _others(self, mine: Turn[Any]) -> list[Turn[Any]] | None:
        """Return *mine* with those that wait behind it; `None` where it is by itself, or begun."""
        if mine.has_begun:
            return None
        turns = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        return turns if len(turns) > 1 else None


def _together(turns: Sequence[Turn[Any]], join: Join) -> Plan[None]:
    """Begin *turns*, and send what they ask as one, where it can be."""
    asked = [turn.begin() for turn in turns]
    if None not in asked and (joined := join(asked)) is not None:
        yield joined
        for turn in turns:
            turn.answer()
