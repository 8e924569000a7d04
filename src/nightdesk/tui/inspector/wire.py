"""What went over the wire: connection, packets, sizes, gaps, headers, and the processes at both ends."""

from __future__ import annotations

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange
from nightdesk.model.process import ProcessRef
from nightdesk.model.units import UNKNOWN, counted, format_bytes, format_duration
from nightdesk.tui.inspector.prose import (
    EMPTY,
    SHORT,
    Lines,
    Setting,
    between,
    fact,
    fold,
    heading,
    moment,
    sentence,
)
from nightdesk.tui.widgets.folds import Line

HEADERS = 500


def wire(exchange: Exchange, setting: Setting) -> Lines:
    """Both directions, then both ends, then the headers in the order in which they were sent."""
    glyphs = setting.glyphs
    yield heading("connection", glyphs)
    yield fact("route", f"{exchange.client_addr} {glyphs.arrow} {exchange.server_addr}")
    yield fact(
        "connection",
        f"number {exchange.connection} of the capture",
        "",
        f"exchange {exchange.position} on it",
    )
    yield from _process("client", exchange.process, exchange.unknown.get("process", ""))
    yield from _process("server", exchange.server_process, exchange.unknown.get("server_process", ""))
    yield EMPTY
    yield from _bytes(exchange, setting)
    yield EMPTY
    yield from _packets(exchange, setting)
    yield EMPTY
    yield from _headers(exchange, setting)


def _process(name: str, process: ProcessRef | None, reason: str) -> Lines:
    if process is None:
        yield fact(name, UNKNOWN, "faint", reason or "the process was not found")
    else:
        yield fact(name, f"{process.name} ({process.pid})", "", process.command)


def _bytes(exchange: Exchange, setting: Setting) -> Lines:
    yield heading("bytes", setting.glyphs, "bodies without chunk framing, before decompression")
    missing = exchange.missing_bytes
    for name, size, lost, digest in (
        ("request", exchange.request_bytes, missing.request, exchange.request_sha256),
        ("response", exchange.response_bytes, missing.response, exchange.response_sha256),
    ):
        yield fact(name, format_bytes(size), "", f"{counted(size, 'byte')}  sha256 {digest}")
        if lost:
            yield fact("  missing", format_bytes(lost), "warn", f"{lost:,} bytes never came to the capture")
        else:
            yield fact("  missing", "none", "ok")
    kind = exchange.stream_format or ("streamed" if exchange.streamed else "one document")
    yield fact("fragments", f"{exchange.fragments:,}", "", kind)
    if exchange.text_pieces is not None:
        gaps = max(0, len(exchange.text_pieces) - 1)
        yield fact("gaps", f"{gaps:,} within the text", "warn", "each is marked ⟨bytes missing⟩ where it is")
    if exchange.note:
        yield fact("note", exchange.note, "warn")


def _packets(exchange: Exchange, setting: Setting) -> Lines:
    yield heading("packets", setting.glyphs, "times of the first and last packet of each part")
    for name, at in (
        ("request", exchange.started_ns),
        ("first byte", exchange.first_byte_ns),
        ("first token", exchange.first_token_ns),
        ("last byte", exchange.ended_ns),
    ):
        since = between(exchange.started_ns, at)
        yield fact(
            name, moment(at), "" if at is not None else "faint", f"+{format_duration(since)}" if since else ""
        )
    if exchange.aborted_by:
        yield fact("left", f"the {exchange.aborted_by} closed the connection first", "warn")


def _headers(exchange: Exchange, setting: Setting) -> Lines:
    for name, sent in (("request", exchange.request_headers), ("response", exchange.response_headers)):
        first = "" if name == "request" else f" {UNKNOWN if exchange.status is None else exchange.status}"
        if name == "request":
            first = f" {exchange.method or '?'} {exchange.path or UNKNOWN}"
        hidden = counted(len(sent), "header")
        yield fold(f"headers.{name}", f"{name}{first}", setting.glyphs, hidden, hidden=hidden)
        if not sent:
            yield sentence("None were recorded.", depth=1)
        for key, value in sent[:HEADERS]:
            yield Line(((f"{safe_line(key, 200)}: ", "muted"), (safe_line(value, SHORT), "")), 1, hang=2)
        if len(sent) > HEADERS:
            yield sentence(f"… {len(sent) - HEADERS:,} more headers are not shown here.", "warn", 1)
        yield EMPTY
