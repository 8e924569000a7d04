"""The waterfall of the traffic pane: when each exchange of the visible lines waited, read its prompt, and answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from nightdesk.model.exchange import ExchangeRow
from nightdesk.model.units import NS, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.traffic_row import STATE_TONES
from nightdesk.tui.text import Cell, Tone

LEAST_NS = 10_000_000
"""Shorter spans would magnify the noise of the clock."""
LABEL = 8


def end_of(row: ExchangeRow, now_ns: int) -> int:
    """When it ended; a running one has not, so now."""
    if row.ended_ns is not None:
        return max(row.ended_ns, row.started_ns)
    return max(now_ns, row.started_ns) if row.state == "running" else (row.first_token_ns or row.started_ns)


def span_of(rows: Iterable[ExchangeRow], now_ns: int) -> tuple[int, int] | None:
    """From the first begin to the last end; None without rows."""
    spans = [(row.started_ns, end_of(row, now_ns)) for row in rows]
    if not spans:
        return None
    begin, end = min(start for start, _ in spans), max(end for _, end in spans)
    return begin, max(end, begin + LEAST_NS)


def scale(span: tuple[int, int], width: int, glyphs: Glyphs) -> str:
    """The title of the column: when the span begins, what the signs mean, how long it is, when it ends."""
    begin, end = (datetime.fromtimestamp(at / NS).strftime("%H:%M:%S") for at in span)
    length = format_duration(span[1] - span[0])
    room = width - len(begin) - len(end) - len(length) - 4
    signs = f"{glyphs.empty} waiting {glyphs.shade} prompt {glyphs.full} reply"
    if room >= len(signs) + 8:
        begin = f"{begin}  {signs} "
        room -= len(signs) + 3
    if room < 2:
        return f"{begin} {length}"
    left = room // 2
    return f"{begin} {glyphs.dash * left} {length} {glyphs.dash * (room - left)} {end}"


def bar_cell(row: ExchangeRow, now_ns: int, width: int, span: tuple[int, int], glyphs: Glyphs) -> Cell:
    """The bar of one exchange: waiting (queue and load), the prompt, the reply; behind it, how long it took."""
    width -= LABEL
    end = end_of(row, now_ns)
    first = row.first_token_ns if row.first_token_ns is not None else end
    prompt = max(row.started_ns, first - row.prompt_ns) if row.prompt_ns and row.first_token_ns else first
    start = _place(row.started_ns, span, width, round_up=False)
    stop = max(start + 1, _place(end, span, width, round_up=True))
    cuts = [
        start,
        *(min(stop, max(start, _place(at, span, width, round_up=False))) for at in (prompt, first)),
        stop,
    ]
    if row.first_token_ns is None and row.state != "running":
        cuts[1:3] = [start, start]  # answered in one piece: all of it is work
    tone: Tone = STATE_TONES[row.state] if row.state != "complete" else "primary"
    took = format_duration(end - row.started_ns)
    return Cell(
        " " * start,
        "",
        (
            (glyphs.empty * (cuts[1] - cuts[0]), "muted"),
            (glyphs.shade * (cuts[2] - cuts[1]), "warn"),
            (glyphs.full * (cuts[3] - cuts[2]), tone),
            (f" {took}", "faint"),
        ),
    )


def _place(at_ns: int, span: tuple[int, int], width: int, *, round_up: bool) -> int:
    """The cell of a moment."""
    part = (min(max(at_ns, span[0]), span[1]) - span[0]) * width
    whole = span[1] - span[0]
    cell = -(-part // whole) if round_up else part // whole
    return int(min(max(0, width - (not round_up)), cell))
