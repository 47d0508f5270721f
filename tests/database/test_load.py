"""Many conversations at once on a small pool: nothing fails, is lost, or grows."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from langgraph_sessions import AsyncSessionSaver
from langgraph_sessions.database import pools
from tests.support import CLIENTS, PATIENCE, config, graph_builder

POOL = 10
TURNS = 30  # Of each conversation.
# Turns of a session. Few, so that every conversation has begun anew some times before the first
# third is over: a turn holds its whole history while it waits for a connection, and histories
# that are still getting longer would look like a leak.
SESSION = 5
# Growth from the first third to the end that counts as flat: a turn that leaked a kilobyte would
# show as 8 MB here. What is left to grow is the allocator's arenas.
FLAT_BYTES = 5 * 2**20


@dataclass
class Load:
    """What is seen during a load: by how many turns are done, however fast the machine is."""

    conversations: int
    turns_each: int
    turns: Counter[int] = field(default_factory=Counter)
    memory: list[tuple[int, int]] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    def resident(self, since: float, until: float) -> int:
        """Return the least memory seen between two parts of the turns, from 0 to 1, in bytes."""
        parts = ((done / self.total, rss) for done, rss in self.memory)
        return min(rss for part, rss in parts if since <= part <= until)

    @property
    def total(self) -> int:
        """All turns."""
        return self.conversations * self.turns_each


def rss() -> int:
    """Return this process's resident memory, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def converse(load: Load, graph: Any, number: int) -> None:
    """Be one user: turn after turn, in sessions of some turns."""
    for turn in range(load.turns_each):
        given: dict[str, Any] = {"user_id": f"user-{number}"}
        if turn % SESSION == 0:
            given["new_session"] = True
        state = await graph.ainvoke({"messages": [f"turn {turn}"]}, config(**given))
        load.turns[number] += 1
        assert len(state["messages"]) == 2 * (turn % SESSION) + 2


async def watch(load: Load, url: str) -> None:
    """Look at the memory and the connections, until cancelled."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as looker:
        while True:
            load.connections.append((await looker.execute(CLIENTS)).rowcount)
            gc.collect()
            load.memory.append((load.turns.total(), rss()))
            await asyncio.sleep(0.2)


async def all_turns(saver: AsyncSessionSaver, graph: Any, number: int) -> list[str]:
    """Return what a user said, in order, over all sessions."""
    user, said = f"user-{number}", []
    page = await saver.sessions.list_sessions(user, limit=1000)
    for session in sorted(page, key=lambda each: each.created_at):
        state = await graph.aget_state(session.config)
        said += [str(m.content) for m in state.values["messages"] if m.type == "human"]
    return said


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    "conversations", [40, pytest.param(500, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_many_conversations_on_a_small_pool(
    direct_url: str, conversations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error, every message kept, memory flat, never more connections than the pool and one."""
    # All begin at once: how long the last one waits says how fast the machine is.
    monkeypatch.setattr(pools, "WAIT", PATIENCE)
    load, began = Load(conversations, TURNS), time.monotonic()
    async with AsyncSessionSaver(direct_url, pool_size=POOL) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        watching = asyncio.create_task(watch(load, direct_url))
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(conversations):
                    group.create_task(converse(load, graph, number))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        assert saver.durable
        for number in range(conversations):
            said = await all_turns(saver, graph, number)
            assert said == [f"turn {turn}" for turn in range(TURNS)]
    early, late = load.resident(1 / 3, 2 / 3), load.resident(2 / 3, 1)
    turns, seconds = load.total, time.monotonic() - began
    print(
        f"{conversations} conversations: {turns} turns, {turns / seconds:.0f} a second; "
        f"memory {early / 2**20:.0f} MB after a third, {late / 2**20:.0f} MB at the end; "
        f"at most {max(load.connections)} connections"
    )
    assert late - early < FLAT_BYTES
    assert max(load.connections) <= POOL + 1
