"""The doorkeeper: lets in who has the token, and tells each browser what pages may do."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langgraph_sessions.web.drawing import draw
from langgraph_sessions.web.hosts import Hosts
from langgraph_sessions.web.keys import Keys, fits
from langgraph_sessions.web.views import problem

STATIC: Final = "/static/"
HEADERS: Final = {
    # No script at all, and nothing from anywhere else.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
NOT_LET_IN: Final = (
    "Open the address that the command printed: it has the token, which is new at each start. "
    "If you came from there just now, by a link on another page, go on to the sessions."
)


class Doorkeeper:
    """Answers whoever is not let in, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Hosts, port: int) -> None:
        """Stand before *app*."""
        self._app = app
        self._keys = keys
        self._hosts = hosts
        # Ports of one host share their cookies.
        self._cookie = f"langgraph-sessions-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._answer(Request(scope)) or self._app
        await answer(scope, receive, send_with_headers)

    def _answer(self, request: Request) -> Response | None:
        """Return what a request is answered with at the door; `None`: it may come in."""
        if not self._hosts.is_ours(request.headers.get("host")):
            return _refused("Not this name", "This server is not called by that name.")
        if request.url.path.startswith(STATIC):
            return None
        if (token := request.query_params.get("token")) is not None:
            return self._exchanged(token)
        if not fits(request.cookies.get(self._cookie), self._keys.cookie):
            return _refused("Not signed in", NOT_LET_IN)
        if request.method not in ("GET", "HEAD") and not _is_from_here(request):
            return _refused("Not from here", "That form is not one of this server's.")
        return None

    def _exchanged(self, token: str) -> Response:
        """Take the token out of the address bar, and the history, for a cookie."""
        if not fits(token, self._keys.token):
            return _refused("Not signed in", NOT_LET_IN)
        moved = RedirectResponse("/", status_code=303)
        moved.set_cookie(self._cookie, self._keys.cookie, httponly=True, samesite="strict")
        return moved


def _is_from_here(request: Request) -> bool:
    """Say whether the browser says nothing against it; the form's own key is asked for as well."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin", "null")  # Which it is under `no-referrer`.
    return origin in ("null", f"{request.url.scheme}://{request.headers.get('host')}")


def _refused(title: str, text: str) -> Response:
    return draw(problem(403, title, text))
