"""The checkpointer of a LangGraph Agent Server: one line of its `langgraph.json`.

    "checkpointer": {"path": "langgraph_sessions.server:checkpointer"}

The server says who is signed in when it runs a graph. When it reads a thread's state or history,
or changes its state, it has authorised the call and gives the `thread_id` alone, or a display name
as `user_id`: who is signed in stands in a context variable of the server's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from langgraph_sessions.database import URL_VARIABLE
from langgraph_sessions.runs.addresses import configurable_of
from langgraph_sessions.runs.request import AUTH_USER, AUTH_USER_ID
from langgraph_sessions.savers.aio_saver import AsyncSessionSaver

SERVER_VARIABLE: Final = "DATABASE_URI"  # What LangGraph's server calls it.
IN_MEMORY: Final = ":memory:"  # What `langgraph dev` sets it to, whatever it was.


@asynccontextmanager
async def checkpointer() -> AsyncIterator[AsyncSessionSaver]:
    """Yield a saver on `DATABASE_URI`, else `DATABASE_URL`, for the signed-in user of each call.

    `langgraph dev` keeps the first for itself: there, set `DATABASE_URL`.

    Raises:
        ValueError: Neither is set, or one is no URL of a PostgreSQL.
    """
    urls = [os.environ.get(name) for name in (SERVER_VARIABLE, URL_VARIABLE)]
    url = next((url for url in urls if url and url != IN_MEMORY), None)
    if url is None:
        raise ValueError(
            f"set {URL_VARIABLE} to the URL of a PostgreSQL, such as postgresql://localhost/app "
            f"({SERVER_VARIABLE} will do, too, but `langgraph dev` sets that itself)"
        )
    async with ServerSaver(url) as saver:
        yield saver


class ServerSaver(AsyncSessionSaver):
    """An `AsyncSessionSaver` whose calls are the user's who is signed in on the server.

    Where nobody is, it is an `AsyncSessionSaver` as any other.
    """

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Load a checkpoint, for who is signed in."""
        return await super().aget_tuple(signed_in(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints, for who is signed in."""
        theirs = None if config is None else signed_in(config)
        async for found in super().alist(theirs, filter=filter, before=before, limit=limit):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Load what rebuilds delta channels, for who is signed in."""
        return await super().aget_delta_channel_history(config=signed_in(config), channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint, for who is signed in."""
        return await super().aput(signed_in(config), checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save a task's writes, for who is signed in."""
        await super().aput_writes(signed_in(config), writes, task_id, task_path)


def signed_in(config: RunnableConfig) -> RunnableConfig:
    """Return *config* with who is signed in on the server, if somebody is.

    What a run's config says of that is left as it is: the server has put it there itself, and a
    client's `user_id` beside it is refused if it is another. A `user_id` without it is a name to
    be shown, which is empty where nobody is signed in.
    """
    # Without a server there is no need of its package.
    from langgraph_api.utils import get_auth_ctx

    context = get_auth_ctx()
    if context is None:
        return config
    given = configurable_of(config)
    identity = context.user.identity if context.user else ""
    if identity and given.get(AUTH_USER_ID) == identity:
        return config
    theirs = {key: given[key] for key in given if key != AUTH_USER}
    if identity or not given.get("user_id"):
        theirs.pop("user_id", None)
    return {**config, "configurable": {**theirs, AUTH_USER_ID: identity}}
