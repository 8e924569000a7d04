"""Traffic list and inspector: how soon they are there, and how long they keep the screen waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from nightdesk.client.desk import find_desk
from nightdesk.tui import asks
from nightdesk.tui.app import Viewer, make_viewer
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.screens.inspector import InspectorScreen
from tests.bench.desk import Bench, running_desk
from tests.bench.exchanges import COMMON, COUNT, RARE, filled
from tests.support.bad_exchanges import BAD
from tests.support.exchanges import ExchangeEngine, exchange
from tests.support.viewer import screen_text, viewer

Rows = list[tuple[str, str, str]]
CONFIG = """
[capture]
source = "off"
[sensors]
source = "off"
[store]
keep = "36500d"
max_bytes = 100_000_000_000
"""
SIZE = (160, 48)
PATIENCE_SECONDS = 60.0
STORED = "NIGHTDESK_BENCH_STORE"
"""A database made by an earlier run; without it one is filled, which takes a minute or two."""
SHOWN = ("a reply of 50 MB", "one line of 10 MB", "objects nested 10,000 deep", "ten thousand tool calls")
SCROLLS = {
    "page down, 30 times": ["pagedown"] * 30,
    "to the end, and 30 pages up": ["end", *["pageup"] * 30],
    "line down, 100 times": ["home", *["down"] * 100],
}


def measure() -> Rows:
    """Rows: what, figure, target or comparison."""
    with running_desk(CONFIG, prepare=_fill) as bench:
        rows = asyncio.run(_long_list(bench))
    return [*rows, *asyncio.run(_heavy())]


def _fill(_folder: Path) -> None:
    path = find_desk().database
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = os.environ.get(STORED)
    if known and Path(known).exists():
        shutil.copy(known, path)
        return
    filled(path)[0].close()
    if known:
        shutil.copy(path, known)


class Watch:
    """The longest stretch of work in which the event loop did nothing else, in seconds of its own CPU time."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - before)


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[Watch]:
    """Measures what happens inside."""
    watch = Watch()
    task = asyncio.ensure_future(watch.run())
    try:
        yield watch
    finally:
        task.cancel()


async def _until(condition: Callable[[], Any]) -> float:
    """Seconds until it is true."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise TimeoutError(f"{PATIENCE_SECONDS:.0f} s were not enough")
        await asyncio.sleep(0.002)
    return time.monotonic() - begin


async def _long_list(bench: Bench) -> Rows:
    app = make_viewer(bench.desk, mode="desk")
    rows: Rows = []
    async with app.run_test(size=SIZE) as pilot:
        await _until(lambda: app.link.drawn)
        grid = app.desk_screen.query_one(TrafficPane).grid
        await pilot.press("T")
        seconds = await _until(lambda: len(grid.rows) == COUNT and "llama3.1" in screen_text(app))
        rows.append(
            (f"list of {COUNT:,} exchanges, T to its lines", f"{seconds * 1000:.0f} ms", "under 500 ms")
        )
        for name, keys in SCROLLS.items():
            async with watched() as watch:
                await pilot.press(*keys)
                await pilot.pause()
            rows.append(
                (f"{name}: the loop is held for", f"{watch.longest * 1000:.0f} ms at most", "under 50 ms")
            )
        for word in (RARE, COMMON):
            rows.append(await _filter(app, pilot, word))
    return rows


async def _filter(app: Viewer, pilot: Any, word: str) -> tuple[str, str, str]:
    pane = app.desk_screen.query_one(TrafficPane)
    await pilot.press("home", "slash", *word[:-1])
    await pilot.press(word[-1])

    def is_found() -> bool:
        window = pane.listing.window
        return window.query == word and window.total is not None and window.row(0) is not None

    seconds = await _until(is_found)
    found = pane.listing.window.total
    await pilot.press("enter", "escape")
    await _until(lambda: not pane.listing.window.query)
    return f"filter by a word, {found:,} found", f"{seconds * 1000:.0f} ms", "under 500 ms"


async def _heavy() -> Rows:
    return [row for name in SHOWN for row in await _open(name)]


async def _open(name: str) -> Rows:
    more, key, words = BAD[name]
    app = viewer(ExchangeEngine(exchange(**more)))

    def is_open() -> bool:
        return isinstance(app.screen, InspectorScreen) and "[3" in screen_text(app)

    async with app.run_test(size=SIZE) as pilot:
        await _until(lambda: app.link.drawn)
        async with watched() as watch:
            begin = time.monotonic()
            app.post_message(asks.OpenExchange(1))
            await _until(is_open)
            first = time.monotonic() - begin
            await pilot.press(key)
            whole = await _until(lambda: words in screen_text(app))
    return [
        (
            f"inspector on {name}",
            f"{first * 1000:.0f} ms, its page after {whole * 1000:.0f} ms more",
            "first picture under 300 ms",
        ),
        (f"inspector on {name}: the loop is held for", f"{watch.longest * 1000:.0f} ms at most", ""),
    ]
