"""A spark line: the newest values as a row of small bars. Unknown values leave a gap."""

from __future__ import annotations

from collections.abc import Sequence

from nightdesk.tui.glyphs import Glyphs


def spark(values: Sequence[float | None], width: int, glyphs: Glyphs, top: float = 1.0) -> str:
    """``width`` signs for the newest values (oldest first), 0 to ``top``. Zero is a low bar, unknown a blank."""
    if width <= 0:
        return ""
    shown = values[-width:]
    return "".join(_bar(value, glyphs.bars, top) for value in shown).rjust(width)


def _bar(value: float | None, bars: str, top: float) -> str:
    if value is None:
        return " "
    share = max(0.0, min(1.0, value / top)) if top > 0 else 0.0
    return bars[1 + round(share * (len(bars) - 2))]


def buckets(
    points: Sequence[tuple[int, float | None]], end_ns: int, span_ns: int, count: int
) -> tuple[float | None, ...]:
    """Means of (time, value) points in ``count`` equal spans that end at ``end_ns``; None where there is none."""
    sums = [0.0] * count
    sizes = [0] * count
    start = end_ns - count * span_ns
    for at_ns, value in points:
        index = (at_ns - start - 1) // span_ns
        if value is not None and 0 <= index < count:
            sums[index] += value
            sizes[index] += 1
    return tuple(total / size if size else None for total, size in zip(sums, sizes, strict=True))
