"""One exchange as a line: time, state, what was asked, of whom, for whom, how much, how fast, and its newest text."""

from __future__ import annotations

from datetime import datetime

from rich.cells import cell_len

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import ExchangeRow, ExchangeState
from nightdesk.model.units import NS, UNKNOWN, format_bytes, format_count, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Tone, shortened
from nightdesk.tui.widgets.grid import Column, Row

FOR_WIDE, FOR, FOR_NARROW = 34, 30, 24
"""Cells for job and item, which every line names first of all."""
COLUMNS = (
    Column("time", "time", width=8, least=66),
    Column("state", "", width=1),
    Column("call", "call", width=8, least=98),
    Column("model", "model", width=18),
    Column("for wide", "for", width=FOR_WIDE, least=136),
    Column("for", "for", width=FOR, least=98, most=136),
    Column("for narrow", "for", width=FOR_NARROW, most=98),
    Column("prompt", "prompt", width=6, align="right", least=124),
    Column("reply", "reply", width=6, align="right"),
    Column("rate", "t/s", width=5, align="right", least=98),
    Column("first", "first", width=6, align="right", least=140),
    Column("text", "text", flex=1, least=66),
)
TEXT = len(COLUMNS) - 1
JOB_LEAST = 5
PULSE_NS = 400_000_000
SLOW_FIRST_NS = 20 * NS
STATE_TONES: dict[ExchangeState, Tone] = {
    "running": "ok",
    "complete": "muted",
    "incomplete": "warn",
    "aborted": "warn",
    "partial": "muted",
    "failed": "bad",
}


def row_of(row: ExchangeRow, now_ns: int, width: int, glyphs: Glyphs) -> Row:
    """The line of ``row``; ``width`` cells are there for the text."""
    call = _call_of(row)
    return Row(
        row.id,
        (
            Cell(datetime.fromtimestamp(row.started_ns / NS).strftime("%H:%M:%S"), "muted"),
            state_cell(row, now_ns, glyphs),
            Cell(call, "" if row.operation in ("chat", "generate", "embed") else "muted"),
            Cell((row.model or UNKNOWN).removesuffix(":latest"), "" if row.model else "faint"),
            *(for_cell(row, glyphs, room) for room in (FOR_WIDE, FOR, FOR_NARROW)),
            _count_cell(row.prompt_tokens, glyphs.up),
            reply_cell(row, glyphs),
            rate_cell(row, now_ns),
            first_cell(row, now_ns),
            text_cell(row, now_ns, width, glyphs),
        ),
    )


def _call_of(row: ExchangeRow) -> str:
    if row.operation in ("chat", "generate", "embed"):
        return row.operation
    path = (row.path or "").split("?")[0].rstrip("/")
    return path.rsplit("/", 1)[-1] or row.method or row.operation


def state_cell(row: ExchangeRow, now_ns: int, glyphs: Glyphs) -> Cell:
    """The sign of the state; a running one pulses slowly, and waits visibly until its first token."""
    if row.state == "running":
        lit = now_ns // PULSE_NS % 2 == 0
        if row.first_token_ns is None:
            return Cell(glyphs.wait, "warn" if lit else "muted")
        return Cell(glyphs.run, "ok" if lit else "muted")
    signs = {
        "complete": glyphs.done,
        "incomplete": glyphs.lost,
        "aborted": glyphs.stop,
        "partial": glyphs.cut,
        "failed": glyphs.fail,
    }
    tone: Tone = "ok" if row.state == "complete" else STATE_TONES[row.state]
    return Cell(signs[row.state], tone)


def for_cell(row: ExchangeRow, glyphs: Glyphs, width: int) -> Cell:
    """``job › item`` in at most ``width`` cells, else the process. The item is what tells one line from another."""
    if row.job is not None:
        job = safe_line(row.job)
        item = safe_line((row.item or "").rstrip("/").rsplit("/", 1)[-1])
        if not item:
            return Cell(job, "accent")
        room = width - 3 - cell_len(item)
        job = shortened(job, max(JOB_LEAST, room), glyphs.cut)
        item = shortened(item, width - 3 - cell_len(job), glyphs.cut, tail=True)
        return Cell(job, "accent", ((f" {glyphs.part_of} {item}", "muted"),))
    if row.process is not None:
        return Cell(row.process, "muted", ((f" {row.pid}" if row.pid else "", "faint"),))
    return Cell(UNKNOWN, "faint")


def _count_cell(count: int | None, sign: str) -> Cell:
    return Cell("", "faint") if count is None else Cell(sign, "faint", ((format_count(count), ""),))


