"""Where the time of an exchange went, as parts that follow each other: for the bar of the overview and for Timing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nightdesk.model.exchange import Exchange
from nightdesk.model.units import UNKNOWN, format_duration
from nightdesk.tui.glyphs import ASCII, Glyphs
from nightdesk.tui.inspector.prose import NAME, end_of
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.bar import span_bar
from nightdesk.tui.widgets.lines import Pieces

FILLS, PLAIN_FILLS = "▒▓█░·", "=+#-."


class Span(NamedTuple):
    """A part of the time. ``start_ns`` counts from the beginning of the whole."""

    name: str
    start_ns: int
    spent_ns: int
    tone: Tone
    fill: int
    """Which sign of :data:`FILLS`: colour alone tells nothing apart."""


LOAD, PROMPT, REPLY, WAIT, OTHER = 0, 1, 2, 3, 4


def seen_spans(exchange: Exchange, now_ns: int) -> list[Span]:
    """As the packets say: until the first sign of a reply, then the reply."""
    whole = end_of(exchange, now_ns) - exchange.started_ns
    first = exchange.first_token_ns or exchange.first_byte_ns
    until = min(whole, max(0, (first or end_of(exchange, now_ns)) - exchange.started_ns))
    name = "first token" if exchange.first_token_ns else "first byte" if first else "waiting"
    tone: Tone = "warn" if exchange.first_token_ns is None or until > whole / 2 else "primary"
    spans = [Span(name, 0, until, tone, WAIT)]
    return spans if first is None else [*spans, Span("reply", until, whole - until, "ok", REPLY)]


def told_spans(exchange: Exchange) -> list[Span]:
    """As the server says; empty where it says nothing. The last part is what its own total has beyond them."""
    parts: tuple[tuple[str, int | None, Tone, int], ...] = (
        ("queue and load", exchange.load_ns, "warn", LOAD),
        ("prompt", exchange.prompt_ns, "primary", PROMPT),
        ("generation", exchange.generation_ns, "ok", REPLY),
    )
    if exchange.total_ns is None and not any(spent for _, spent, _, _ in parts):
        return []
    spans, at = [], 0
    for name, spent, tone, fill in parts:
        if spent is not None:
            spans.append(Span(name, at, spent, tone, fill))
            at += spent
    rest = (exchange.total_ns or 0) - at
    return [*spans, Span("other", at, rest, "muted", OTHER)] if rest > 0 else spans


def all_spans(exchange: Exchange, now_ns: int) -> list[Span]:
    """One row of parts over the whole time: the server's where it told them, and what is left beside them."""
    told = told_spans(exchange)
    if not told:
        return seen_spans(exchange, now_ns)
    whole = end_of(exchange, now_ns) - exchange.started_ns
    known = sum(span.spent_ns for span in told)
    rest = whole - known
    return [*told, Span("outside", known, rest, "muted", WAIT)] if rest > whole // 100 else told


def stacked_bar(spans: Sequence[Span], width: int, glyphs: Glyphs) -> Pieces:
    """All parts in one bar of ``width`` cells; each that took any time gets at least one where there is room."""
    whole = sum(span.spent_ns for span in spans)
    if whole <= 0 or width < len(spans):
        return ()
    fills = PLAIN_FILLS if glyphs is ASCII else FILLS
    cells = [max(1, round(span.spent_ns / whole * width)) if span.spent_ns else 0 for span in spans]
    widest = max(range(len(cells)), key=cells.__getitem__)
    cells[widest] = max(1, cells[widest] + width - sum(cells))
    return tuple(
        (fills[span.fill] * size, span.tone) for span, size in zip(spans, cells, strict=True) if size
    )


def legend(spans: Sequence[Span], glyphs: Glyphs) -> Iterator[Pieces]:
    """One piece row for each part: its sign, its name, how long, how much of the whole."""
    whole = max(1, sum(span.spent_ns for span in spans))
    fills = PLAIN_FILLS if glyphs is ASCII else FILLS
    for span in spans:
        share = f"{span.spent_ns / whole * 100:.0f} %"
        yield (
            (f"{fills[span.fill]} ", span.tone),
            (f"{span.name} ", "muted"),
            (format_duration(span.spent_ns), "strong"),
            (f" {share}", "muted"),
        )


def span_line(span: Span, whole: int, width: int, glyphs: Glyphs) -> Pieces:
    """One part as a bar at its place within the whole."""
    room = max(10, width - NAME - 2 - 16)
    end = span.start_ns + span.spent_ns
    before, bar, after = span_bar(span.start_ns / whole, end / whole, room, glyphs)
    share = f"{span.spent_ns / whole * 100:3.0f} %"
    words = f"  {format_duration(span.spent_ns):>6}  {share}"
    return (f"{span.name:<{NAME}}  ", "muted"), (before, ""), (bar, span.tone), (after, ""), (words, "")


def unknown_line(name: str) -> Pieces:
    """A part of which the server said nothing."""
    return (f"{name:<{NAME}}  ", "muted"), (UNKNOWN, "faint")
