"""What the inspector says about an exchange, as lines with tones: pure functions of the exchange and a width.

Foreign text is made harmless here. A page shows at most :data:`LIMIT` characters of it and says what it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from nightdesk.core.foreign import safe, safe_line
from nightdesk.model.exchange import Exchange, Message, ToolCall
from nightdesk.model.units import NS, UNKNOWN, format_bytes, format_count, format_duration
from nightdesk.tui.glyphs import Glyphs
from nightdesk.tui.text import Cell, Tone
from nightdesk.tui.widgets.bar import span_bar
from nightdesk.tui.widgets.lines import Pieces

LIMIT = 200_000
"""Characters of one text on a page; more would take long to wrap and nobody reads it here."""
COLOURED = 20_000
"""Longer lines of JSON are shown without colours."""
PRETTY_BYTES = 8_000_000
NAME = 14
Lines = Iterator[Pieces]


def text_lines(text: str, tone: Tone = "", limit: int = LIMIT) -> Lines:
    """The lines of foreign text; says how much it leaves out."""
    for line in safe(text[:limit]).expandtabs(4).split("\n"):
        yield ((line, tone),) if line else ()
    if len(text) > limit:
        yield ()
        yield from cut_lines(len(text) - limit)


def cut_lines(left: int) -> Lines:
    """The sentence on what is not shown."""
    words = f"… {left:,} more characters are not shown here; nightdesk show prints all of them."
    yield ((words, "warn"),)


def heading(words: str, glyphs: Glyphs, note: str = "") -> Pieces:
    """The line above a part of a page."""
    lead = glyphs.dash * 2
    return (
        (f"{lead} ", "border"),
        (safe_line(words), "accent"),
        (f"  {safe_line(note)}" if note else "", "faint"),
    )


def fact(name: str, value: str, tone: Tone = "", more: str = "") -> Pieces:
    """Name and value in two columns."""
    shown = safe_line(value)
    return (f"{name:<{NAME}}", "muted"), (shown, tone), (f"  {safe_line(more)}" if more else "", "muted")


def moment(at_ns: int | None) -> str:
    """``2025-11-21 02:14:07.123`` in local time."""
    if at_ns is None:
        return UNKNOWN
    return datetime.fromtimestamp(at_ns / NS).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


# Overview


def overview(exchange: Exchange, glyphs: Glyphs, now_ns: int) -> Lines:
    """Findings first, then the facts."""
    for verdict in exchange.verdicts:
        yield ((f"{glyphs.verdict} {safe_line(verdict.kind.replace('_', ' '))}", "warn"),)
        yield from text_lines(verdict.evidence)
        yield from text_lines(f"{glyphs.arrow} {verdict.advice}", "muted")
        yield ()
    if exchange.error is not None:
        yield (f"{glyphs.fail} ", "bad"), (safe_line(_plain(exchange.error)), "bad")
        yield ()
    yield from _who(exchange, glyphs)
    yield ()
    yield from _how_much(exchange, glyphs, now_ns)
    yield ()
    yield from _options(exchange)
    if exchange.note:
        yield fact("note", exchange.note, "warn")
    for name, reason in exchange.unknown.items():
        yield fact(safe_line(name, NAME - 1), UNKNOWN, "faint", reason)


def _who(exchange: Exchange, glyphs: Glyphs) -> Lines:
    done = f"reason {exchange.done_reason}" if exchange.done_reason else ""
    yield fact("state", exchange.state, state_tone(exchange), done or aborted_words(exchange))
    status = UNKNOWN if exchange.status is None else str(exchange.status)
    yield fact("request", f"{exchange.method or '?'} {exchange.path or UNKNOWN}", "", f"status {status}")
    yield fact("dialect", f"{exchange.dialect} {exchange.operation}", "", exchange.stream_format or "")
    yield fact("model", exchange.model or UNKNOWN, "strong")
    process = exchange.process
    if process is None:
        yield fact("process", UNKNOWN, "faint", exchange.unknown.get("process", ""))
    else:
        yield fact("process", f"{process.name} ({process.pid})", "", process.command)
    job = exchange.job or UNKNOWN
    yield fact(
        "job", f"{job} {glyphs.part_of} {exchange.item}" if exchange.item else job, "", exchange.run or ""
    )
    place = f"exchange {exchange.position} of connection {exchange.connection}"
    yield fact("connection", f"{exchange.client_addr} {glyphs.arrow} {exchange.server_addr}", "", place)
    yield fact("began", moment(exchange.started_ns))
    yield fact("ended", moment(exchange.ended_ns))


def _how_much(exchange: Exchange, glyphs: Glyphs, now_ns: int) -> Lines:
    first = _between(exchange.started_ns, exchange.first_token_ns)
    yield fact("first token", format_duration(first), "" if first is not None else "faint")
    end = exchange.ended_ns if exchange.ended_ns is not None else now_ns
    yield fact("duration", format_duration(max(0, end - exchange.started_ns)))
    yield fact(
        "prompt", f"{glyphs.up}{format_count(exchange.prompt_tokens)} tokens", "", _rate(exchange, "prompt")
    )
    yield fact(
        "reply", f"{glyphs.down}{format_count(exchange.reply_tokens)} tokens", "", _rate(exchange, "reply")
    )
    yield fact("fragments", f"{exchange.fragments:,}")
    missing = exchange.missing_bytes
    for name, size, lost, digest in (
        ("sent", exchange.request_bytes, missing.request, exchange.request_sha256),
        ("received", exchange.response_bytes, missing.response, exchange.response_sha256),
    ):
        gone = f"{format_bytes(lost)} not captured  " if lost else ""
        yield fact(name, format_bytes(size), "warn" if lost else "", f"{gone}sha256 {digest[:16]}")
    if exchange.embeddings is not None:
        shape = exchange.embeddings
        yield fact("embeddings", f"{shape.count:,} of {shape.dims:,} dimensions")


def _rate(exchange: Exchange, which: str) -> str:
    tokens = exchange.prompt_tokens if which == "prompt" else exchange.reply_tokens
    spent = exchange.prompt_ns if which == "prompt" else exchange.generation_ns
    return f"{tokens * NS / spent:,.0f} tokens/s" if tokens and spent else ""


def _options(exchange: Exchange) -> Lines:
    prompt = exchange.prompt
    if prompt is None:
        return
    for name, value in prompt.options.items():
        yield fact(safe_line(name, NAME - 1), _plain(value))
    if prompt.format is not None:
        yield fact("format", _plain(prompt.format))
    if prompt.keep_alive is not None:
        yield fact("keep_alive", _plain(prompt.keep_alive))


def state_tone(exchange: Exchange) -> Tone:
    """The colour of the state."""
    tones: dict[str, Tone] = {"failed": "bad", "aborted": "warn", "incomplete": "warn", "partial": "muted"}
    return tones.get(exchange.state, "ok")


def aborted_words(exchange: Exchange) -> str:
    """Who left."""
    return f"the {exchange.aborted_by} left" if exchange.aborted_by else ""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _between(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else max(0, end - start)


# Prompt and response


def prompt(exchange: Exchange, glyphs: Glyphs) -> Lines:
    """System prompt, then the messages by role, or the one prompt."""
    asked = exchange.prompt
    if asked is None:
        yield (
            (
                "No prompt was understood in this request; the JSON page shows what was recorded of it.",
                "muted",
            ),
        )
        return
    if asked.system:
        yield heading("system", glyphs)
        yield from text_lines(asked.system)
        yield ()
    for message in asked.messages:
        yield from _message(message, glyphs)
    if asked.prompt is not None:
        yield heading("prompt", glyphs, f"{len(asked.prompt):,} characters")
        yield from text_lines(asked.prompt)
        yield ()
    for image in asked.images:
        yield fact("image", format_bytes(image.bytes), "", f"sha256 {image.sha256[:16]}")
    if asked.tools:
        yield heading("tools", glyphs, str(len(asked.tools)))
        for tool in asked.tools:
            yield from json_lines(_pretty(_plain(tool)))


def _message(message: Message, glyphs: Glyphs) -> Lines:
    name = f" {glyphs.dot} {message.tool_name}" if message.tool_name else ""
    yield heading(message.role + name, glyphs, f"{len(message.content):,} characters")
    if message.thinking:
        yield from text_lines(message.thinking, "muted")
    yield from text_lines(message.content)
    for image in message.images:
        yield fact("image", format_bytes(image.bytes), "", f"sha256 {image.sha256[:16]}")
    yield from _tool_calls(message.tool_calls, glyphs)
    yield ()


def response(exchange: Exchange, glyphs: Glyphs) -> Lines:
    """Thinking, text, tool calls, in the order in which a model gives them."""
    if exchange.thinking:
        yield heading("thinking", glyphs, f"{len(exchange.thinking):,} characters")
        yield from text_lines(exchange.thinking, "muted")
        yield ()
    if exchange.text:
        yield heading("text", glyphs, f"{len(exchange.text):,} characters")
        yield from text_lines(exchange.text)
    yield from _tool_calls(exchange.tool_calls, glyphs)
    if exchange.statuses:
        yield heading("status", glyphs)
        yield from (((safe_line(status), ""),) for status in exchange.statuses[-500:])
    if exchange.embeddings is not None:
        yield fact("embeddings", f"{exchange.embeddings.count:,} of {exchange.embeddings.dims:,} dimensions")
    if exchange.error is not None:
        yield (f"{glyphs.fail} ", "bad"), (safe_line(_plain(exchange.error)), "bad")
    if exchange.state == "running":
        yield ((f"{glyphs.run} running", "ok"),)
    elif not (
        exchange.text or exchange.thinking or exchange.tool_calls or exchange.statuses or exchange.error
    ):
        yield (("The reply holds no text.", "muted"),)


def _tool_calls(calls: Iterable[ToolCall], glyphs: Glyphs) -> Lines:
    for call in calls:
        yield heading(f"tool call {call.name}", glyphs, call.id or "")
        yield from json_lines(_pretty(_plain(call.arguments)))


# JSON and headers


def bodies(exchange: Exchange, glyphs: Glyphs) -> Lines:
    """Both bodies, indented where they are one JSON value."""
    for name, body, size in (
        ("request", exchange.request_body, exchange.request_bytes),
        ("response", exchange.response_body, exchange.response_bytes),
    ):
        yield heading(name, glyphs, format_bytes(size))
        if body is None:
            yield (("Not recorded.", "muted"),)
        elif not body:
            yield (("Empty.", "muted"),)
        else:
            yield from json_lines(_pretty(body))
        yield ()


def _pretty(body: str) -> str:
    if len(body) > PRETTY_BYTES:
        return body
    try:
        return msgspec.json.format(body, indent=2)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return body


_JSON = re.compile(r'("(?:[^"\\]|\\.)*+"?)(\s*+:)?|(?<![\w"])(-?\d[\d.eE+-]*|true|false|null)(?![\w"])')


def json_lines(text: str) -> Lines:
    """Lines of JSON with colours for keys, strings and other values."""
    for line in text_lines(text):
        whole = line[0][0] if line else ""
        if len(line) != 1 or line[0][1] or len(whole) > COLOURED:
            yield line
        else:
            yield tuple(_json_pieces(whole))


def _json_pieces(line: str) -> Iterator[tuple[str, Tone]]:
    at = 0
    for found in _JSON.finditer(line):
        if found.start() > at:
            yield line[at : found.start()], "muted"
        tone: Tone = "primary" if found[3] else "accent" if found[2] else "ok"
        yield found[1] or found[3], tone
        if found[2]:
            yield found[2], "muted"
        at = found.end()
    if at < len(line):
        yield line[at:], "muted"


def headers(exchange: Exchange, glyphs: Glyphs) -> Lines:
    """As sent, in order; secrets were masked before they were stored."""
    for name, sent in (("request", exchange.request_headers), ("response", exchange.response_headers)):
        yield heading(name, glyphs, str(len(sent)))
        for key, value in sent:
            yield (f"{safe_line(key, 200)}: ", "muted"), (safe_line(value), "")
        yield ()


# Timing


def timing(exchange: Exchange, glyphs: Glyphs, now_ns: int, width: int) -> Lines:
    """Where the time went: as the client saw it, then by the server's own clock."""
    end = exchange.ended_ns if exchange.ended_ns is not None else now_ns
    whole = max(1, end - exchange.started_ns)
    yield heading("as the client saw it", glyphs, format_duration(whole))
    first = exchange.first_token_ns or exchange.first_byte_ns
    until = (first or end) - exchange.started_ns
    waited: Tone = "warn" if exchange.first_token_ns is None or until > whole / 2 else "primary"
    yield _bar(
        "first token" if exchange.first_token_ns else "waiting", 0, until, whole, waited, width, glyphs
    )
    if first is not None:
        yield _bar("reply", until, whole, whole, "ok", width, glyphs)
    yield ()
    yield from _by_server(exchange, glyphs, width)


