"""Bars that say when something happened within a whole, for timings."""

from __future__ import annotations

from nightdesk.tui.glyphs import Glyphs


def span_bar(start: float, end: float, width: int, glyphs: Glyphs) -> tuple[str, str, str]:
    """(before, bar, after), ``width`` cells together, for the part from ``start`` to ``end`` of a whole of 0 to 1.

    Whatever happened at all gets at least an eighth of a cell.
    """
    low, high = sorted((_clamp(start), _clamp(end)))
    first = min(int(low * width), max(0, width - 1))
    eighths = max(1, round(high * width * 8) - first * 8) if width else 0
    full, rest = divmod(min(eighths, (width - first) * 8), 8)
    bar = glyphs.full * full + (glyphs.parts[rest] if rest else "")
    return " " * first, bar, " " * (width - first - len(bar))


def _clamp(value: float) -> float:
    return max(0.0, min(1.0, value))
