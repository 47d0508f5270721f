"""Users who talk while something happens to the nodes."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict

from tests.servers import until
from tests.support import Chat

USERS = [f"user-{number}" for number in range(8)]


class Talk:
    """Users who talk on and on.

    Attributes:
        acknowledged: What each of them said, and was answered.
        errors: What they got instead.
    """

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.acknowledged: dict[str, list[str]] = defaultdict(list)
        self.errors: dict[str, list[Exception]] = defaultdict(list)
        self._over = False

    async def __aenter__(self) -> Talk:
        self._talks = [asyncio.create_task(self._talk(user)) for user in USERS]
        await self.some_turns_of(USERS)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._talks)

    async def _talk(self, user: str) -> None:
        for number in itertools.count():
            if self._over:
                return
            try:
                await self.chat.say(f"{user}: {number}", user_id=user)
            except Exception as error:
                self.errors[user].append(error)
            else:
                self.acknowledged[user].append(f"{user}: {number}")

    async def some_turns_of(self, users: list[str]) -> None:
        """Wait until each of *users* has had three more answers."""
        before = {user: len(self.acknowledged[user]) for user in users}
        await until(lambda: all(len(self.acknowledged[each]) > before[each] + 2 for each in users))

    async def some_errors_of(self, users: list[str]) -> None:
        """Wait until each of *users* has had an error."""
        await until(lambda: all(self.errors[each] for each in users))

    async def lost(self) -> list[str]:
        """Return what was acknowledged and is not there once."""
        lost = []
        for user in USERS:
            sessions = await self.chat.sessions(user)
            said = [text for each in sessions for text in await self.chat.history(each)]
            lost += [text for text in self.acknowledged[user] if said.count(text) != 1]
        return lost
