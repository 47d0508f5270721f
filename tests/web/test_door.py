"""Who gets in, and what every answer tells the browser."""

from __future__ import annotations

import re

import pytest

from langgraph_sessions import SessionSaver
from langgraph_sessions.web.hosts import Hosts
from tests.web.visiting import Served, Visitor, named, serving_pages, talk

PATHS = ["/", "/session", "/checkpoints", "/delete", "/doctor", "/nothing"]


def test_without_the_token_nothing_is_shown(served: Served) -> None:
    """Each address is 403 without the cookie, and names not even the database."""
    with served.client() as http:
        for path in PATHS:
            for answer in (http.get(path), http.post(path), http.head(path)):
                assert answer.status_code == 403
                assert "PostgreSQL" not in answer.text
                assert served.keys.form not in answer.text


def test_the_token_is_exchanged_for_a_cookie(served: Served) -> None:
    """It leaves the address bar by a redirect; no script, and no other site, has the cookie."""
    with served.client() as http:
        answer = http.get(served.door)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert served.keys.token not in cookie
        assert http.get("/").status_code == 200


def test_the_token_leads_nowhere_else(served: Served) -> None:
    """Whatever the path before it, it goes to the sessions of this server."""
    with served.client() as http:
        answer = http.get(f"{served.url}//elsewhere.example/?token={served.keys.token}")
        assert answer.headers["location"] == "/"


def test_a_wrong_token_is_403(visitor: Visitor) -> None:
    """Also for whoever has the cookie."""
    for token in ("", "wrong", "é", "a" * 5000, visitor.served.keys.token[:-1]):
        assert visitor.get("/", token=token).status_code == 403


def test_a_wrong_cookie_is_403(served: Served, visitor: Visitor) -> None:
    """The cookie is this start's, and its name this port's."""
    (name,) = visitor.http.cookies
    assert name.endswith(served.url.rpartition(":")[2])
    with served.client() as http:
        for cookie in ("", "wrong", "é", served.keys.token):
            header = f"{name}={cookie}".encode()
            assert http.get("/", headers={b"cookie": header}).status_code == 403


def test_a_name_that_is_not_ours_is_403(visitor: Visitor) -> None:
    """A page of somebody else's, whose name was made to lead here, gets nothing (DNS rebinding)."""
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.1.2.3", ""):
        assert visitor.http.get("/", headers={"host": host}).status_code == 403
        assert visitor.http.get("/static/style.css", headers={"host": host}).status_code == 403


def test_a_name_that_is_ours_is_served(visitor: Visitor) -> None:
    """Whatever the port, which another one may be forwarded to."""
    for host in ("localhost:1", "LOCALHOST", "127.0.0.1", "127.9.9.9:80", "[::1]:80"):
        assert visitor.http.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("header", "ours"),
    [("10.1.2.3:80", True), ("[fe80::1]:80", True), ("box.example", True), ("evil.example", False)],
)
def test_remote_names(header: str, ours: bool) -> None:
    """Where other machines are let in, numbers and the machine's own names are ours."""
    hosts = Hosts(frozenset({"localhost", "box.example"}), remote=True)
    assert hosts.is_ours(header) is ours
    assert not Hosts(frozenset({"localhost"})).is_ours("10.1.2.3:80")


def test_a_host_that_is_not_loopback_serves(direct_url: str) -> None:
    """Said twice, it listens to other machines; the token is asked for all the same."""
    with serving_pages(direct_url, "0.0.0.0", remote=True) as served, served.client() as http:
        assert http.get("/").status_code == 403
        assert Visitor(served, http).get("/").status_code == 200


# --- Forms ---------------------------------------------------------------------------------------


def test_a_form_without_its_key_changes_nothing(visitor: Visitor, saver: SessionSaver) -> None:
    """The cookie alone is not enough for what changes something."""
    session = saver.sessions.create_user_session("alice", "Rome")
    for path in ("/rename", "/activate", "/fork", "/delete", "/doctor"):
        for key in ("", "wrong", "é", visitor.served.keys.token):
            answer = visitor.post(path, key=key, title="Mine", active="no", **named(session))
            assert answer.status_code == 403
    saver.sessions.clear_memory_cache()
    assert saver.sessions.get_session("alice", session.thread_id) == session
    assert saver.sessions.count_sessions() == 1


def test_a_form_of_another_page_is_refused(visitor: Visitor, saver: SessionSaver) -> None:
    """What the browser says of where a form comes from counts, even with the right key."""
    session = saver.sessions.create_user_session("alice", "Rome")
    fields = {"key": visitor.served.keys.form, "title": "Mine", **named(session)}
    for headers, status in (
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, 303),
        ({}, 303),
    ):
        assert visitor.http.post("/rename", data=fields, headers=headers).status_code == status


def test_only_forms_change_anything(visitor: Visitor, saver: SessionSaver) -> None:
    """No address that is only looked at, by a link or an image, does."""
    session = saver.sessions.create_user_session("alice", "Rome")
    for path in ("/rename", "/activate", "/fork"):
        key = visitor.served.keys.form
        assert visitor.get(path, key=key, title="Mine", **named(session)).status_code == 405
    assert visitor.get("/delete", **named(session)).status_code == 200
    saver.sessions.clear_memory_cache()
    assert saver.sessions.get_session("alice", session.thread_id) == session


# --- Headers -------------------------------------------------------------------------------------


def test_every_answer_forbids_scripts_and_the_outside(served: Served, visitor: Visitor) -> None:
    """Pages, what is refused, what is not there, redirects and the style sheet alike."""
    with served.client() as stranger:
        answers = [
            *(visitor.get(path) for path in (*PATHS, "/static/style.css", "/static/none")),
            *(stranger.get("/"), stranger.get(served.door)),
            visitor.post("/doctor"),
        ]
    assert {answer.status_code for answer in answers} == {200, 303, 400, 403, 404}
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_pages_need_nothing_that_is_forbidden(visitor: Visitor, saver: SessionSaver) -> None:
    """No script, no style of its own, and nothing from elsewhere is on a page."""
    session = talk(saver, "alice", "Hello")
    for path in PATHS[:5]:
        page = visitor.get(path, **named(session)).text
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
        assert all(
            url.startswith("/") for url in re.findall(r'(?:href|src|action)="([^"]*)"', page)
        )