def _by_server(exchange: Exchange, glyphs: Glyphs, width: int) -> Lines:
    parts: tuple[tuple[str, int | None, Tone], ...] = (
        ("queue and load", exchange.load_ns, "warn"),
        ("prompt", exchange.prompt_ns, "primary"),
        ("generation", exchange.generation_ns, "ok"),
    )
    known = sum(spent or 0 for _, spent, _ in parts)
    if not known and exchange.total_ns is None:
        yield (("This server has not told how long its parts took.", "muted"),)
        return
    whole = max(1, known, exchange.total_ns or 0)
    yield heading("by the server's own clock", glyphs, format_duration(exchange.total_ns))
    at = 0
    for name, spent, tone in parts:
        if spent is None:
            yield fact(name + " ", UNKNOWN, "faint")
            continue
        yield _bar(name, at, at + spent, whole, tone, width, glyphs)
        at += spent
    if exchange.total_ns is not None and exchange.total_ns > at:
        yield _bar("other", at, exchange.total_ns, whole, "muted", width, glyphs)


def _bar(name: str, start: int, end: int, whole: int, tone: Tone, width: int, glyphs: Glyphs) -> Pieces:
    room = max(10, width - NAME - 2 - 16)
    before, bar, after = span_bar(start / whole, end / whole, room, glyphs)
    share = f"{(end - start) / whole * 100:3.0f} %"
    words = f"  {format_duration(end - start):>6}  {share}"
    return (f"{name:<{NAME}}  ", "muted"), (before, ""), (bar, tone), (after, ""), (words, "")


