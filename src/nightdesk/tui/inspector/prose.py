"""What all pages of the inspector are written with: facts, headings, foreign text made harmless and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from nightdesk.core.foreign import safe, safe_line
from nightdesk.model.energy import ExchangeEnergy
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import ExchangeTotals
from nightdesk.model.units import NS, UNKNOWN
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line
from nightdesk.tui.widgets.lines import Pieces

LIMIT = 200_000
"""Characters of one text on a page: its beginning and its end. Nobody reads more here; the pager opens all of it."""
PAGE_LIMIT = 2 * LIMIT
TAIL = LIMIT // 4
NAME = 14
SHORT = 2000
"""Characters of one value among facts."""

Lines: TypeAlias = Iterator[Line]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page is drawn for."""

    glyphs: Glyphs
    now_ns: int
    width: int
    is_raw: bool = False
    """Replies and prompts as they are, not as Markdown."""
    usual: ExchangeTotals | None = None
    """The other exchanges of the model, once they are known."""
    usual_problem: str = ""
    energy: ExchangeEnergy | str = ""
    """What it used, or why that is not known; empty before anything was told."""


def text_lines(text: str, tone: Tone = "", depth: int = 0, limit: int = LIMIT) -> Lines:
    """The lines of foreign text; of a longer one the beginning and the end, and how much is between them."""
    if len(text) <= limit:
        yield from _plain_lines(text, tone, depth)
        return
    tail = limit // 4
    yield from _plain_lines(text[: limit - tail], tone, depth)
    yield cut_line(len(text) - limit, depth)
    yield from _plain_lines(text[len(text) - tail :], tone, depth)


def _plain_lines(text: str, tone: Tone, depth: int) -> Lines:
    for line in safe(text).expandtabs(4).split("\n"):
        yield Line(((line, tone),) if line else (), depth)


def cut_line(left: int, depth: int = 0) -> Line:
    """The sentence on what is not shown."""
    words = f"… {left:,} more characters are not shown here; e and | open all of them, w saves them."
    return Line(((words, "warn"),), depth)


def bounded(lines: Lines, most: int = PAGE_LIMIT) -> tuple[Line, ...]:
    """The lines, at most ``most`` characters of them; the last one says that there is more."""
    kept: list[Line] = []
    size = 0
    for line in lines:
        size += sum(len(text) for text, _ in line.pieces) + 1
        if size > most:
            words = "… and more is not shown here; e and | open all of it, w saves it."
            kept += [Line(()), Line(((words, "warn"),))]
            break
        kept.append(line)
    return tuple(kept)


def heading_pieces(words: str, glyphs: Glyphs, note: str = "") -> Pieces:
    """What stands above a part of a page."""
    return (
        (f"{glyphs.dash * 2} ", "border"),
        (safe_line(words, SHORT), "accent"),
        (f"  {safe_line(note, SHORT)}" if note else "", "faint"),
    )


def heading(words: str, glyphs: Glyphs, note: str = "", depth: int = 0) -> Line:
    """The line above a part of a page."""
    return Line(heading_pieces(words, glyphs, note), depth)


def fold(
    key: str,
    words: str,
    glyphs: Glyphs,
    note: str = "",
    *,
    shut: bool = False,
    depth: int = 0,
    hidden: str = "",
) -> Line:
    """A heading that opens a fold; ``hidden`` is said behind it while it is shut."""
    return Line(heading_pieces(words, glyphs, note), depth, key, hidden, shut)


def fact(name: str, value: str, tone: Tone = "", more: str = "", depth: int = 0) -> Line:
    """Name and value in two columns."""
    pieces: Pieces = ((f"{name:<{NAME}}", "muted"), (safe_line(value, SHORT), tone))
    all_pieces = (*pieces, (f"  {safe_line(more, SHORT)}", "muted")) if more else pieces
    return Line(all_pieces, depth, hang=NAME)


def sentence(words: str, tone: Tone = "muted", depth: int = 0) -> Line:
    """One line of our own words."""
    return Line(((words, tone),), depth)


EMPTY = Line(())


def moment(at_ns: int | None) -> str:
    """``2025-11-21 02:14:07.123`` in local time."""
    if at_ns is None:
        return UNKNOWN
    return datetime.fromtimestamp(at_ns / NS).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def plain(value: Any) -> str:
    """A JSON value as text; a text as it is."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError, ValueError) as fault:
        return f"a value that can't be written as JSON ({fault})"


def between(start: int | None, end: int | None) -> int | None:
    """The time from one moment to the other; None where one is unknown."""
    return None if start is None or end is None else max(0, end - start)


def end_of(exchange: Exchange, now_ns: int) -> int:
    """When it ended; now, while it runs."""
    return max(exchange.started_ns, now_ns if exchange.ended_ns is None else exchange.ended_ns)


def state_tone(exchange: Exchange) -> Tone:
    """The colour of the state."""
    tones: dict[str, Tone] = {"failed": "bad", "aborted": "warn", "incomplete": "warn", "partial": "muted"}
    return tones.get(exchange.state, "ok")


def error_line(exchange: Exchange, glyphs: Glyphs) -> Line:
    """What the server said was wrong."""
    return Line(((f"{glyphs.fail} ", "bad"), (safe_line(plain(exchange.error), SHORT), "bad")))
