"""Outages, with agents: each goes on with its own, and so it is written."""

from __future__ import annotations

from tests.outage.talking import chatting, returned
from tests.servers import Server
from tests.support import Chat


async def current(chat: Chat) -> tuple[str | None, list[str]]:
    """Return the agent of alice's current session, and what was said in it."""
    session = await chat.current()
    return session.agent, await chat.history(session)


async def test_agents_go_on_with_their_own_sessions(kind: str, server: Server, place: str) -> None:
    """What each says meanwhile, and by its manager, is its own's, in memory and after it."""
    async with (
        chatting(kind, place, agent="cook") as cook,
        chatting(kind, place, agent="guide") as guide,
        chatting(kind, place) as nobody,
    ):
        for chat in (nobody, cook, guide):
            await chat.say("before", user_id="alice")
        server.stop()
        for chat, said in ((cook, "soup"), (guide, "rome")):
            await chat.say(said, user_id="alice")
            await chat.say("more", user_id="alice")
        made = await guide.session("create_user_session", "bob", "Oslo")
        assert made.agent == "guide"
        assert await current(cook) == told(cook, "soup")
        server.start()
        for chat in (cook, guide):
            await returned(chat)
        assert await current(cook) == told(cook, "soup")
        assert await current(guide) == told(guide, "rome")
        assert (await nobody.session("get_session", "bob", made.thread_id)).agent == "guide"
        agents = [session.agent for session in await nobody.sessions()]
        assert agents == ["guide", "cook", "guide", "cook", None]


def told(chat: Chat, first: str) -> tuple[str | None, list[str]]:
    """Return what the current session is to be."""
    return chat.saver.sessions.agent, [first, "1 so far", "more", "3 so far"]
