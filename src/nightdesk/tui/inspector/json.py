"""Both bodies as recorded: one JSON value as a tree, a stream as the list of its fragments, anything else as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange
from nightdesk.model.units import format_bytes, format_duration
from nightdesk.tui.inspector.jsontree import tree
from nightdesk.tui.inspector.prose import EMPTY, LIMIT, Lines, Setting, fold, sentence, text_lines
from nightdesk.tui.text import Tone
from nightdesk.tui.widgets.folds import Line
from nightdesk.tui.widgets.lines import Pieces

FIRST, LAST = 600, 200
"""Fragments of a stream that are listed: at its beginning and at its end."""
LEAD = 16
"""Cells for the number of a fragment, its time and what stands behind it."""
FRAGMENT_LIMIT = 20_000
_JSON = re.compile(r'("(?:[^"\\]|\\.)*+"?)(\s*+:)?|(?<![\w"])(-?\d[\d.eE+-]*|true|false|null)(?![\w"])')


def bodies(exchange: Exchange, setting: Setting) -> Lines:
    """Request, then response."""
    for name, body, size, lost in (
        ("request", exchange.request_body, exchange.request_bytes, exchange.missing_bytes.request),
        ("response", exchange.response_body, exchange.response_bytes, exchange.missing_bytes.response),
    ):
        note = format_bytes(size) + (f", {format_bytes(lost)} not captured" if lost else "")
        yield fold(f"body.{name}", name, setting.glyphs, note)
        if body is None:
            reason = (
                "vectors are kept as number and length only"
                if exchange.embeddings and name == "response"
                else ""
            )
            yield sentence(f"Not recorded{': ' + reason if reason else ''}.", depth=1)
        elif not body:
            yield sentence("Empty.", depth=1)
        elif name == "response" and exchange.stream_format == "ndjson":
            yield from _fragments(_objects(body), exchange, setting)
        elif name == "response" and exchange.stream_format == "sse":
            yield from _fragments(_events(body), exchange, setting)
        elif looks_like_json(body):
            yield from tree(body, f"json.{name}", depth=1)
        else:
            yield from text_lines(body, depth=1)
        yield from _cut(body, size, lost)
        yield EMPTY


def looks_like_json(text: str) -> bool:
    """True where a JSON value may begin."""
    return text[:100].lstrip()[:1] in ("{", "[", '"')


def _cut(body: str | None, size: int, lost: int) -> Lines:
    kept = len(body.encode("utf-8", "replace")) if body else 0
    if body and kept + lost < size and "sha256 " not in body:
        words = f"The record holds the first {format_bytes(kept)} of {format_bytes(size)}."
        yield sentence(words, "warn", 1)


def _objects(body: str) -> Iterator[str]:
    return (line for line in body.split("\n") if line.strip())


def _events(body: str) -> Iterator[str]:
    """The data of each event; lines that are no data in front of it."""
    for event in re.split(r"\r?\n\r?\n", body):
        if event.strip():
            yield "\n".join(line.removeprefix("data:").strip() for line in event.splitlines())


def _fragments(found: Iterator[str], exchange: Exchange, setting: Setting) -> Lines:
    held = list(found)
    gaps = exchange.fragment_gaps_ns
    for at, fragment in enumerate(held):
        if FIRST <= at < len(held) - LAST:
            if at == FIRST:
                words = f"… fragments {FIRST + 1:,} to {len(held) - LAST:,} are not listed here; e opens all of them."
                yield sentence(words, "warn", 1)
            continue
        gap = f"+{format_duration(gaps[at])}" if at < len(gaps) else ""
        yield from _fragment(fragment, at + 1, gap, setting)


def _fragment(fragment: str, number: int, gap: str, setting: Setting) -> Lines:
    room = max(20, setting.width - LEAD)
    head = fragment[:room]
    more = setting.glyphs.cut if len(fragment) > room else ""
    lead: Pieces = (f"{number:>5} ", "faint"), (f"{gap:>7} ", "muted")
    yield Line((*lead, *json_pieces(safe_line(head)), (more, "faint")), 1, f"fragment.{number}", "", True)
    if looks_like_json(fragment):
        yield from tree(fragment, f"fragment.{number}", depth=2, most=FRAGMENT_LIMIT)
    else:
        yield from text_lines(fragment, depth=2, limit=min(LIMIT, FRAGMENT_LIMIT))


def json_pieces(line: str) -> Iterator[tuple[str, Tone]]:
    """One line of JSON with tones for names, texts and other values."""
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
