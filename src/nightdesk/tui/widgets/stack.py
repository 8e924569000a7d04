"""A bar made of parts that lie one behind the other, each with a sign of its own: colour is never alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nightdesk.core.inspection.profile_parts import bar_widths
from nightdesk.tui.text import Cell, Tone


class Share(NamedTuple):
    """One part: how much, its sign, its tone."""

    amount: int
    sign: str
    tone: Tone


def stacked_bar(shares: Sequence[Share], width: int) -> Cell:
    """``width`` cells in proportion; whatever is not 0 gets a cell."""
    cells = bar_widths([share.amount for share in shares], width)
    pieces = [(share.sign * size, share.tone) for share, size in zip(shares, cells, strict=True) if size]
    return Cell("", "", tuple(pieces))
