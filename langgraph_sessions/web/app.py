"""The application: addresses, what answers them, and how what goes wrong is told."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from langgraph_sessions.database.failures import is_broken
from langgraph_sessions.database.place import TablesMissing
from langgraph_sessions.errors import (
    SessionError,
    SessionNotFoundError,
    SessionsUnavailableError,
    described,
)
from langgraph_sessions.log import logger
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.web import changing, reading
from langgraph_sessions.web.asking import form
from langgraph_sessions.web.consulting import Consulting
from langgraph_sessions.web.doorkeeper import Doorkeeper
from langgraph_sessions.web.drawing import FOLDER, draw
from langgraph_sessions.web.hosts import Hosts
from langgraph_sessions.web.keys import Keys, fits
from langgraph_sessions.web.views import Moved, View, problem

Answer = Callable[[Request], Awaitable[View | Moved]]
Reading = Callable[[AsyncAgentSessionManager, Request], Awaitable[View]]
Changing = Callable[[AsyncAgentSessionManager, changing.Form], Awaitable[Moved]]

READING: Final[dict[str, Reading]] = {
    "/": reading.sessions,
    "/session": reading.conversation,
    "/checkpoints": reading.checkpoints,
    "/delete": reading.deletion,
}
CHANGING: Final[dict[str, Changing]] = {
    "/rename": changing.rename,
    "/activate": changing.activate,
    "/fork": changing.fork,
    "/delete": changing.delete,
}


class Pages:
    """The pages of one database."""

    def __init__(self, manager: AsyncAgentSessionManager, doctor: Consulting, keys: Keys) -> None:
        """Answer by *manager*, and show what *doctor* says."""
        self._manager = manager
        self._doctor = doctor
        self._keys = keys

    def routes(self) -> list[Route | Mount]:
        """Return all addresses."""
        return [
            *(Route(path, self._drawn(self._read(page))) for path, page in READING.items()),
            *(self._posted(path, self._changed(page)) for path, page in CHANGING.items()),
            Route("/doctor", self._drawn(self._diagnosis)),
            self._posted("/doctor", self._look_again),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ]

    def _posted(self, path: str, answer: Answer) -> Route:
        return Route(path, self._drawn(answer), methods=["POST"])

    # --- What answers ----------------------------------------------------------------------------

    def _read(self, page: Reading) -> Answer:
        async def answer(request: Request) -> View | Moved:
            return await page(self._manager, request)

        return answer

    def _changed(self, page: Changing) -> Answer:
        async def answer(request: Request) -> View | Moved:
            fields = await form(request)
            if not fits(fields.get("key"), self._keys.form):
                return problem(403, "Not from here", "That form is not one of this server's.")
            return await page(self._manager, {**request.query_params, **fields})

        return answer

    async def _diagnosis(self, request: Request) -> View:
        return View("doctor", {"refresh": 1 if self._doctor.is_looking else None})

    async def _look_again(self, request: Request) -> View | Moved:
        async def look(manager: AsyncAgentSessionManager, fields: changing.Form) -> Moved:
            self._doctor.begin()
            return Moved("/doctor")

        return await self._changed(look)(request)

    # --- How it is drawn -------------------------------------------------------------------------

    def _drawn(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def drawn(request: Request) -> Response:
            try:
                found = await answer(request)
            except Exception as error:
                found = told(error)
            return draw(found, self._surroundings())

        return drawn

    def _surroundings(self) -> dict[str, Any]:
        return {
            "place": self._manager._database.where,
            "doctor": self._doctor,
            "key": self._keys.form,
        }

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer what is at no address."""
        assert isinstance(error, HTTPException)
        text = "There is nothing at this address."
        return draw(problem(error.status_code, "No such page", text), self._surroundings())


def told(error: Exception) -> View:
    """Return the page that says what went wrong; what nobody foresaw is logged, without words."""
    if isinstance(error, SessionNotFoundError):
        text = "There is no such session of this user. It may have been deleted."
        return problem(404, "No such session", text)
    if isinstance(error, SessionsUnavailableError) or is_broken(error):
        text = "The database cannot be reached. This page works again as soon as it is back."
        return problem(503, "The database is away", text)
    if isinstance(error, TablesMissing):
        text = (
            "Its tables are missing, older, or somebody else's. The command langgraph-sessions "
            "sessions setup makes them, or brings them up to date, or says what differs."
        )
        return problem(500, "The database is not set up", text)
    if isinstance(error, SessionError):
        return problem(500, "This cannot be shown", str(error))
    if isinstance(error, ValueError | TypeError):
        return problem(400, "That cannot be asked for", str(error))
    logger.error("a page failed: %s", described(error))
    text = f"This page failed: {described(error)}."
    return problem(500, "Something went wrong", text)


def _warm() -> None:
    """Load what only conversations need: nobody is to wait for it."""
    import langgraph.graph.message  # noqa: F401


def application(database: str | None, hosts: Hosts, keys: Keys, port: int) -> Doorkeeper:
    """Return the pages of *database*, a URL, or of the embedded one, for a server on *port*.

    It makes no tables in a database that has a URL: who looks at one leaves it as it is.
    """
    manager = AsyncAgentSessionManager(
        database, auto_setup=database is None, on_outage="raise", retry_for=0, cache_ttl=0
    )
    doctor = Consulting(database)
    pages = Pages(manager, doctor, keys)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        doctor.begin()
        threading.Thread(target=_warm, name="warming", daemon=True).start()
        yield
        await manager.close()

    app = Starlette(
        routes=pages.routes(),
        exception_handlers={HTTPException: pages.refuse},
        lifespan=lifespan,
    )
    return Doorkeeper(app, keys, hosts, port)
