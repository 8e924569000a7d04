"""Does a text go round in circles? Only its end is looked at: a model in a loop does not get out again.

Two signs. *Exact*: the end of the text has a period, and enough of them. *Sentences*: of the last forty sentences only
a few are different ones. What is data (tables, arrays, rules of dashes, hexadecimal) repeats by right, and so does what
the prompt asks to repeat; a reply that the model itself ended must be far more repetitive to be called a loop.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from nightdesk.core.verdicts.facts import quoted

TAIL = 8_000
"""Characters at the end that are looked at."""
PROBES = (64, 24)
"""Lengths of the piece of which an earlier copy is looked for: a long one finds sentences, a short one words."""
TRIES = 6
DATA_CHARS = 7_000
"""A repetition without words is data unless it is longer than this."""
STRUCTURED = 1.5
"""Equal lines are less odd in code and tables than in prose."""
SENTENCES = 40
CIRCLING_TAIL = 4_000
"""Characters in which those sentences are looked for."""
EMOJI = 0x1F000
"""Pictures begin here: they are words, not data."""
LEAST_LETTERS = 12
LEAST_BLANKS = 3
"""Between the words of a sentence; scripts without blanks need eight characters."""

_WORD = re.compile(r"(?<!\w)[^\W\d_]{2,}(?!\w)")
_DATA_WORDS = frozenset(
    {"null", "none", "nan", "nil", "true", "false", "undefined", "td", "tr", "li", "th", "br"}
)
_STRUCTURE = re.compile(r"[|{}<>\t;\[\]=()]")
_SENTENCE_ENDS = ("! ", "? ", "… ", ".\n", "\n", "。", "！", "？")
_ENUMERATOR = re.compile(r"^\W*\d+[.):]\s+")
_ASKED = re.compile(
    r"\b(repeat\w*|times|again and again|wiederhol\w*|mal|fois|veces|volte|keer)\b|次|遍|重复|繰り返",
    re.IGNORECASE,
)

Ended = Literal["running", "cut", "stopped", "guarded"]
"""``cut``: by a limit or by the client; ``stopped``: by the model; ``guarded``: by the server's repeat guard."""
_FACTOR: dict[Ended, float] = {"running": 2.0, "cut": 1.0, "stopped": 3.0, "guarded": 1.0}


class Loop(NamedTuple):
    """A repetition at the end of a text."""

    unit: str
    repeats: int
    is_exact: bool

    def evidence(self, where: str, quote: bool) -> str:
        """A sentence on it; without the words where they must not be shown."""
        what = quoted(self.unit.strip() or self.unit) if quote else f"the same {len(self.unit):,} characters"
        if self.is_exact:
            return f"{where} ends with {what}, {self.repeats:,} times in a row."
        return f"{where} goes round in circles: {what} and few other sentences, {self.repeats:,} in a row."


def find_loop(text: str, ended: Ended, repeats: int, prompt: str = "") -> Loop | None:
    """The loop at the end of ``text``; ``repeats``: how often a short piece must stand in a row."""
    tail = text[-TAIL:].rstrip()
    found = _exact(tail, ended, repeats) or _circling(tail, ended, repeats)
    if found is None or _is_asked_for(found.unit, prompt, ended):
        return None
    if ended == "stopped" and not _is_overwhelming(found, text):
        return None
    if found.is_exact:
        return found._replace(repeats=_extended(text.rstrip(), len(found.unit)))
    return found


def needed(size: int, repeats: int) -> int:
    """How often a piece of ``size`` characters must stand in a row."""
    if size <= 3:
        return repeats * 10
    if size < 20:
        return repeats
    if size <= 100:
        return max(4, round(repeats * 0.4))
    return max(4, round(repeats * (0.25 if size < 300 else 0.2)))


def _exact(tail: str, ended: Ended, repeats: int) -> Loop | None:
    for size in PROBES:
        period = _period(tail, size, ended, repeats)
        if period:
            return Loop(tail[-period:], _extended(tail, period), True)
    return None


