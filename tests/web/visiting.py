"""A server of pages in a thread, and whoever visits it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx

from langgraph_sessions import Session, SessionSaver
from langgraph_sessions.web import hosts, serving
from langgraph_sessions.web.app import application
from langgraph_sessions.web.keys import Keys
from tests.support import PATIENCE, config, graph_builder, until


@dataclass
class Served:
    """A server of pages.

    Attributes:
        url: Its address, without the token.
        keys: Its secrets.
    """

    url: str
    keys: Keys

    @property
    def door(self) -> str:
        """The address that the command prints."""
        return f"{self.url}/?token={self.keys.token}"

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that has been nowhere yet."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **options)


@contextmanager
def serving_pages(
    database: str, host: str = "127.0.0.1", *, remote: bool = False
) -> Iterator[Served]:
    """Serve the pages of *database* in a thread."""
    keys, listening = Keys(), hosts.listen(host, 0, remote=remote)
    port = listening.getsockname()[1]
    names = hosts.Hosts.of(host, remote=remote)
    server = serving.server(application(database, names, keys, port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield Served(f"http://127.0.0.1:{port}", keys)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()


class Visitor:
    """Somebody who was told the token, with a client that runs nothing."""

    def __init__(self, served: Served, http: httpx.Client) -> None:
        self.http = http
        self.served = served
        assert http.get(served.door).status_code == 303

    def get(self, path: str, **query: Any) -> httpx.Response:
        """Return an answer."""
        return self.http.get(path, params=query or None)  # An empty one would clear the path's.

    def see(self, path: str, **query: Any) -> str:
        """Return what stands on a page, which must be there, without tags."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return text(answer)

    def post(self, path: str, *, key: str | None = None, **fields: Any) -> httpx.Response:
        """Send a form."""
        sent = {"key": self.served.keys.form if key is None else key, **fields}
        return self.http.post(path, data=sent)


def text(answer: httpx.Response) -> str:
    """Return what stands in the main part of a page, without tags."""
    main = answer.text.partition("<main>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def link(page: str, words: str) -> str | None:
    """Return where the link with *words* leads."""
    found = re.search(rf'href="([^"]*)"[^>]*>{words}', page)
    return unescape(found[1]) if found else None


def named(session: Session) -> dict[str, str]:
    """Return the query that names a session."""
    return {"user": session.user_id, "thread": session.thread_id}


def talk(
    saver: SessionSaver, user_id: str, *words: Any, answer: Any = None, **where: Any
) -> Session:
    """Say *words*, each in a run of its own; return the session in which they were said."""
    node = None if answer is None else lambda state: {"messages": answer}
    graph = graph_builder(node).compile(checkpointer=saver)
    for each in words:
        said = each if isinstance(each, list) else [each]
        graph.invoke({"messages": said}, config(user_id=user_id, **where))
        where.pop("new_session", None)
    saver.sessions.clear_memory_cache()
    return saver.sessions.get_current_user_session(user_id)
