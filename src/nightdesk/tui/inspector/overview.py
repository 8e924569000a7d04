"""The first page: findings, where the time went, tokens, who asked and for what."""

from __future__ import annotations

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange
from nightdesk.model.units import NS, UNKNOWN, counted, format_bytes, format_count, format_duration
from nightdesk.tui.energy_facts import exchange_energy_facts
from nightdesk.tui.inspector import spans
from nightdesk.tui.inspector.prose import (
    EMPTY,
    NAME,
    Lines,
    Setting,
    between,
    end_of,
    error_line,
    fact,
    moment,
    plain,
    state_tone,
)
from nightdesk.tui.inspector.verdicts import verdict_lines
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line

BAR = 100
"""Cells of the bar at most: a longer one is harder to compare."""
OPTIONS = 40


def overview(exchange: Exchange, setting: Setting) -> Lines:
    """Findings first, then the facts."""
    for verdict in exchange.verdicts:
        yield from verdict_lines(verdict, setting.glyphs)
        yield EMPTY
    if exchange.error is not None:
        yield error_line(exchange, setting.glyphs)
        yield EMPTY
    yield from _time(exchange, setting)
    yield EMPTY
    yield from _tokens(exchange, setting)
    yield EMPTY
    yield from _energy(setting)
    yield from _who(exchange, setting)
    yield EMPTY
    yield from _sizes(exchange)
    yield from _options(exchange)
    if exchange.note:
        yield fact("note", exchange.note, "warn")
    for name, reason in exchange.unknown.items():
        if name == "process" and exchange.process is None:
            continue  # said above, where the process would stand
        yield fact(safe_line(name, NAME - 1), UNKNOWN, "faint", reason)


def _time(exchange: Exchange, setting: Setting) -> Lines:
    glyphs, now_ns = setting.glyphs, setting.now_ns
    whole = end_of(exchange, now_ns) - exchange.started_ns
    first = between(exchange.started_ns, exchange.first_token_ns)
    told = f"first token {format_duration(first)}" if first is not None else "no token yet"
    if exchange.ended_ns is not None and first is None:
        told = ""
    yield fact("duration", format_duration(whole), "strong", told)
    parts = spans.all_spans(exchange, now_ns)
    bar = spans.stacked_bar(parts, min(BAR, setting.width - NAME), glyphs)
    if bar:
        yield Line(((" " * NAME, ""), *bar))
    row: list[tuple[str, Tone]] = []
    lines: list[list[tuple[str, Tone]]] = []
    used = 0
    for pieces in spans.legend(parts, glyphs):
        size = sum(len(text) for text, _ in pieces) + 3
        if row and used + size > setting.width - NAME:
            lines.append(row)
            row, used = [], 0
        row += [*pieces, ("   ", "")]
        used += size
    for each in [*lines, row]:
        yield Line(((" " * NAME, ""), *each))


def _tokens(exchange: Exchange, setting: Setting) -> Lines:
    glyphs = setting.glyphs
    prompt = rate(exchange.prompt_tokens, exchange.prompt_ns)
    reply = rate(exchange.reply_tokens, exchange.generation_ns)
    yield fact("prompt", f"{glyphs.up}{format_count(exchange.prompt_tokens)} tokens", "", prompt)
    yield fact("reply", f"{glyphs.down}{format_count(exchange.reply_tokens)} tokens", "", reply)
    if exchange.embeddings is not None:
        shape = exchange.embeddings
        yield fact("embeddings", f"{shape.count:,} of {shape.dims:,} dimensions")


def _energy(setting: Setting) -> Lines:
    told = setting.energy
    if isinstance(told, str):
        if told:
            yield fact("energy", UNKNOWN, "faint", told)
            yield EMPTY
        return
    for name, value, remark in exchange_energy_facts(told, setting.glyphs):
        yield fact(name, value, "", remark)
    yield EMPTY


def rate(tokens: int | None, spent_ns: int | None) -> str:
    """``41 tokens/s``, nothing where it can't be told."""
    return f"{tokens * NS / spent_ns:,.0f} tokens/s" if tokens and spent_ns else ""


def _who(exchange: Exchange, setting: Setting) -> Lines:
    glyphs = setting.glyphs
    done = f"reason {exchange.done_reason}" if exchange.done_reason else ""
    left = f"the {exchange.aborted_by} left" if exchange.aborted_by else ""
    yield fact("state", exchange.state, state_tone(exchange), done or left)
    status = UNKNOWN if exchange.status is None else str(exchange.status)
    yield fact("request", f"{exchange.method or '?'} {exchange.path or UNKNOWN}", "", f"status {status}")
    yield fact("model", exchange.model or UNKNOWN, "strong", f"{exchange.dialect} {exchange.operation}")
    process = exchange.process
    if process is None:
        yield fact("process", UNKNOWN, "faint", exchange.unknown.get("process", ""))
    else:
        yield fact("process", f"{process.name} ({process.pid})", "", process.command)
    job = exchange.job or UNKNOWN
    item = f" {glyphs.part_of} {exchange.item}" if exchange.item else ""
    yield fact("job", job + item, "" if exchange.job else "faint", exchange.run or "")
    if exchange.replay_of is not None:
        yield fact(
            "replay of", f"exchange {exchange.replay_of}", "accent", "sent by Nightdesk, not by the job"
        )
    yield fact("began", moment(exchange.started_ns))
    yield fact("ended", moment(exchange.ended_ns))


def _sizes(exchange: Exchange) -> Lines:
    missing = exchange.missing_bytes
    for name, size, lost in (
        ("sent", exchange.request_bytes, missing.request),
        ("received", exchange.response_bytes, missing.response),
    ):
        pieces = counted(exchange.fragments, "fragment") if name == "received" else ""
        gone = f"{format_bytes(lost)} not captured" if lost else pieces
        yield fact(name, format_bytes(size), "warn" if lost else "", gone)


def _options(exchange: Exchange) -> Lines:
    prompt = exchange.prompt
    if prompt is None:
        return
    given = [*prompt.options.items(), ("format", prompt.format), ("keep_alive", prompt.keep_alive)]
    shown = [(name, value) for name, value in given if value is not None]
    if shown:
        yield EMPTY
    for name, value in shown[:OPTIONS]:
        yield fact(safe_line(name, NAME - 1), plain(value))
    if len(shown) > OPTIONS:
        yield fact("…", f"{len(shown) - OPTIONS:,} more options; the JSON page has them all", "warn")
