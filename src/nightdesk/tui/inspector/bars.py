"""Columns of blocks for a page of text: small charts that also stand in ASCII and in a pager."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.lines import Pieces

SCALE = 9
"""Cells of the scale at the left."""
WIDEST_COLUMN = 12


class Columns(NamedTuple):
    """Values to draw, from left to right, with the tone of each; None is unknown."""

    values: Sequence[float | None]
    tone: Callable[[float], Tone]
    label: Callable[[float], str]
    """The words of the scale for a value."""
    left: str
    right: str
    """What stands below the first and the last column."""


def binned(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` values: the greatest of each of as many equal groups."""
    if len(values) <= most:
        return list(values)
    edges = [len(values) * index // most for index in range(most + 1)]
    return [max(values[start:end]) for start, end in pairwise(edges)]


def stretched(values: Sequence[float], room: int) -> list[float]:
    """The values over the whole room; of few values each at most :data:`WIDEST_COLUMN` times."""
    cells = min(room, len(values) * WIDEST_COLUMN)
    return [values[cell * len(values) // cells] for cell in range(cells)]


def columns(chart: Columns, height: int, glyphs: Glyphs) -> list[Pieces]:
    """``height`` rows of blocks and a row of labels; the greatest value fills its column."""
    top = max((value for value in chart.values if value is not None), default=0.0)
    if top <= 0:
        return []
    rows = []
    for row in range(height - 1, -1, -1):
        words = (
            chart.label(top) if row == height - 1 else chart.label(top / 2) if row == height // 2 - 1 else ""
        )
        pieces: list[tuple[str, Tone]] = [(f"{words:>{SCALE - 2}} ", "muted"), (glyphs.line, "border")]
        for value in chart.values:
            sign = glyphs.lost if value is None and row == 0 else _block(value, top, row, height, glyphs)
            tone = chart.tone(value) if value is not None else "faint"
            if len(pieces) > 2 and pieces[-1][1] == tone:
                pieces[-1] = (pieces[-1][0] + sign, tone)
            else:
                pieces.append((sign, tone))
        rows.append(tuple(pieces))
    room = max(1, len(chart.values) - len(chart.left) - len(chart.right))
    return [*rows, ((" " * SCALE, ""), (chart.left + " " * room + chart.right, "faint"))]


def _block(value: float | None, top: float, row: int, height: int, glyphs: Glyphs) -> str:
    if not value:
        return " "
    eighths = max(1, round(value / top * height * 8)) - row * 8
    return glyphs.bars[max(0, min(8, eighths))]