def reply_cell(row: ExchangeRow, glyphs: Glyphs) -> Cell:
    """Tokens of the reply; while it runs, fragments, marked as about as many."""
    if row.reply_tokens is not None or row.state != "running":
        return _count_cell(row.reply_tokens, glyphs.down)
    if not row.fragments:
        return Cell("", "faint")
    return Cell(f"{glyphs.down}~", "faint", ((format_count(row.fragments), ""),))


def rate_of(row: ExchangeRow, now_ns: int) -> tuple[float | None, bool]:
    """Tokens a second, and whether that is an estimate (fragments by the clock instead of the server's own figures)."""
    if row.reply_tokens and row.generation_ns:
        return row.reply_tokens * NS / row.generation_ns, False
    end = row.ended_ns if row.ended_ns is not None else now_ns
    if row.operation not in ("chat", "generate") or row.first_token_ns is None or row.fragments < 3:
        return None, False
    spent = end - row.first_token_ns
    return (row.fragments * NS / spent, True) if spent > NS // 2 else (None, False)


def rate_cell(row: ExchangeRow, now_ns: int) -> Cell:
    """Tokens a second."""
    rate, estimated = rate_of(row, now_ns)
    if rate is None:
        return Cell("")
    words = f"{rate:.0f}" if rate >= 9.95 else f"{rate:.1f}"
    return Cell("~" if estimated else "", "faint", ((words, ""),))


def first_cell(row: ExchangeRow, now_ns: int) -> Cell:
    """Time until the first token; while there is none, the time waited so far."""
    if row.operation not in ("chat", "generate"):
        return Cell("")
    if row.first_token_ns is not None:
        waited = max(0, row.first_token_ns - row.started_ns)
        return Cell(format_duration(waited), "warn" if waited >= SLOW_FIRST_NS else "muted")
    if row.state == "running":
        return Cell(format_duration(max(0, now_ns - row.started_ns) // NS * NS), "faint")
    return Cell("")


def text_cell(row: ExchangeRow, now_ns: int, width: int, glyphs: Glyphs) -> Cell:
    """What went wrong first, then verdicts, then the newest of the text."""
    if row.state == "running":
        return _live_text(row, now_ns, width, glyphs)
    lead, tone = lead_of(row, glyphs)
    room = width - cell_len(safe_line(lead)) - (2 if lead else 0)
    text = newest(row.tail, room, glyphs) if room >= 8 else ""
    return Cell(lead, tone, ((f"{'  ' if lead and text else ''}{text}", "muted"),))


def lead_of(row: ExchangeRow, glyphs: Glyphs) -> tuple[str, Tone]:
    """Verdicts, and what went wrong; empty where nothing did."""
    verdicts = " ".join(f"{glyphs.verdict} {kind.replace('_', ' ')}" for kind in row.verdicts)
    trouble, tone = trouble_of(row)
    return "  ".join(part for part in (verdicts, trouble) if part), tone if trouble else "warn"


def _live_text(row: ExchangeRow, now_ns: int, width: int, glyphs: Glyphs) -> Cell:
    verdicts = "".join(f"{glyphs.verdict} {kind.replace('_', ' ')}  " for kind in row.verdicts)
    if not row.tail:
        waited = format_duration(max(0, now_ns - row.started_ns) // NS * NS)
        words = "waits for the first token" if row.operation in ("chat", "generate") else "works"
        return Cell(verdicts, "warn", ((f"{words}, {waited}", "faint"),))
    room = width - cell_len(verdicts) - 1
    return Cell(verdicts, "warn", ((glyphs.mark, "ok"), (newest(row.tail, room, glyphs), "")))


def trouble_of(row: ExchangeRow) -> tuple[str, Tone]:
    """Why an exchange is not a whole one; empty for a whole one."""
    match row.state:
        case "failed":
            return row.error or f"status {row.status}", "bad"
        case "aborted":
            return row.error or "ended before the reply was whole", "warn"
        case "incomplete":
            return f"{format_bytes(row.missing)} not captured", "warn"
        case "partial":
            return "only a part was captured", "muted"
        case _:
            return "", ""


def newest(text: str, width: int, glyphs: Glyphs) -> str:
    """The end of ``text`` in at most ``width`` cells, on one line."""
    line = " ".join(safe_line(text).split())
    if cell_len(line) <= width:
        return line
    cut = line[-max(0, width - 1) :] if width > 1 else ""
    while cell_len(cut) > width - 1 and cut:
        cut = cut[1:]
    return glyphs.cut + cut if width > 0 else ""


def words_of(row: ExchangeRow) -> str:
    """What a filter looks at."""
    parts = (
        row.model,
        row.job,
        row.item,
        row.run,
        row.process,
        row.state,
        row.operation,
        row.path,
        row.error,
    )
    return " ".join((*(part for part in parts if part), *row.verdicts, row.tail)).casefold()
