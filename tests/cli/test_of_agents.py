"""What operators do for one agent: `--agent`."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from tests.operating import Operate, age, leave_behind, talk

Db = psycopg.Connection[Any]


@pytest.fixture
def threads(saver: SessionSaver, url: str) -> dict[str | None, str]:
    """A session of alice's with each of two agents, and with none; their threads by agent."""
    made = {None: talk(saver, "alice", "Rome").thread_id}
    for agent in ("cook", "guide"):
        with SessionSaver(url, agent=agent) as own:
            made[agent] = talk(own, "alice", agent).thread_id
    return made


def agents(operate: Operate, *arguments: str) -> list[str | None]:
    """Return the agents of the sessions that are listed."""
    return [session["agent"] for session in operate("list", "--json", *arguments).json["sessions"]]


def test_list_of_an_agent(operate: Operate, threads: dict[str | None, str]) -> None:
    """--agent leaves the others out; where any has an agent, the table shows it."""
    assert agents(operate) == ["guide", "cook", None]
    assert agents(operate, "--agent", "cook") == ["cook"]
    assert agents(operate, "--agent", "cook", "--user", "bob") == []
    header, *rows = (line.split()[1:4] for line in operate("list").out.splitlines())
    assert header == ["Thread", "User", "Agent"]
    assert rows == [
        [threads["guide"], "alice", "guide"],
        [threads["cook"], "alice", "cook"],
        [threads[None], "alice", "idle"],
    ]


def test_deactivate_all_of_an_agent(operate: Operate, threads: dict[str | None, str]) -> None:
    """--all ends the agent's alone; a thread of another agent is not found."""
    wrong = operate("deactivate", str(threads["guide"]), "--agent", "cook")
    assert (wrong.status, wrong.out) == (2, "")
    done = operate("deactivate", "--all", "--user", "alice", "--agent", "cook", "--json")
    assert done.json == {"deactivated": 1}
    assert agents(operate, "--active") == ["guide", None]


def test_purge_of_an_agent(operate: Operate, threads: dict[str | None, str], db: Db) -> None:
    """What is as old and of others stays."""
    age(db, *threads.values())
    counts = operate("purge", "--idle-for", "90d", "--agent", "cook", "--yes", "--json").json
    assert counts == {"purged": 1, "kept": 0, "dry_run": False}
    assert agents(operate) == ["guide", None]


def test_threads_are_adopted_for_an_agent(operate: Operate, url: str) -> None:
    """What `adopt` and `backfill` make is the agent's."""
    for thread in ("a", "b"):
        leave_behind(url, thread, user_id="alice")
    assert (
        operate("adopt", "a", "--user", "alice", "--agent", "cook", "--json").json["agent"]
        == "cook"
    )
    assert operate("backfill", "--agent", "guide", "--json").json["adopted"] == 1
    assert sorted(map(str, agents(operate))) == ["cook", "guide"]


def test_a_wrong_agent_is_named(operate: Operate) -> None:
    """The error names the option."""
    done = operate("list", "--agent", " ")
    assert (done.status, done.out) == (2, "")
    assert "--agent must not be empty or blank" in done.err