# All of them

PAGES: tuple[tuple[str, Callable[[Exchange, Glyphs, int, int], Lines]], ...] = (
    ("Overview", lambda exchange, glyphs, now_ns, width: overview(exchange, glyphs, now_ns)),
    ("Prompt", lambda exchange, glyphs, now_ns, width: prompt(exchange, glyphs)),
    ("Response", lambda exchange, glyphs, now_ns, width: response(exchange, glyphs)),
    ("JSON", lambda exchange, glyphs, now_ns, width: bodies(exchange, glyphs)),
    ("Timing", timing),
    ("Headers", lambda exchange, glyphs, now_ns, width: headers(exchange, glyphs)),
)
"""Name and content of each page, in the order of the tabs."""


def page_lines(exchange: Exchange, page: int, glyphs: Glyphs, now_ns: int, width: int) -> tuple[Pieces, ...]:
    """The lines of page number ``page`` (from 0), bounded in all as well."""
    lines: list[Pieces] = []
    size = 0
    for line in PAGES[page][1](exchange, glyphs, now_ns, width):
        size += sum(len(text) for text, _ in line) + 1
        if size > 2 * LIMIT:
            lines += [(), (("… and more; nightdesk show prints all of it.", "warn"),)]
            break
        lines.append(line)
    return tuple(lines)


def title_cells(exchange: Exchange, glyphs: Glyphs, now_ns: int) -> list[Cell]:
    """The lines above the tabs: what it is, and whose."""
    signs = {
        "running": glyphs.run,
        "complete": glyphs.done,
        "incomplete": glyphs.lost,
        "aborted": glyphs.stop,
        "partial": glyphs.cut,
        "failed": glyphs.fail,
    }
    end = exchange.ended_ns if exchange.ended_ns is not None else now_ns
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
    cells.append(Cell(format_duration(max(0, end - exchange.started_ns)), "muted"))
    first = _between(exchange.started_ns, exchange.first_token_ns)
    if first is not None:
        cells.append(Cell(f"{gap}first token {format_duration(first)}", "muted"))
    if exchange.verdicts:
        cells.append(Cell(f"  {glyphs.verdict} {len(exchange.verdicts)}", "warn"))
    return cells
