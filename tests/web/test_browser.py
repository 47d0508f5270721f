"""The pages in a real browser: what people see and click, and what must never run there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.messages import AIMessage, SystemMessage, ToolMessage

from langgraph_sessions import Session, SessionSaver
from tests.support import PATIENCE
from tests.web.visiting import Served, named, talk

pytestmark = [pytest.mark.server, pytest.mark.browser]

NEEDED = (
    "for tests in a browser: apt-get install chromium, or another one that is called so, and "
    "pip install playwright"
)
EVIL = "<script>window.owned=1</script><img src=x onerror='window.owned=1'>\"'&amp;{{7*7}}"
WIDTHS = (1280, 375)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason=NEEDED)
    if (path := shutil.which("chromium")) is None:
        pytest.skip(NEEDED)
    with sync_api.sync_playwright() as playwright:
        # Chromium runs no sandbox as root, as which CI runs it.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def window(chromium: Any, served: Served, width: int = 1280, **options: Any) -> Iterator[Any]:
    """Open a window at the address that the command printed; it must not complain of anything."""
    complaints: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(served.door)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def evil(saver: SessionSaver) -> Session:
    """A session in which everything is HTML with scripts."""
    answer = [
        AIMessage(EVIL, tool_calls=[{"name": EVIL, "args": {EVIL: EVIL}, "id": "1"}]),
        ToolMessage(EVIL, name=EVIL, tool_call_id="1"),
        SystemMessage([{"type": EVIL, "mime_type": EVIL}], name=EVIL),
    ]
    session = talk(saver, EVIL, EVIL, answer=answer, title=EVIL, thread_id=f"t{EVIL}")
    return saver.sessions.update_session(
        EVIL, {"metadata": {EVIL: EVIL}}, thread_id=session.thread_id
    )


@pytest.fixture
def session(saver: SessionSaver) -> Session:
    """A conversation of two turns with a tool, and a fork of it."""
    call = {"name": "get_weather", "args": {"city": "Rome"}, "id": "1"}
    answer = [
        AIMessage("Let me look", tool_calls=[call]),
        ToolMessage("It is sunny there", name="get_weather", tool_call_id="1"),
    ]
    talk(saver, "alice", "Plan a trip to Rome", "In May", answer=answer)
    found = saver.sessions.get_current_user_session("alice")
    saver.sessions.fork_session("alice", found.thread_id, title="Rome, by train")
    return found


def test_the_token_leaves_the_address_bar(chromium: Any, served: Served) -> None:
    """It is in no history either, and no script could read the cookie."""
    with window(chromium, served) as page:
        assert page.url == f"{served.url}/"
        assert page.evaluate("document.cookie") == ""
        assert not page.evaluate("document.referrer")
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_nothing_that_was_written_is_executed(chromium: Any, served: Served, evil: Session) -> None:
    """Titles, users, messages, tools, metadata and searches are shown literally on every page."""
    with window(chromium, served) as page:
        for path in ("/", "/session", "/checkpoints", "/delete"):
            query = {**named(evil), "title": EVIL}
            page.goto(
                page.evaluate(
                    "([path, query]) => path + '?' + new URLSearchParams(query)",
                    [served.url + path, query],
                )
            )
            for details in page.locator("details.fold").all():
                details.locator("summary").click()
            assert EVIL in page.locator("main").inner_text()
            assert page.evaluate("window.owned") is None
            assert page.locator("main script, main img").count() == 0
            assert "49" not in page.title()


def test_what_a_script_would_do_is_forbidden(chromium: Any, served: Served) -> None:
    """Even if one got onto a page, the browser would not run it."""
    complaints = []
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(served.door)
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.owned = 1";
        document.body.append(script);
    }""")
    assert page.evaluate("window.owned") is None
    context.close()
    assert any("Content Security Policy" in complaint for complaint in complaints)


