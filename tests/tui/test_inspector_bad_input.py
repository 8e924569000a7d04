"""Bad input: whatever an exchange holds, the inspector opens at once, shows what it can and says what it left out.

The bounds are generous, since the machine may be busy; ``make bench`` has the figures.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from nightdesk.core.foreign import safe
from nightdesk.model.exchange import Message, Prompt, ToolCall
from nightdesk.tui import asks
from nightdesk.tui.screens.inspector import InspectorScreen
from tests.support.exchanges import HOSTILE, ExchangeEngine, exchange
from tests.support.viewer import screen_text, until, viewer

OPENS_SECONDS = 5.0
DEEP = "[" * 10_000 + "1" + "]" * 10_000
OBJECTS = '{"a":' * 10_000 + "1" + "}" * 10_000
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a reply of 50 MB": ({"text": "line of words\n" * 3_700_000}, "3", "more characters are not shown here"),
    "one line of 10 MB": ({"text": "x" * 10_000_000}, "3", "more characters are not shown here"),
    "a prompt of 50 MB": (
        {"prompt": Prompt(prompt="word " * 10_000_000)},
        "2",
        "more characters are not shown",
    ),
    "bytes that are no text": (
        {"response_body": bytes(range(256)).decode("utf-8", "replace") * 20_000, "stream_format": None},
        "4",
        "more characters are not shown",
    ),
    "lists nested 10,000 deep": ({"request_body": DEEP}, "4", "10,000"),
    "objects nested 10,000 deep": ({"request_body": OBJECTS}, "4", "10,000"),
    "a fragment of 10 MB": ({"response_body": '{"a":"' + "b" * 10_000_000 + '"}'}, "4", "not shown here"),
    "a hundred thousand fragments": (
        {
            "response_body": "\n".join('{"n":1}' for _ in range(100_000)),
            "fragment_gaps_ns": (10**6,) * 100_000,
        },
        "4",
        "fragments 601 to 99,800 are not listed here",
    ),
    "a hundred thousand pauses": (
        {"fragment_gaps_ns": tuple(range(100_000))},
        "5",
        "pauses between fragments",
    ),
    "ten thousand tool calls": (
        {
            "tool_calls": tuple(
                ToolCall(name=f"call{n}", arguments={"n": n, "t": "x" * 50}) for n in range(10_000)
            )
        },
        "3",
        "not shown here",
    ),
    "ten thousand messages": (
        {"prompt": Prompt(messages=tuple(Message(role="user", content=HOSTILE) for _ in range(10_000)))},
        "2",
        "not shown here",
    ),
    "fences that never close": (
        {"prompt": Prompt(prompt="```a\n" * 20_001 + "<file>\n" * 20_000)},
        "2",
        " lines, ",
    ),
    "terminal escapes and markup": ({"text": HOSTILE * 100_000}, "3", "more characters are not shown"),
    "quotes and backslashes": ({"request_body": '{"a":' + '\\"' * 1_000_000}, "4", "not shown here"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_opens_and_says_what_is_left_out(name: str) -> None:
    more, key, words = BAD[name]
    app = viewer(ExchangeEngine(exchange(**more)))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        began = time.monotonic()
        app.post_message(asks.OpenExchange(1))
        await until(pilot, lambda: "qwen2.5-coder" in screen_text(app) and "Response" in screen_text(app))
        assert time.monotonic() - began < OPENS_SECONDS
        await pilot.press(key)
        screen = app.screen
        assert isinstance(screen, InspectorScreen)
        await until(pilot, lambda: words in screen.view.plain)
        for press in ("G", "F", "F", "g", "slash", "z", "enter"):
            await pilot.press(press)
        text = screen_text(app)
        assert safe(text) == text and "Exchange 1" in text


async def test_the_event_loop_goes_on_while_a_heavy_page_is_made() -> None:
    body = json.dumps([{"name": f"name {n}", "value": n} for n in range(200_000)])
    app = viewer(ExchangeEngine(exchange(request_body=body)))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.link.drawn)
        app.post_message(asks.OpenExchange(1))
        await until(pilot, lambda: "── text" in screen_text(app))
        await pilot.press("4", "1")
        await until(pilot, lambda: "[1 Overview]" in screen_text(app) and "reason stop" in screen_text(app))
        await pilot.press("4")
        await until(pilot, lambda: '"name": "name 0"' in screen_text(app))
