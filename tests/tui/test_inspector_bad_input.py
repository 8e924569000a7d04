"""Bad input: whatever an exchange holds, the inspector opens at once, shows what it can and says what it left out.

The bounds are generous, since the machine may be busy; ``make bench`` has the figures.
"""

from __future__ import annotations

import json
import time

import pytest

from nightdesk.core.foreign import safe
from nightdesk.tui import asks
from nightdesk.tui.screens.inspector import InspectorScreen
from tests.support.bad_exchanges import BAD
from tests.support.exchanges import ExchangeEngine, exchange
from tests.support.viewer import screen_text, until, viewer

OPENS_SECONDS = 30.0


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