def test_a_session_is_renamed_forked_and_deleted(
    chromium: Any, served: Served, session: Session, saver: SessionSaver
) -> None:
    """By clicks alone, in a browser that runs no script."""
    # A click ends as the next page begins to load: what is to be there is waited for.
    with window(chromium, served, java_script_enabled=False) as page:
        page.get_by_label("Title").fill("plan A")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="Plan a trip to Rome").click()
        page.get_by_text("Rename").click()
        page.get_by_label("Title").fill("Rome in May")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("heading", level=1, name="Rome in May").wait_for()
        page.get_by_text("Calls get_weather").first.click()
        page.get_by_text('"city": "Rome"').first.wait_for()
        page.get_by_role("link", name="Checkpoints and forks").click()
        page.locator(".checkpoints li").nth(3).get_by_role("button", name="Fork").click()
        page.get_by_text("This is the copy").wait_for()
        page.wait_for_load_state()
        assert page.get_by_text("In May", exact=True).count() == 0
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_text("inactive").wait_for()
        page.get_by_role("link", name="Delete").click()
        page.get_by_role("link", name="Keep it").click()
        page.get_by_role("link", name="Delete").click()
        page.get_by_role("button", name="Delete it").click()
        page.get_by_text("The session was deleted").wait_for()
    saver.sessions.clear_memory_cache()
    titles = {each.title for each in saver.sessions.list_sessions()}
    assert titles == {"Rome in May", "Rome, by train"}


def test_a_session_whose_id_has_a_line_end_is_renamed(
    chromium: Any, served: Served, saver: SessionSaver
) -> None:
    """Browsers change the ends of lines in fields: what a form is about stands in its address."""
    odd = talk(saver, "alice\n", "Hello", thread_id="a\nb\rc\r\nd")
    with window(chromium, served, java_script_enabled=False) as page:
        page.get_by_role("link", name="Hello").click()
        page.get_by_text("Rename").click()
        page.get_by_label("Title").fill("Rome in May")
        page.get_by_role("button", name="Save").click()
        assert page.get_by_role("heading", level=1).inner_text() == "Rome in May"
    saver.sessions.clear_memory_cache()
    assert saver.sessions.get_session(*named(odd).values()).title == "Rome in May"


def test_a_tree_leads_from_session_to_session(
    chromium: Any, served: Served, session: Session
) -> None:
    """From a fork to what it was forked from; a checkpoint shows what was said by then."""
    with window(chromium, served) as page:
        page.get_by_role("link", name="Rome, by train").click()
        page.get_by_role("link", name="Checkpoints and forks").click()
        page.locator(".tree").get_by_role("link", name="Plan a trip to Rome").click()
        page.locator(".tree strong", has_text="Plan a trip to Rome").wait_for()
        page.locator(".checkpoints li").nth(3).get_by_role("link", name="Show").click()
        page.get_by_text("As it was at checkpoint").wait_for()
        page.get_by_role("link", name="Show all of it").click()
        page.get_by_text("In May", exact=True).wait_for()


def test_light_and_dark_and_narrow(chromium: Any, served: Served, session: Session) -> None:
    """Pages take the colours of the system, and no page is wider than its window."""
    paths = ["/", *(f"/{name}?user=alice&thread={session.thread_id}" for name in PAGES), "/doctor"]
    grounds: dict[str, set[str]] = {"light": set(), "dark": set()}
    for scheme, found in grounds.items():
        for width in WIDTHS:
            with window(chromium, served, width, color_scheme=scheme) as page:
                for path in paths:
                    page.goto(served.url + path)
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, path
                found.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert [len(found) for found in grounds.values()] == [1, 1]
    assert grounds["light"] != grounds["dark"]


PAGES = ("session", "checkpoints", "delete")


def test_the_doctor_is_one_click_away(chromium: Any, served: Served) -> None:
    """On each page, what it found folds out, and it can be asked to look again."""
    with window(chromium, served) as page:
        page.goto(f"{served.url}/doctor")
        page.get_by_text("Looked").last.wait_for()  # This page comes again by itself.
        page.goto(served.url)
        page.locator(".doctor summary").click()
        page.locator(".sheet").get_by_role("button", name="Look again").click()
        page.wait_for_url(f"{served.url}/doctor")
        page.get_by_text("Looked").last.wait_for()
