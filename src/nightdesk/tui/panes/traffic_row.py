"""One exchange as a line: time, state, what was asked, of whom, for whom, how much, how fast, and its newest text."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange, ExchangeRow, ExchangeState
from nightdesk.model.units import NS, UNKNOWN, format_bytes, format_count, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.panes.traffic_columns import FOR, FOR_MARKED, FOR_NARROW, FOR_WIDE
from nightdesk.tui.text import Cell, Tone, shortened
from nightdesk.tui.widgets.grid import Column, Row

FOR_WIDTHS = {"for": FOR, "for wide": FOR_WIDE, "for narrow": FOR_NARROW, "for marked": FOR_MARKED}
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


@dataclass(frozen=True, slots=True)
class Style:
    """How lines are drawn: all that is alike for every line of the pane."""

    columns: tuple[Column, ...]
    glyphs: Glyphs
    width: int = 0
    """Cells for the text, or for the bar."""
    dated: bool = False
    """Times are shown with their day."""
    span: tuple[int, int] | None = None
    """Begin and end of the waterfall."""


def row_of(row: ExchangeRow, now_ns: int, style: Style, signs: str = "") -> Row:
    """The line of ``row``; ``signs`` are those of the viewer's own marks on it."""
    return Row(row.id, tuple(_cell(column.key, row, now_ns, style, signs) for column in style.columns))


def _cell(key: str, row: ExchangeRow, now_ns: int, style: Style, signs: str) -> Cell:
    glyphs = style.glyphs
    match key:
        case "time":
            return time_cell(row, style.dated)
        case "state":
            return state_cell(row, now_ns, glyphs)
        case "marks":
            return marks_cell(row, glyphs, signs)
        case "call":
            return Cell(call_of(row), "" if row.operation in ("chat", "generate", "embed") else "muted")
        case "model":
            return Cell((row.model or UNKNOWN).removesuffix(":latest"), "" if row.model else "faint")
        case "for" | "for wide" | "for narrow" | "for marked":
            return for_cell(row, glyphs, FOR_WIDTHS[key])
        case "prompt":
            return _count_cell(row.prompt_tokens, glyphs.up)
        case "reply":
            return reply_cell(row, glyphs)
        case "rate":
            return rate_cell(row, now_ns)
        case "first":
            return first_cell(row, now_ns)
        case "text":
            return text_cell(row, now_ns, style.width, glyphs)
        case "bars":
            from nightdesk.tui.panes.traffic_waterfall import bar_cell

            return bar_cell(row, now_ns, style.width, style.span or (0, 1), glyphs)
        case _:
            return _chosen_cell(key, row, now_ns)


def _chosen_cell(key: str, row: ExchangeRow, now_ns: int) -> Cell:
    """Columns that are shown only where the user wants them."""
    match key:
        case "id":
            return Cell(str(row.id), "muted")
        case "process":
            return Cell(row.process or UNKNOWN, "muted", ((f" {row.pid}" if row.pid else "", "faint"),))
        case "status":
            return Cell(
                "" if row.status is None else str(row.status), "bad" if (row.status or 0) >= 400 else "muted"
            )
        case "load":
            return Cell("" if row.load_ns is None else format_duration(row.load_ns), "muted")
        case "took":
            return took_cell(row, now_ns)
        case "size":
            return Cell(format_bytes(row.request_bytes + row.response_bytes), "muted")
        case _:
            return Cell("")


def blank_row(key: Hashable, style: Style) -> Row:
    """The line of an exchange that is still being fetched."""
    return Row(
        key,
        tuple(
            Cell(style.glyphs.cut if column.key in ("time", "model") else "", "faint")
            for column in style.columns
        ),
    )


def time_cell(row: ExchangeRow, dated: bool) -> Cell:
    """When it began; with the day where not all of the list is of today."""
    began = datetime.fromtimestamp(row.started_ns / NS)
    return Cell(began.strftime("%m-%d %H:%M:%S" if dated else "%H:%M:%S"), "muted")


def is_today(at_ns: int, now_ns: int) -> bool:
    """Whether a time of the day is enough to tell when that was."""
    return datetime.fromtimestamp(at_ns / NS).date() == datetime.fromtimestamp(now_ns / NS).date()


def marks_cell(row: ExchangeRow, glyphs: Glyphs, signs: str) -> Cell:
    """Marked for a diff or tagged; good or bad; a replay."""
    thought = {"good": glyphs.good, "bad": glyphs.bad}.get(row.mark or "", " ")
    again = glyphs.again if row.replay_of is not None else " "
    tone: Tone = "ok" if row.mark == "good" else "bad"
    return Cell(signs or " ", "accent", ((thought, tone), (again, "muted")))


def took_cell(row: ExchangeRow, now_ns: int) -> Cell:
    """From begin to end; of a running one, until now."""
    if row.ended_ns is None:
        if row.state != "running":
            return Cell("")
        return Cell(format_duration(max(0, now_ns - row.started_ns) // NS * NS), "faint")
    return Cell(format_duration(max(0, row.ended_ns - row.started_ns)), "muted")


def call_of(row: ExchangeRow) -> str:
    """The operation, or of other calls the last word of the path."""
    if row.operation in ("chat", "generate", "embed"):
        return row.operation
    path = (row.path or "").split("?")[0].rstrip("/")
    return path.rsplit("/", 1)[-1] or row.method or row.operation


def state_cell(row: ExchangeRow | Exchange, now_ns: int, glyphs: Glyphs) -> Cell:
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
