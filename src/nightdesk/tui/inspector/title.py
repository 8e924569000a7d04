"""The line above the pages: what the exchange is, and whose."""

from __future__ import annotations

from nightdesk.model.exchange import Exchange
from nightdesk.model.units import UNKNOWN, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.inspector.prose import between, end_of, state_tone
from nightdesk.tui.text import Cell

NARROW = 110
"""Narrower lines tell only what tells exchanges apart; the rest stands on the first page."""


def title_cells(exchange: Exchange, glyphs: Glyphs, now_ns: int, width: int = NARROW) -> list[Cell]:
    """State, times and findings, model, request, job or process: the most telling first, the end may be cut."""
    signs = {
        "running": glyphs.run,
        "complete": glyphs.done,
        "incomplete": glyphs.lost,
        "aborted": glyphs.stop,
        "partial": glyphs.cut,
        "failed": glyphs.fail,
    }
    gap = f" {glyphs.dot} "
    status = f"{gap}{exchange.status}" if exchange.status is not None else ""
    first = between(exchange.started_ns, exchange.first_token_ns)
    took = format_duration(end_of(exchange, now_ns) - exchange.started_ns)
    found = f"{glyphs.verdict} {len(exchange.verdicts)}  " if exchange.verdicts else ""
    wide = width >= NARROW
    words = f"{gap}first token {format_duration(first)}" if first is not None and wide else ""
    cells = [
        Cell(f"{signs[exchange.state]} {exchange.state}  ", state_tone(exchange)),
        Cell(f"{took}{words}  ", "muted"),
        Cell(found, "warn"),
        Cell(f"{exchange.model or ''}  ", "strong"),
    ]
    if wide:
        cells.append(Cell(f"{exchange.method or '?'} {exchange.path or UNKNOWN}{status}  "))
    else:
        cells.append(Cell(f"{exchange.operation}{status}  "))
    if exchange.job:
        item = f" {glyphs.part_of} {exchange.item}" if exchange.item else ""
        cells.append(Cell(exchange.job, "accent", ((item, "muted"),)))
    elif exchange.process:
        cells.append(Cell(f"{exchange.process.name} {exchange.process.pid}", "muted"))
    return cells
