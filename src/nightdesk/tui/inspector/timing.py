"""How fast it was: as the packets say, as the server says, fragment by fragment, and against the model's usual."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import median

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange
from nightdesk.model.inspection import ExchangeTotals, Spread
from nightdesk.model.units import NS, UNKNOWN, format_duration
from nightdesk.tui.inspector import spans
from nightdesk.tui.inspector.bars import SCALE, Columns, binned, columns, stretched
from nightdesk.tui.inspector.prose import EMPTY, Lines, Setting, between, end_of, fact, heading, sentence
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line

LEAST_GAPS = 3
HEIGHT = 6
WIDEST = 120
PER_COLUMN = 8
"""Fragments that a column of the speed stands for at least: fewer jump too much."""
STALL = 8
"""A pause so many times the usual one stands out, if it also is longer than :data:`STALL_NS`."""
STALL_NS = NS // 2
STALLS = 5
NOTABLE = 1.5
"""From this factor on a difference from the usual is worth a colour."""


def timing(exchange: Exchange, setting: Setting) -> Lines:
    """Bars on one scale, then charts, then the comparison."""
    now_ns, glyphs, width = setting.now_ns, setting.glyphs, setting.width
    whole = max(1, end_of(exchange, now_ns) - exchange.started_ns)
    yield heading("by the packets", glyphs, format_duration(whole))
    for span in spans.seen_spans(exchange, now_ns):
        yield Line(spans.span_line(span, whole, width, glyphs))
    yield EMPTY
    yield from _by_server(exchange, setting)
    yield EMPTY
    yield from _usual(exchange, setting)
    yield EMPTY
    yield from _fragments(exchange, setting)


def _by_server(exchange: Exchange, setting: Setting) -> Lines:
    told = spans.told_spans(exchange)
    if not told:
        yield sentence("This server has not told how long its parts took.")
        return
    glyphs = setting.glyphs
    whole = max(1, sum(span.spent_ns for span in told))
    yield heading("by the server's own clock", glyphs, format_duration(exchange.total_ns))
    known = {span.name: span for span in told}
    for name in ("queue and load", "prompt", "generation", "other"):
        if name in known:
            yield Line(spans.span_line(known[name], whole, setting.width, glyphs))
        elif name != "other":
            yield Line(spans.unknown_line(name))


# Against the usual


def _usual(exchange: Exchange, setting: Setting) -> Lines:
    glyphs, usual = setting.glyphs, setting.usual
    model = safe_line(exchange.model or "this model", 80)
    if usual is None:
        yield heading("the model's usual", glyphs)
        yield sentence(setting.usual_problem or "Not known yet.")
        return
    if usual.count < 2:
        yield heading("the model's usual", glyphs)
        yield sentence(f"No other complete exchange with {model} is recorded.")
        return
    yield heading("the model's usual", glyphs, f"{usual.count:,} complete exchanges with {model}")
    first = between(exchange.started_ns, exchange.first_token_ns)
    yield _against("first token", first, usual.first_token)
    whole = end_of(exchange, setting.now_ns) - exchange.started_ns
    yield _against("duration", whole, usual.duration)
    yield from _rates(exchange, usual)


def _against(name: str, here: int | None, usual: Spread) -> Line:
    if usual.p50_ns is None:
        return fact(name, format_duration(here), "" if here is not None else "faint")
    spread = f"usually {format_duration(usual.p50_ns)}, 95 of 100 within {format_duration(usual.p95_ns)}"
    if here is None:
        return fact(name, UNKNOWN, "faint", spread)
    factor = here / max(1, usual.p50_ns)
    return fact(name, f"{format_duration(here):<7}", _tone(factor), f"{_times(factor):<16}{spread}")


def _rates(exchange: Exchange, usual: ExchangeTotals) -> Lines:
    if not (usual.tokens_per_s and exchange.reply_tokens and exchange.generation_ns):
        return
    here = exchange.reply_tokens * NS / exchange.generation_ns
    factor = usual.tokens_per_s / here
    words = "as usual" if 1 / NOTABLE < factor < NOTABLE else f"{here / usual.tokens_per_s:.0%} of usual"
    yield fact("tokens/s", f"{here:<7.1f}", _tone(factor), f"{words:<16}usually {usual.tokens_per_s:.1f}")


def _times(factor: float) -> str:
    if 1 / NOTABLE < factor < NOTABLE:
        return "as usual"
    return f"{factor:.1f} × as long" if factor >= 1 else f"{factor:.0%} of it"


def _tone(factor: float) -> Tone:
    return "warn" if factor >= NOTABLE else "ok" if factor <= 1 / NOTABLE else ""


# Fragment by fragment


def _fragments(exchange: Exchange, setting: Setting) -> Lines:
    """The first gap is the wait for the first fragment and belongs to the bars above."""
    gaps = exchange.fragment_gaps_ns[1:]
    if len(gaps) < LEAST_GAPS:
        if exchange.streamed and exchange.fragments > LEAST_GAPS:
            yield sentence("When its fragments came was not recorded.")
        return
    usual = int(median(gaps))
    ordered = sorted(gaps)
    glyphs = setting.glyphs
    limit = max(STALL_NS, usual * STALL)
    late = ordered[len(ordered) * 95 // 100]
    note = f"median {_short(usual)}, 95 of 100 within {_short(late)}, longest {_short(ordered[-1])}"
    yield heading("pauses between fragments", glyphs, note)
    room = max(10, min(WIDEST, setting.width - SCALE))
    chart = Columns(
        stretched(binned(gaps, room), room),
        lambda gap: "warn" if gap >= limit else "ok",
        _short,
        "fragment 2",
        f"fragment {len(gaps) + 1:,}",
    )
    yield from (Line(pieces) for pieces in columns(chart, HEIGHT, glyphs))
    yield from _stalls(exchange.fragment_gaps_ns, limit, setting)
    yield EMPTY
    yield from _speed(exchange, setting, room)


def _short(value: float) -> str:
    if value < 1_000_000:
        return f"{value / 1000:.0f}µs"
    return f"{value / 1e6:.1f}ms" if value < 100_000_000 else format_duration(int(value))


def _stalls(gaps: Sequence[int], limit: int, setting: Setting) -> Lines:
    ends = list(accumulate(gaps))
    found = sorted((index for index in range(1, len(gaps)) if gaps[index] >= limit), key=lambda i: -gaps[i])
    for index in found[:STALLS]:
        words = f"{format_duration(gaps[index])} before fragment {index + 1:,}, at +{format_duration(ends[index - 1])}"
        yield sentence(f"{setting.glyphs.warn} pause of {words}", "warn")
    if len(found) > STALLS:
        yield sentence(
            f"… and {len(found) - STALLS:,} more pauses of {format_duration(limit)} or longer", "warn"
        )


def _speed(exchange: Exchange, setting: Setting, room: int) -> Lines:
    """Fragments are tokens with most servers; where the count of tokens is known, it scales them."""
    ends = list(accumulate(exchange.fragment_gaps_ns))
    spent = ends[-1] - ends[0]
    if spent <= 0:
        return
    whole_list = len(ends) >= exchange.fragments
    per = exchange.reply_tokens / len(ends) if exchange.reply_tokens and whole_list else 1.0
    cells = max(1, min(room, len(ends) // PER_COLUMN))
    counts = [0.0] * cells
    for end in ends[1:]:
        counts[min(cells - 1, (end - ends[0]) * cells // spent)] += per
    seconds = spent / cells / NS
    unit = "tokens/s" if per != 1.0 or exchange.reply_tokens == len(ends) else "fragments/s"
    mean = sum(counts) / (spent / NS)
    yield heading(f"{unit} over time", setting.glyphs, f"on average {mean:.1f}")
    chart = Columns(
        stretched([count / seconds for count in counts], room),
        lambda _: "primary",
        lambda value: f"{value:.0f}",
        f"+{format_duration(ends[0])}",
        f"+{format_duration(ends[-1])}",
    )
    yield from (Line(pieces) for pieces in columns(chart, HEIGHT, setting.glyphs))
    if not whole_list:
        yield sentence(
            f"The record holds the times of the first {len(ends):,} of {exchange.fragments:,} fragments.",
            "warn",
        )
