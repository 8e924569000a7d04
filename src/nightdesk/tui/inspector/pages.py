"""All pages of the inspector, in the order of their tabs."""

from __future__ import annotations

from collections.abc import Callable

from nightdesk.model.exchange import Exchange
from nightdesk.tui.inspector.json import bodies
from nightdesk.tui.inspector.overview import overview
from nightdesk.tui.inspector.prompt import prompt
from nightdesk.tui.inspector.prose import Lines, Setting, bounded
from nightdesk.tui.inspector.response import response
from nightdesk.tui.inspector.timing import timing
from nightdesk.tui.inspector.verdicts import verdicts
from nightdesk.tui.inspector.wire import wire
from nightdesk.tui.widgets.folds import Line

PAGES: tuple[tuple[str, Callable[[Exchange, Setting], Lines]], ...] = (
    ("Overview", overview),
    ("Prompt", prompt),
    ("Response", response),
    ("JSON", bodies),
    ("Timing", timing),
    ("Wire", wire),
    ("Verdicts", verdicts),
)
"""Name and content of each page."""
OVERVIEW, PROMPT, RESPONSE, JSON, TIMING, WIRE, VERDICTS = range(len(PAGES))


def page_lines(exchange: Exchange, page: int, setting: Setting) -> tuple[Line, ...]:
    """The lines of page number ``page`` (from 0), bounded in all."""
    return bounded(PAGES[page][1](exchange, setting))


def weight(exchange: Exchange, page: int) -> int:
    """About how many characters have to be looked at to make a page: a heavy one is made beside the screen."""
    if page == PROMPT:
        asked = exchange.prompt
        if asked is None:
            return 0
        return (
            len(asked.system or "")
            + len(asked.prompt or "")
            + sum(len(one.content) for one in asked.messages)
        )
    if page == RESPONSE:
        return len(exchange.text) + len(exchange.thinking) + 500 * len(exchange.tool_calls)
    if page == JSON:
        return 4 * (len(exchange.request_body or "") + len(exchange.response_body or ""))
    if page == TIMING:
        return 4 * len(exchange.fragment_gaps_ns)
    return 0
