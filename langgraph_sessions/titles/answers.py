"""The title in what a model answers: models think aloud, wrap a title up, and explain it."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

# Models have tags of their own for it: <think>, [THINK], <seed:think>, and channels.
_THOUGHTS: Final = r"(?:\w+:)?(?:think|thinking|thought|reasoning|reflection|analysis|scratchpad)"
_OPENS: Final = re.compile(
    rf"[<◁]{_THOUGHTS}\b[^<>◁▷/]*[>▷]|\[think\]|<\|channel\|>(?:analysis|commentary)\b",
    re.IGNORECASE,
)
_CLOSES: Final = re.compile(
    rf"[<◁]/{_THOUGHTS}\s*[>▷]|\[/think\]|<\|channel\|>final\b[^<>]*<\|message\|>",
    re.IGNORECASE,
)
_EMPTY: Final = re.compile(rf"<{_THOUGHTS}\s*/>|<\|(?:end|return)\|>", re.IGNORECASE)
_UNCLOSED: Final = re.compile(rf"^\s*(?:{_OPENS.pattern})", re.IGNORECASE | re.MULTILINE)
_TAGGED: Final = re.compile(
    r"\A\s*<(title|answer|output|response)>(.*)</\1>\s*\Z", re.IGNORECASE | re.DOTALL
)
_FENCE: Final = re.compile(r"```(?:[^\S\n]*\w*[^\S\n]*\n)?(.*?)(?:```|\Z)", re.DOTALL)
# Before a title in its line: of lists, headings and quotations; what says that it is one.
_MARKS: Final = re.compile(r"\A(?:[#>]+\s+|[-*+•]\s+|1[.)]\s+)+")
_TITLE: Final = "title|titel|titre|t[ií]tulo|titolo|заголовок|название|标题|標題|タイトル|제목"
_LABEL: Final = re.compile(
    r"\A[\W_]*(?:(?:here|is|here's|a|my|suggested|conversation|chat|session|final|the) )*"
    rf"(?:{_TITLE})(?:[*_\"']*\s*[:\uff1a]| is\s*[:\uff1a]| is (?=[\"“«'*]))",
    re.IGNORECASE,
)
_COLONS: Final = (":", "\uff1a")
_PAIRS: Final = (
    *((mark, mark) for mark in ("**", "__", "~~", '"', "'", "`", "*", "_")),
    *("\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb", "\u201e\u201c"),  # Quotation marks.
    *("\u300c\u300d", "\u300e\u300f", "\u300a\u300b"),  # Those of East Asia.
)


def title_in(answer: str) -> str:
    """Return the title in *answer*, one line of text; '' if there is none.

    What a model thought is dropped; Markdown, quotation marks, fences, `Title:` and JSON around a
    title are peeled off; of several lines the one that says it is the title counts, else the first
    that does not lead to another.
    """
    answer = _EMPTY.sub("", _said(_EMPTY.sub("", answer)))
    if tagged := _TAGGED.match(answer):
        answer = tagged[2]
    if fenced := _FENCE.search(answer):
        answer = fenced[1]
    answer = _in_json(answer.strip())
    if (whole := _unpaired(answer)) != answer:  # Then it is one, however many lines it takes.
        answer = " ".join(whole.split())
    lines = [line for line in map(str.strip, answer.splitlines()) if line]
    labelled = [found for line in lines if (found := _labelled(line)) is not None]
    for line in [*filter(None, labelled), *lines]:
        if not line.endswith(_COLONS) and any(map(_says, title := _bare(line))):
            return title
    return ""


def _said(answer: str) -> str:
    """Return what comes after the last thought; if nothing does, what came before the first.

    A thought may lack its beginning, which the prompt then had, or its end.
    """
    before, after = "", answer
    if closes := [*_CLOSES.finditer(answer)]:
        before, after = answer[: closes[-1].start()], answer[closes[-1].end() :]
    after = _UNCLOSED.split(after, 1)[0]
    if after.strip() or not _OPENS.search(before):
        return after
    return _OPENS.split(before, 1)[0]


def _in_json(answer: str) -> str:
    """Return the title in the JSON object, or list, with which *answer* begins, if it does."""
    if not answer.startswith(("{", "[")):
        return answer
    try:
        value, _ = json.JSONDecoder().raw_decode(answer)
    except (ValueError, RecursionError):
        return answer
    if isinstance(value, list):
        value = (
            value[0] if value and isinstance(value[0], dict) else {"title": next(iter(value), "")}
        )
    title = {str(key).lower(): each for key, each in value.items()}.get("title")
    return title if isinstance(title, str) else ""


def _labelled(line: str) -> str | None:
    found = _LABEL.match(line)
    if not found:
        return None
    # A sentence about it ends in a full stop, which is not the title's.
    return re.sub(r"(?<=[\"”»'*])\.\Z", "", line[found.end() :].strip(" *_"))


def _bare(line: str) -> str:
    """Take off what stands around a title, layer by layer."""
    while (bare := _unpaired(_MARKS.sub("", line).strip())) != line:
        line = bare
    return line


def _unpaired(text: str) -> str:
    """Take off marks that stand before and after all of *text*."""
    for opens, ends in _PAIRS:
        inner = text[len(opens) : -len(ends)]
        if inner and text.startswith(opens) and text.endswith(ends) and opens not in inner:
            text = inner.strip()
    return text


def _says(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == "So"  # As emoji do.
