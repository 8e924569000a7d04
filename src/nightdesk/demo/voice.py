"""What the demo's models say: plausible newsroom sentences from a small vocabulary, always the same for one seed.

Everything here is a pure function of its arguments. A token is a piece of text as a stream shows it: a word with
its leading blank, or a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

_WHO = (
    "the mayor", "the night editor", "a harbour pilot", "the transport office", "our correspondent",
    "the school board", "a spokeswoman for the hospital", "the ferry company", "the second witness",
    "the finance committee", "a retired engineer", "the weather service", "the archive",
)  # fmt: skip
_DOES = (
    "confirmed", "questioned", "described", "postponed", "rejected", "published", "reviewed", "defended",
    "compared", "summarised", "corrected", "approved", "withdrew",
)  # fmt: skip
_WHAT = (
    "the new timetable", "a draft of the budget", "the bridge repairs", "two earlier statements",
    "the interview of last Tuesday", "a list of open questions", "the flood report", "the tender for the tramway",
    "the minutes of the hearing", "an offer from the union", "the reading of the tide gauge", "a plan for the old mill",
)  # fmt: skip
_HOW = (
    "after a long night session", "without naming a source", "in front of a full hall", "before the deadline",
    "in a short note", "with reservations", "for the third time this year", "according to the transcript",
    "while the vote was still open", "at half past two in the morning",
)  # fmt: skip
_LINK = ("and", "but", "while", "because", "although")
_HEADINGS = ("Executive Summary", "Key Points", "Quotes", "Open Questions", "Next Steps")
_THOUGHTS = (
    "The user wants a summary", "first I look at who speaks", "the second part repeats the first",
    "a date is missing here", "I should keep the quote as it is", "so the order matters more than the detail",
    "the figures do not add up", "then I compare it with the minutes", "that is enough to answer",
)  # fmt: skip
_TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s")
_COUNTED = re.compile(r"[A-Za-z]{1,7}|\d{1,3}|[^\sA-Za-z\d]")


def tokens_of(text: str) -> list[str]:
    """``text`` cut into the pieces that a stream would show; joined they are ``text`` again."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """About as many tokens as a real tokenizer would count in ``text``."""
    return sum(1 for _ in _COUNTED.finditer(text))


def token_ids(text: str) -> Iterator[int]:
    """A number below 128,000 for each counted token of ``text``, the same for the same piece."""
    for match in _COUNTED.finditer(text):
        value = 7
        for character in match.group():
            value = (value * 131 + ord(character)) % 127_900
        yield value + 100


def source_of(*parts: object) -> Random:
    """A source of choices that depends on ``parts`` only."""
    return Random("\x1f".join(map(str, parts)))


def clause(source: Random) -> str:
    """A main clause without capital and full stop."""
    return f"{source.choice(_WHO)} {source.choice(_DOES)} {source.choice(_WHAT)}"


def sentence(source: Random) -> str:
    """One sentence with its full stop."""
    words = clause(source)
    if source.random() < 0.5:
        words += f" {source.choice(_HOW)}"
    if source.random() < 0.3:
        words += f", {source.choice(_LINK)} {clause(source)}"
    return f"{words[0].upper()}{words[1:]}."


def article(source: Random) -> str:
    """A reply: a few paragraphs, sometimes with Markdown headings and a list."""
    parts = []
    for heading in _HEADINGS[: source.randint(1, 3)] if source.random() < 0.5 else ("",):
        if heading:
            parts.append(f"## {heading}")
        body = [sentence(source) for _ in range(source.randint(2, 5))]
        parts.append("\n".join(f"- {line}" for line in body) if source.random() < 0.3 else " ".join(body))
    return "\n\n".join(parts)


def thought(source: Random) -> str:
    """What a model that thinks first says to itself."""
    picked = source.sample(_THOUGHTS, source.randint(3, 6))
    return "; ".join(picked) + "."


def vector(text: str, size: int) -> list[float]:
    """An embedding of unit length for ``text``."""
    source = source_of("vector", size, text)
    values = [source.gauss(0.0, 1.0) for _ in range(size)]
    length = sum(value * value for value in values) ** 0.5
    return [round(value / length, 8) for value in values]
