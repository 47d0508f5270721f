"""What a model answers, and the title in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_sessions.titles.answers import title_in

TITLE = "A trip to Rome"
ANSWERS = [
    TITLE,
    f"  {TITLE}\n",
    # Thoughts.
    f"<think>The user wants a title.\nTitle: Hm</think>\n\n{TITLE}",
    f"<THINKING mode=high>Hm</THINKING>{TITLE}",
    f"Hm, they want Rome.</think>{TITLE}",
    f"{TITLE}\n<think>Was that right?",
    f"{TITLE}<think>Was that right?</think>",
    f"<think>a</think><think>b</think>{TITLE}",
    f"[THINK]plan[/THINK]{TITLE}",
    f"◁think▷plan◁/think▷{TITLE}",
    f"<seed:think>plan</seed:think>{TITLE}",
    f"<analysis>plan</analysis>{TITLE}",
    f"<scratchpad>plan</scratchpad>{TITLE}",
    f"<|channel|>analysis<|message|>plan<|end|><|start|>assistant<|channel|>final<|message|>{TITLE}",
    f"<think/>{TITLE}",
    "<think>" * 100_000 + f"</think>{TITLE}",
    # Wrapped up.
    f'"{TITLE}"',
    '"A trip\n to  Rome"',
    f"“{TITLE}”",
    f"«{TITLE}»",
    f"**{TITLE}**",
    f"# {TITLE}",
    f"## **{TITLE}**",
    f"- {TITLE}",
    f"1. {TITLE}",
    f"> *{TITLE}*",
    f"`{TITLE}`",
    f'**"{TITLE}"**',
    f"```\n{TITLE}\n```",
    f"```text\n{TITLE}",
    f"```{TITLE}```",
    # Named.
    f"Title: {TITLE}",
    f"**Title:** {TITLE}",
    f'**Title**: "{TITLE}"',
    f"Suggested title: {TITLE}",
    f"Title\uff1a{TITLE}",
    f"<title>{TITLE}</title>",
    f"<answer>\n{TITLE}\n</answer>",
    f"Here is a title: {TITLE}",
    f'The title is "{TITLE}".',
    f"Titel: {TITLE}",
    f"标题\uff1a{TITLE}",
    # As JSON.
    f'["{TITLE}"]',
    f'[{{"title": "{TITLE}"}}]',
    f'{{"title": "{TITLE}"}}',
    f'```json\n{{"Title": "{TITLE}", "words": 4}}\n```',
    f'{{"title": "{TITLE}"}}\nI chose this since …',
    # Explained.
    f"Here is a title for this conversation:\n\n{TITLE}",
    f"{TITLE}\n\nThis title says what it is about.",
    f"Sure! Here you are.\n\n**Title:** {TITLE}\n\n*Explanation:* it is about Rome.",
    f"Options:\n1. {TITLE}\n2. Rome in a day",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[:40])
def test_the_title_is_found(answer: str) -> None:
    """Whatever the model wrote around it."""
    assert title_in(answer) == TITLE


@pytest.mark.parametrize(
    "title",
    [
        "What does 'self' mean?",
        "C++ and C#",
        "*args and **kwargs",
        '"Hamlet" and "Macbeth"',
        "5 * 3 * 2",
        "#1 in the charts",
        "-5 degrees in Oslo",
        "Subtitles: how to make them",
        "1984",
        "2. Weltkrieg",
        "Using <think> tags in prompts",
        "snake_case_names",
        "<thinker>",
        "\U0001f389",
    ],
)
def test_what_belongs_to_a_title_stays(title: str) -> None:
    """A mark that is not around all of it is part of it."""
    assert title_in(title) == title


@pytest.mark.parametrize(
    "answer",
    ["", "<think>Hm", "<think>Hm</think>", "Title:", '{"name": 5}', '""', "```\n```", "***"],
)
def test_there_may_be_none(answer: str) -> None:
    """Then the session keeps the title that it has."""
    assert title_in(answer) == ""


@given(st.text(st.characters() | st.sampled_from("<think>/\"'*#`{}:\n")))
def test_whatever_is_answered_is_one_line(answer: str) -> None:
    """And finding a title in what was found changes no more than its wrapping."""
    title = title_in(answer)
    assert len(title.splitlines()) <= 1
    assert len(title) <= len(answer)
