"""The columns of the traffic pane: which there are, which are shown by themselves, and which the user chose.

Without a choice the width of the pane decides. With one, the chosen columns are shown in the chosen order; the text
takes what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nightdesk.tui.widgets.grid import Column

FOR_WIDE, FOR, FOR_NARROW, FOR_MARKED = 34, 30, 24, 18
"""Cells for job and item, which every line names first of all; the last one beside marks on a narrow screen."""
DATED = 14
"""Cells of a time with its day."""
STATE = Column("state", "", width=1)
MARKS = Column("marks", "", width=3)
TEXT = "text"
BARS = "bars"

USUAL = (
    Column("time", "time", width=8, least=66),
    STATE,
    Column("call", "call", width=8, least=98),
    Column("model", "model", width=18),
    Column("for wide", "for", width=FOR_WIDE, least=136),
    Column("for", "for", width=FOR, least=98, most=136),
    Column("for narrow", "for", width=FOR_NARROW, most=98),
    Column("prompt", "prompt", width=6, align="right", least=124),
    Column("reply", "reply", width=6, align="right"),
    Column("rate", "t/s", width=5, align="right", least=98),
    Column("first", "first", width=6, align="right", least=140),
    Column("took", "took", width=6, align="right", least=176),
    Column(TEXT, "text", flex=1, least=66),
)
"""What is shown where the user has not chosen."""

CHOICES: dict[str, tuple[str, Column]] = {
    "id": ("number of the exchange", Column("id", "id", width=7, align="right")),
    "time": ("when its request began", Column("time", "time", width=8)),
    "call": ("chat, generate, embed, or the path", Column("call", "call", width=8)),
    "model": ("the model", Column("model", "model", width=18)),
    "for": ("job and item, or the process", Column("for", "for", width=FOR)),
    "process": ("program and process of the client", Column("process", "process", width=16)),
    "status": ("HTTP status", Column("status", "http", width=4, align="right")),
    "prompt": ("tokens of the prompt", Column("prompt", "prompt", width=6, align="right")),
    "reply": ("tokens of the reply", Column("reply", "reply", width=6, align="right")),
    "rate": ("tokens a second", Column("rate", "t/s", width=5, align="right")),
    "load": ("time to load the model", Column("load", "load", width=6, align="right")),
    "first": ("time to the first token", Column("first", "first", width=6, align="right")),
    "took": ("time from begin to end", Column("took", "took", width=6, align="right")),
    "size": ("bytes of request and response", Column("size", "size", width=7, align="right")),
    TEXT: ("verdicts, what went wrong, and the newest text", Column(TEXT, "text", flex=1)),
}
"""Key → what it shows, and the column; in the order in which they stand."""

SORTS = ("started", "took", "first", "tokens", "prompt", "reply", "rate", "size", "model", "job", "state")
"""Orders as the engine names them, in the order in which the key goes through them."""
SORT_COLUMNS = {
    "started": ("time",),
    "took": ("took",),
    "first": ("first",),
    "tokens": ("prompt", "reply"),
    "prompt": ("prompt",),
    "reply": ("reply",),
    "rate": ("rate",),
    "size": ("size",),
    "model": ("model",),
    "job": ("for", "for wide", "for narrow", "for marked"),
    "state": ("state",),
}
"""Order → the columns whose title may show it."""
RISING_FIRST = frozenset({"model", "job", "state"})
"""Words begin with a; of numbers the greatest are looked for."""


BESIDE_BARS = frozenset({"time", "state", "model", "for wide", "for", "for narrow"})
"""What stands beside the waterfall where the user has not chosen."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the lines in view need room for."""

    dated: bool = False
    """Some are of another day."""
    marked: bool = False
    """Some are marked, tagged, judged or replays."""
    named: bool = True
    """Some have a job or a process: those in a capture file have not."""


def columns_for(chosen: Sequence[str] | None, needs: Needs, bars: str = "") -> tuple[Column, ...]:
    """The columns to show; ``bars`` is the title of the waterfall that stands in place of the text."""
    return tuple(_columns(_wanted(chosen, needs, bool(bars)), needs, bars))


def _wanted(chosen: Sequence[str] | None, needs: Needs, bars: bool) -> Iterator[Column]:
    if chosen is not None:
        yield STATE
        yield from (CHOICES[key][1] for key in chosen if key in CHOICES)
        return
    for column in USUAL:
        if (needs.named or not column.key.startswith("for")) and (not bars or column.key in BESIDE_BARS):
            yield column


def _columns(wanted: Iterable[Column], needs: Needs, bars: str) -> Iterator[Column]:
    for column in wanted:
        if column.key == TEXT and bars:
            continue
        if column.key == "time" and needs.dated:
            column = column._replace(width=DATED)
        elif column.key == "for narrow" and needs.marked:
            column = column._replace(key="for marked", width=FOR_MARKED)
        yield column
        if column.key == "state" and needs.marked:
            yield MARKS
    if bars:
        yield Column(BARS, bars, flex=1)


def sort_words(sort: str) -> str:
    """What an order goes by, in words."""
    name = sort.removeprefix("-")
    return {"started": "time", "rate": "t/s"}.get(name, name)


def sort_of_column(key: str) -> str | None:
    """The order that a click on the title of ``key`` asks for."""
    return next((sort for sort, keys in SORT_COLUMNS.items() if key in keys and sort != "tokens"), None)


def first_direction(sort: str) -> str:
    """The order as the engine takes it, in the direction that is asked for first."""
    return sort if sort in RISING_FIRST else f"-{sort}"
