"""The line below the list: sums over what is shown, or over the tagged lines."""

from __future__ import annotations

from textual.widgets import Static

from nightdesk.model.inspection import ExchangeTotals, Spread
from nightdesk.model.units import UNKNOWN, format_count, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Part, line


class TotalsLine(Static):
    """Sums over what the list holds."""

    DEFAULT_CSS = """
    TotalsLine { height: 1; background: transparent; text-wrap: nowrap; }
    """

    def __init__(self) -> None:
        super().__init__(id="traffic-totals", markup=False)
        self._shown: tuple[ExchangeTotals, str, int] | None = None

    def show(self, totals: ExchangeTotals | None, of: str, glyphs: Glyphs) -> None:
        """Draw them, where they are others."""
        if totals is not None and self._shown != (totals, of, self.size.width):
            self._shown = (totals, of, self.size.width)
            self.update(line(*totals_parts(totals, of, self.size.width, glyphs)), layout=False)


def totals_parts(totals: ExchangeTotals, of: str, width: int, glyphs: Glyphs) -> list[Part]:
    """``of`` says what was summed up; what does not fit into ``width`` cells is left out from the end."""
    rate = UNKNOWN if totals.tokens_per_s is None else f"{totals.tokens_per_s:.0f}"
    groups: list[tuple[str, str]] = [
        ("", f"{format_count(totals.count)} {'exchange' if (of, totals.count) == ('exchanges', 1) else of}"),
        ("", f"{glyphs.up}{_told(totals.prompt_tokens)} {glyphs.down}{_told(totals.reply_tokens)}"),
        ("", f"{rate} t/s"),
        ("first ", _spread(totals.first_token)),
        ("took ", _spread(totals.duration)),
        ("", f"{glyphs.verdict} {sum(totals.verdicts.values())}" if totals.verdicts else ""),
    ]
    parts: list[Part] = []
    left = width
    for label, words in groups:
        size = len(label) + len(words) + (3 if parts else 1)
        if not words or size > left:
            continue
        parts += [
            Cell(f" {glyphs.dot} " if parts else " ", "faint"),
            Cell(label, "faint"),
            Cell(words, "muted"),
        ]
        left -= size
    return parts


def _told(tokens: int) -> str:
    """A sum of what servers told; none has told anything where it is 0."""
    return format_count(tokens or None)


def _spread(spread: Spread) -> str:
    if spread.p50_ns is None:
        return f"p50 {UNKNOWN}"
    high = "" if spread.p95_ns is None else f" p95 {format_duration(spread.p95_ns)}"
    return f"p50 {format_duration(spread.p50_ns)}{high}"
