"""The line above the pages: what the exchange is, and whose."""

from __future__ import annotations

from nightdesk.model.exchange import Exchange
from nightdesk.model.units import UNKNOWN, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.inspector.prose import between, end_of, state_tone
from nightdesk.tui.text import Cell


def title_cells(exchange: Exchange, glyphs: Glyphs, now_ns: int) -> list[Cell]:
    """State, request, model, job or process, times, findings."""
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
    cells = [
        Cell(f"{signs[exchange.state]} {exchange.state}  ", state_tone(exchange)),
        Cell(f"{exchange.method or '?'} {exchange.path or UNKNOWN}{status}  "),
        Cell(f"{exchange.model or ''}  ", "strong"),
    ]
    if exchange.job:
        item = f" {glyphs.part_of} {exchange.item}" if exchange.item else ""
        cells.append(Cell(exchange.job, "accent", ((f"{item}  ", "muted"),)))
    elif exchange.process:
        cells.append(Cell(f"{exchange.process.name} {exchange.process.pid}  ", "muted"))
    cells.append(Cell(format_duration(end_of(exchange, now_ns) - exchange.started_ns), "muted"))
    first = between(exchange.started_ns, exchange.first_token_ns)
    if first is not None:
        cells.append(Cell(f"{gap}first token {format_duration(first)}", "muted"))
    if exchange.verdicts:
        cells.append(Cell(f"  {glyphs.verdict} {len(exchange.verdicts)}", "warn"))
    return cells