def _period(tail: str, size: int, ended: Ended, repeats: int) -> int | None:
    """The length of the piece with which ``tail`` ends again and again."""
    probe, end = tail[-size:], len(tail) - 1
    if len(probe) < size:
        return None
    for _ in range(TRIES):
        at = tail.rfind(probe, 0, end)
        if at < 0:
            return None
        period = len(tail) - size - at
        wanted = _wanted(tail[-period:], ended, repeats)
        if (
            wanted * period <= len(tail)
            and tail[-wanted * period : -period] == tail[-(wanted - 1) * period :]
        ):
            return period
        end = at + size - 1
    return None


def _wanted(unit: str, ended: Ended, repeats: int) -> int:
    if ended == "guarded":
        # Thirty equal tokens made the server stop: what they are no longer matters.
        return repeats if len(unit) < 20 else needed(len(unit), repeats)
    count = round(needed(len(unit), repeats) * _FACTOR[ended])
    if not _has_words(unit):
        return max(count * 2, DATA_CHARS // len(unit))
    return round(count * STRUCTURED) if _STRUCTURE.search(unit) else count


def _has_words(unit: str) -> bool:
    if any(ord(one) > EMOJI for one in unit):
        return True
    # The first and the last may be halves of one: where a period begins is chance.
    words = _WORD.findall(unit * 4 if len(unit) < 20 else unit * 2)[1:-1]
    # A word of one single letter is the filling of an encoding.
    return any(
        word.lower() not in _DATA_WORDS and (len(set(word)) > 1 or not word.isascii()) for word in words
    )


def _extended(text: str, period: int) -> int:
    """How often the last ``period`` characters of ``text`` stand in a row at its end."""
    low, high = period, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text[-middle:-period] == text[len(text) - middle + period :]:
            low = middle
        else:
            high = middle - 1
    return low // period


def _circling(tail: str, ended: Ended, repeats: int) -> Loop | None:
    """Few different sentences, in any order. A number in front of a sentence does not make it another one."""
    if ended == "guarded":
        return None
    said = []
    for piece in reversed(_sentences(tail[-CIRCLING_TAIL:])):
        bare = (
            _ENUMERATOR.sub("", piece).casefold()
            if piece[:3].strip("-*( ")[:1].isdigit()
            else piece.casefold()
        )
        if _is_sentence(bare):
            said.append(bare)
        if len(said) == SENTENCES:
            break
    least = needed(50, repeats)
    different = set(said)
    if len(said) < max(3 * least, len(different) * least * _FACTOR[ended]) or len(different) > 4:
        return None
    unit = max(different, key=said.count)
    return Loop(unit, len(said), False) if _has_words(unit) else None


def _sentences(text: str) -> list[str]:
    """Sentences and lines without their ends. Plain replacing is ten times as fast as a regular expression."""
    for end in _SENTENCE_ENDS:
        text = text.replace(end, ". ")
    return [piece.strip() for piece in text.split(". ")]


def _is_sentence(text: str) -> bool:
    is_long = text.count(" ") >= LEAST_BLANKS if text.isascii() or " " in text else len(text) >= 8
    return is_long and not _STRUCTURE.search(text)


def _is_asked_for(unit: str, prompt: str, ended: Ended) -> bool:
    """Whether the prompt holds the piece and asks for repetition. A reply that the model ended needs no such word."""
    if not prompt or not (ended == "stopped" or _ASKED.search(prompt)):
        return False
    pieces = _sentences(unit * 2)
    whole = max(pieces[1:-1], key=len, default="") or pieces[0]
    core = whole[:40].strip(" \"'“”,;:").casefold()
    return (len(core) >= 2 and core in prompt.casefold()) or _turned(unit, prompt)


def _turned(unit: str, prompt: str) -> bool:
    """Whether the prompt holds the piece from any of its words on: where a period begins is chance."""
    words = unit.split()
    lowered = " ".join(prompt.casefold().split())
    return 0 < len(words) <= 12 and any(
        " ".join(words[at:] + words[:at]).casefold() in lowered for at in range(len(words))
    )


def _is_overwhelming(loop: Loop, text: str) -> bool:
    letters = sum(map(str.isalpha, loop.unit))
    is_prose = letters >= LEAST_LETTERS and not _STRUCTURE.search(loop.unit)
    return is_prose and len(loop.unit) * loop.repeats >= min(len(text), TAIL) // 2


def white_tail(text: str) -> int:
    """Characters of white space at the end of ``text``."""
    return len(text) - len(text.rstrip())
