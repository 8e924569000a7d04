"""A conversation as lines: one for each turn, and the turn under the cursor in full. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from nightdesk.core.foreign import safe, safe_line
from nightdesk.model.conversation import Conversation, Turn
from nightdesk.model.exchange import Message, error_text
from nightdesk.model.units import NS, UNKNOWN, counted, format_bytes, format_count, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Tone
from nightdesk.tui.widgets.grid import Column, Row
from nightdesk.tui.widgets.lines import Pieces
from nightdesk.tui.widgets.stack import Share, stacked_bar

BAR_WIDTH, SMALL_BAR = 16, 8
ROOMY = 85
"""Cells from which on the longer bar is shown."""
COLUMNS = (
    Column("state", "", width=1),
    Column("thread", "", width=3),
    Column("time", "began", width=8),
    Column("pause", "pause", width=7, align="right"),
    Column("took", "took", width=6, align="right", least=105),
    Column("prompt", "⇡ prompt", width=8, align="right"),
    Column("growth", "grown", width=6, align="right", least=70),
    Column("bar", "context", width=BAR_WIDTH + 7, least=ROOMY),
    Column("small", "context", width=SMALL_BAR + 1, most=ROOMY),
    Column("reply", "⇣", width=5, align="right"),
    Column("text", "", flex=1),
)
ONE_THREAD = tuple(column._replace(least=10_000) if column.key == "thread" else column for column in COLUMNS)
"""The same without the numbers of conversations."""
STATES: dict[str, tuple[str, Tone]] = {
    "running": ("run", "ok"),
    "complete": ("done", "ok"),
    "failed": ("fail", "bad"),
    "aborted": ("stop", "warn"),
    "incomplete": ("lost", "warn"),
    "partial": ("cut", "muted"),
}
Lines = Iterator[Pieces]


def shown_turns(made: Conversation, thread: int | None) -> tuple[Turn, ...]:
    """The turns of one conversation, or all of the client."""
    return tuple(turn for turn in made.turns if thread is None or turn.thread == thread)


def turn_rows(turns: Sequence[Turn], glyphs: Glyphs) -> list[Row]:
    """One line a turn. The bars of one list have one scale where no ``num_ctx`` is known."""
    known: Mapping[int, Turn] = {turn.exchange: turn for turn in turns}
    scale = max((_tokens(turn) for turn in turns), default=0)
    many = has_threads(turns)
    return [_row(turn, known, scale, many, glyphs) for turn in turns]


def has_threads(turns: Sequence[Turn]) -> bool:
    """Whether numbers of conversations tell anything: there are several, and not each exchange is one."""
    return 1 < len({turn.thread for turn in turns}) < len(turns)


def _row(turn: Turn, known: Mapping[int, Turn], scale: int, many: bool, glyphs: Glyphs) -> Row:
    sign, tone = STATES[turn.state]
    took = None if turn.ended_ns is None else turn.ended_ns - turn.started_ns
    clock = datetime.fromtimestamp(turn.started_ns / NS).strftime("%H:%M:%S")
    return Row(
        turn.exchange,
        (
            Cell(getattr(glyphs, sign), tone),
            Cell(f"{glyphs.branch if turn.continues else ''}{turn.thread}" if many else "", "faint"),
            Cell(clock, "muted"),
            pause_cell(turn),
            Cell(format_duration(took), "muted"),
            Cell(format_count(turn.prompt_tokens)),
            growth_cell(turn, known),
            context_bar(turn, scale, glyphs),
            context_bar(turn, scale, glyphs, small=True),
            Cell(format_count(turn.reply_tokens), "muted"),
            _words(turn, glyphs),
        ),
    )


def pause_cell(turn: Turn) -> Cell:
    """The time since the turn before ended; ``overlap`` where it had not."""
    if turn.pause_ns is None:
        return Cell("")
    if turn.pause_ns < 0:
        return Cell("overlap", "faint")
    return Cell(f"+{format_duration(turn.pause_ns)}", "muted")


def growth_cell(turn: Turn, known: Mapping[int, Turn]) -> Cell:
    """By how many tokens the prompt grew since the turn that is continued; less is a cut or dropped history."""
    before = known.get(turn.continues) if turn.continues is not None else None
    if before is None or turn.prompt_tokens is None or before.prompt_tokens is None:
        return Cell("")
    grown = turn.prompt_tokens - before.prompt_tokens
    return Cell(f"{'+' if grown >= 0 else '-'}{format_count(abs(grown))}", "muted" if grown >= 0 else "warn")


def context_bar(turn: Turn, scale: int, glyphs: Glyphs, *, small: bool = False) -> Cell:
    """Prompt and reply within ``num_ctx``, its end marked; without it, beside the other turns."""
    used = _tokens(turn)
    whole = turn.context or scale
    if not whole or not used:
        return Cell("")
    room = max(0, whole - used)
    plain = glyphs.full.isascii()
    shares = [
        Share(
            turn.prompt_tokens or 0,
            glyphs.full,
            "bad" if turn.context and used >= turn.context else "primary",
        ),
        Share(turn.reply_tokens or 0, "+" if plain else "▒", "ok"),
        Share(room, glyphs.empty if turn.context else " ", "faint"),
    ]
    bar = stacked_bar(shares, SMALL_BAR if small else BAR_WIDTH)
    if not turn.context:
        return bar
    return Cell(
        "", "", (*bar.more, (glyphs.line, "warn"), ("" if small else format_count(turn.context), "faint"))
    )


def _tokens(turn: Turn) -> int:
    return (turn.prompt_tokens or 0) + (turn.reply_tokens or 0)


def _words(turn: Turn, glyphs: Glyphs) -> Cell:
    """Verdicts, then item and what the client said first."""
    marks = "".join(f"{glyphs.verdict} {verdict.kind.replace('_', ' ')}  " for verdict in turn.verdicts)
    if turn.error is not None:
        marks += f"{glyphs.fail} {safe_line(error_text(turn.error), 80)}  "
    said = next((message.content for message in turn.new if message.content), "")
    lead = "again  " if turn.unchanged else ""
    lead += "" if turn.replay_of is None else f"replay of {turn.replay_of}  "
    item = f"{turn.item}  " if turn.item else ""
    calls = " ".join(f"{glyphs.arrow} {call.name}()" for call in turn.tool_calls)
    rest = " ".join(safe_line(said or calls, 400).split())
    return Cell(marks, "warn", ((lead, "accent"), (item, "muted"), (rest, "")))


# One turn in full


def turn_lines(turn: Turn, glyphs: Glyphs) -> Lines:
    """What was new in a turn, and what came back."""
    yield from _head(turn, glyphs)
    for verdict in turn.verdicts:
        yield (
            (f"{glyphs.verdict} {safe_line(verdict.kind.replace('_', ' '))}  ", "warn"),
            (safe_line(verdict.evidence), ""),
        )
    if turn.error is not None:
        yield ((f"{glyphs.fail} {safe_line(error_text(turn.error), 2000)}", "bad"),)
    yield ()
    if turn.system is not None:
        yield _heading("system" if turn.continues is None else "system, changed", glyphs)
        yield from _text(turn.system, "muted")
    for message in turn.new:
        yield from _message(message, glyphs)
    if turn.thinking:
        yield _heading("thinking", glyphs)
        yield from _text(turn.thinking, "faint")
    nothing = "" if turn.reply or turn.tool_calls else "none yet" if turn.state == "running" else "none"
    yield _heading("reply", glyphs, turn.done_reason or nothing)
    yield from _text(turn.reply, "")
    for call in turn.tool_calls:
        arguments = (
            call.arguments
            if isinstance(call.arguments, str)
            else msgspec.json.encode(call.arguments).decode()
        )
        yield (
            (f"{glyphs.arrow} {safe_line(call.name, 200)}", "accent"),
            (f" {safe_line(arguments, 2000)}", ""),
        )
    if turn.cut:
        yield ((f"… {turn.cut:,} characters are left out here; enter opens the exchange.", "faint"),)


def _head(turn: Turn, glyphs: Glyphs) -> Lines:
    words = [turn.operation, turn.model or UNKNOWN]
    if turn.repeated:
        words.append(f"{turn.repeated} earlier messages repeated")
    if turn.dropped:
        words.append(f"{turn.dropped} earlier messages left out by the client")
    if turn.unchanged:
        words.append("the same messages again")
    if turn.tools:
        words.append(f"tools: {', '.join(turn.tools[:12])}")
    joined = f" {glyphs.dot} ".join(safe_line(word, 400) for word in words)
    yield (f"Exchange {turn.exchange}", "strong"), (f"  {joined}", "muted")


def _message(message: Message, glyphs: Glyphs) -> Lines:
    note = (
        f"{counted(len(message.images), 'image')}, {format_bytes(sum(one.bytes for one in message.images))}"
        if message.images
        else ""
    )
    yield _heading(f"{message.role} {message.tool_name or ''}".strip(), glyphs, note)
    if message.thinking:
        yield from _text(message.thinking, "faint")
    yield from _text(message.content, "")
    for call in message.tool_calls:
        yield ((f"{glyphs.arrow} {safe_line(call.name, 200)}()", "accent"),)


def _heading(words: str, glyphs: Glyphs, note: str = "") -> Pieces:
    return (
        (f"{glyphs.dash * 2} ", "border"),
        (safe_line(words, 200), "accent"),
        (f"  {safe_line(note, 200)}" if note else "", "faint"),
    )


def _text(text: str, tone: Tone) -> Lines:
    for line in safe(text).expandtabs(4).split("\n"):
        yield ((line, tone),) if line else ()
