"""Small drawings inside one cell: the progress bar with eighth blocks, rates in words."""

from __future__ import annotations

from nightdesk.model.logs import Progress
from nightdesk.model.units import UNKNOWN
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Tone


def progress_bar(ratio: float | None, width: int, glyphs: Glyphs, tone: Tone = "primary") -> Cell:
    """A bar of ``width`` cells, exact to an eighth of a cell. Without a ratio: an empty track."""
    if ratio is None:
        return Cell("", "faint", ((glyphs.empty * width, "faint"),))
    eighths = round(max(0.0, min(1.0, ratio)) * width * 8)
    full, rest = divmod(eighths, 8)
    filled = glyphs.full * full + (glyphs.parts[rest] if rest else "")
    return Cell(filled, tone, ((glyphs.empty * (width - len(filled)), "faint"),))


def items_bar(
    counts: tuple[int, int, int], total: int, width: int, glyphs: Glyphs, tone: Tone = "primary"
) -> Cell:
    """A bar of items: done, passed over, failed (``counts``) of ``total``. None of them is too few to be seen."""
    done, skipped, failed = counts
    if not (skipped or failed) or not total:
        return progress_bar(done / total if total else None, width, glyphs, tone)
    shown = [max(1, round(count / total * width)) if count else 0 for count in counts]
    while sum(shown) > width:
        shown[shown.index(max(shown))] -= 1
    apart: tuple[tuple[str, Tone], ...] = (
        (glyphs.shade * shown[1], "muted"),
        (glyphs.times * shown[2], "bad"),
        (glyphs.empty * (width - sum(shown)), "faint"),
    )
    return Cell(glyphs.full * shown[0], tone, apart)


def is_percent(progress: Progress) -> bool:
    """True where nothing but a percentage was printed: its units are no things that one could count."""
    return progress.source == "percent" or progress.unit == "%"


def format_rate(per_second: float | None, unit: str) -> str:
    """Units in the span of time that gives a readable number: ``3.2 it/s``, ``12 files/h``."""
    if per_second is None:
        return UNKNOWN
    for seconds, span in ((1, "s"), (60, "min"), (3600, "h")):
        value = per_second * seconds
        if value >= 1 or span == "h":
            return f"{value:.0f} {unit}/{span}" if value >= 10 else f"{value:.1f} {unit}/{span}"
    raise AssertionError("unreachable")
