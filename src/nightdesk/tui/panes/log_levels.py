"""The levels of a log file along its length, in one line: when it began, bars for errors and warnings, when it ends."""

from __future__ import annotations

from datetime import datetime

from nightdesk.model.logs import LogBin, LogLevels
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Part, Tone

CLOCK = "%H:%M"


def levels_line(levels: LogLevels, width: int, glyphs: Glyphs) -> list[Part]:
    """Bars as high as their share of errors and warnings; red where there are errors. An empty stretch is a blank."""
    if not levels.bins:
        return [Cell("nothing to count yet", "muted")]
    left, right = (_clock(levels.bins, end) for end in (False, True))
    told = _told(levels, glyphs)
    columns = max(8, width - len(left) - len(right) - len(told) - 2)
    bars = [_bar(group, glyphs) for group in _columns(levels.bins, columns)]
    return [Cell(f"{left} ", "muted"), *bars, Cell(f" {right}{told}", "muted")]


def _told(levels: LogLevels, glyphs: Glyphs) -> str:
    errors = sum(each.errors for each in levels.bins)
    warnings = sum(each.warnings for each in levels.bins)
    if not levels.sampled:
        return f" {glyphs.fail}{errors:,} {glyphs.warn}{warnings:,}"
    lines = errors + warnings + sum(each.others for each in levels.bins)
    return f" {errors * 100 / lines:.1f} % errors in samples" if lines else ""


def _clock(bins: tuple[LogBin, ...], last: bool) -> str:
    times = [each.at_ns for each in bins if each.at_ns is not None]
    return (
        f"{datetime.fromtimestamp(times[-1 if last else 0] / 1e9):{CLOCK}}"
        if times
        else "end"
        if last
        else "begin"
    )


def _columns(bins: tuple[LogBin, ...], most: int) -> list[tuple[LogBin, ...]]:
    count = min(most, len(bins))
    return [bins[n * len(bins) // count : (n + 1) * len(bins) // count] for n in range(count)]


def _bar(group: tuple[LogBin, ...], glyphs: Glyphs) -> Cell:
    errors = sum(each.errors for each in group)
    warnings = sum(each.warnings for each in group)
    lines = errors + warnings + sum(each.others for each in group)
    if not lines:
        return Cell(" ")
    tone: Tone = "bad" if errors else "warn" if warnings else "faint"
    share = (errors + warnings) / lines
    height = 1 + (share > 0) + round(share * (len(glyphs.bars) - 3))
    return Cell(glyphs.bars[min(height, len(glyphs.bars) - 1)], tone)
