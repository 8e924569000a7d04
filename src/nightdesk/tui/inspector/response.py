"""What came back: thinking (folded), text (Markdown or raw), tool calls, status lines, errors; grows while it comes."""

from __future__ import annotations

import json
import re

from nightdesk.core.foreign import safe_line
from nightdesk.model.exchange import Exchange
from nightdesk.model.units import counted
from nightdesk.tui.inspector.jsontree import tree
from nightdesk.tui.inspector.markdown import rendered
from nightdesk.tui.inspector.prompt import characters, thinking_lines, tool_call_lines
from nightdesk.tui.inspector.prose import (
    EMPTY,
    LIMIT,
    TAIL,
    Lines,
    Setting,
    cut_line,
    error_line,
    fact,
    heading,
    sentence,
    text_lines,
)
from nightdesk.tui.widgets.folds import Line

STATUSES = 500
_BEGINS_AS_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*[\[{"\]])')


def response(exchange: Exchange, setting: Setting) -> Lines:
    """In the order in which a model gives it. Thinking is open only as long as nothing else has come."""
    glyphs = setting.glyphs
    if exchange.thinking:
        only = not exchange.text and not exchange.tool_calls
        yield from thinking_lines(exchange.thinking, "thinking", glyphs, shut=not only)
        yield EMPTY
    if exchange.text:
        form, lines = _text(exchange, setting)
        yield heading("text", glyphs, f"{characters(exchange.text)} {glyphs.dot} {form}, m changes")
        yield from lines
    yield from tool_call_lines(exchange.tool_calls, "reply", glyphs)
    if exchange.statuses:
        yield heading("status", glyphs, counted(len(exchange.statuses), "line"))
        yield from (Line(((safe_line(status), ""),)) for status in exchange.statuses[-STATUSES:])
    if exchange.embeddings is not None:
        yield fact("embeddings", f"{exchange.embeddings.count:,} of {exchange.embeddings.dims:,} dimensions")
    if exchange.error is not None:
        yield error_line(exchange, glyphs)
    yield from _end(exchange, setting)


def _text(exchange: Exchange, setting: Setting) -> tuple[str, Lines]:
    """How the reply's text is shown, and its lines."""
    if setting.is_raw:
        return "raw", text_lines(exchange.text)
    if _is_json(exchange):
        return "JSON", tree(exchange.text, "reply.text")
    return "Markdown", _markdown(exchange.text, setting)


def _is_json(exchange: Exchange) -> bool:
    """Whether the whole reply is one JSON value; of a running one, whether it begins like one."""
    if len(exchange.text) > LIMIT or not _BEGINS_AS_JSON.match(exchange.text):
        return False
    if exchange.state == "running":
        return True
    try:
        json.loads(exchange.text)
    except (ValueError, RecursionError):
        return False
    return True


def _markdown(text: str, setting: Setting) -> Lines:
    if len(text) <= LIMIT:
        yield from rendered(text, setting.glyphs)
        return
    yield from rendered(text[: LIMIT - TAIL], setting.glyphs)
    yield cut_line(len(text) - LIMIT)
    yield from rendered(text[-TAIL:], setting.glyphs, key="tail")


def _end(exchange: Exchange, setting: Setting) -> Lines:
    glyphs = setting.glyphs
    if exchange.state == "running":
        yield sentence(f"{glyphs.run} running", "ok")
    elif exchange.state == "aborted":
        yield sentence(
            f"{glyphs.stop} The {exchange.aborted_by or 'connection'} left before the end.", "warn"
        )
    elif exchange.done_reason == "length":
        yield sentence(f"{glyphs.cut} The reply ends here because its limit of tokens was reached.", "warn")
    elif not (
        exchange.text or exchange.thinking or exchange.tool_calls or exchange.statuses or exchange.error
    ):
        yield sentence("The reply holds no text.")
