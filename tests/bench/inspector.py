"""Traffic list and inspector: how soon they are there, and how long they keep the screen waiting."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from textual import events

from nightdesk.client.desk import find_desk
from nightdesk.tui import asks
from nightdesk.tui.app import Viewer
from nightdesk.tui.panes.pane import FilterLine
from nightdesk.tui.panes.traffic import TrafficPane
from nightdesk.tui.screens.inspector import InspectorScreen
from nightdesk.tui.start import make_viewer
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
REPEAT_SECONDS = 1 / 30
PATIENCE_SECONDS = 60.0
LINES = 40
"""Lines of the list in view once it has the whole screen."""
STORED = "NIGHTDESK_BENCH_STORE"
"""A database made by an earlier run; without it one is filled, which takes a minute or two."""
HEAVY: dict[str, tuple[dict[str, Any], str, str]] = {
    "2 MB in 20,000 fragments": (
        {
            "text": "some words of a long reply\n" * 80_000,
            "response_body": "\n".join(f'{{"response":"{"a word " * 14}","n":{n}}}' for n in range(20_000)),
            "fragment_gaps_ns": (10**7,) * 20_000,
        },
        "3",
        "more characters are not shown here",
    ),
    **{name: BAD[name] for name in ("a reply of 50 MB", "one line of 10 MB", "objects nested 10,000 deep")},
    **{name: BAD[name] for name in ("ten thousand tool calls", "a hundred thousand fragments")},
}
"""Name → fields of the exchange, the page that suffers, words that it shows."""
SCROLLS = {
    "page down, 30 times": ["pagedown"] * 30,
    "to the end, and 30 pages up": ["end", *["pageup"] * 30],
    "line down, 100 times": ["home", *["down"] * 100],
}


def measure() -> Rows:
    """Rows: what, figure, target or comparison."""
    with running_desk(CONFIG, prepare=_fill) as bench:
        rows = _run(lambda: _long_list(bench))
    return [*rows, *_run(_heavy)]


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


class WatchedLoop(asyncio.SelectorEventLoop):
    """Knows the longest round in which it did not look for keys, in seconds of its own CPU time: others may be busy."""

    longest = 0.0
    looking = 0.0
    """What of a round the bench itself took, to look at the screen."""

    def _run_once(self) -> None:
        before, self.looking = time.thread_time(), 0.0
        super()._run_once()  # type: ignore[misc]  # - a round of asyncio's own loop has no public name
        self.longest = max(self.longest, time.thread_time() - before - self.looking)


def _loop() -> WatchedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WatchedLoop)
    return loop


def watched() -> WatchedLoop:
    """The running loop, which begins to count now."""
    loop = _loop()
    loop.longest = 0.0
    return loop


def _run(work: Callable[[], Coroutine[Any, Any, Rows]]) -> Rows:
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        return runner.run(work())


async def _until(condition: Callable[[], Any]) -> float:
    """Seconds until it is true."""
    loop, begin = _loop(), time.monotonic()
    while True:
        before = time.thread_time()
        is_true = condition()
        loop.looking += time.thread_time() - before
        if is_true:
            return time.monotonic() - begin
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise TimeoutError(f"{PATIENCE_SECONDS:.0f} s were not enough")
        await asyncio.sleep(0.005)


async def _long_list(bench: Bench) -> Rows:
    app = make_viewer(bench.desk, mode="desk")
    async with app.run_test(size=SIZE) as pilot:
        await _until(lambda: app.link.drawn)
        grid = app.desk_screen.query_one(TrafficPane).grid
        begin = time.monotonic()
        app.desk_screen.action_mode("traffic")
        await _until(
            lambda: (
                len(grid.rows) == COUNT and len(grid.lines_in_view) > LINES and "llama3.1" in screen_text(app)
            )
        )
        opened = time.monotonic() - begin
        rows = [
            (
                f"list of {COUNT:,} exchanges, from the key to its lines",
                f"{opened * 1000:.0f} ms",
                "under 500 ms",
            )
        ]
        rows += [await _scroll(app, name, keys) for name, keys in SCROLLS.items()]
        rows += [await _filter(app, pilot, word) for word in (RARE, COMMON)]
    return rows


async def _scroll(app: Viewer, name: str, keys: list[str]) -> tuple[str, str, str]:
    """Keys as a terminal repeats them: the pilot's own wait asks every widget, in the rounds that are measured."""
    watch = watched()
    for key in keys:
        app.post_message(events.Key(key, None))
        await asyncio.sleep(REPEAT_SECONDS)
    await asyncio.sleep(1)
    return f"{name}: the loop is held for", f"{watch.longest * 1000:.0f} ms of CPU at most", "under 50 ms"


async def _filter(app: Viewer, pilot: Any, word: str) -> tuple[str, str, str]:
    pane = app.desk_screen.query_one(TrafficPane)
    await pilot.press("home", "slash", *word[:-1])

    def is_found() -> bool:
        window = pane.listing.window
        return window.query == word and window.total is not None and window.row(0) is not None

    begin = time.monotonic()
    pane.query_one(FilterLine).insert_text_at_cursor(word[-1])
    await _until(is_found)
    seconds = time.monotonic() - begin
    found = pane.listing.window.total
    await pilot.press("enter", "escape")
    await _until(lambda: not pane.listing.window.query)
    return f"filter by a word, {found:,} found", f"{seconds * 1000:.0f} ms", "under 500 ms"


async def _heavy() -> Rows:
    return [row for name, heavy in HEAVY.items() for row in await _open(name, *heavy)]


async def _open(name: str, more: dict[str, Any], key: str, words: str) -> Rows:
    app = viewer(ExchangeEngine(exchange(**more)))

    def is_open() -> bool:
        return isinstance(app.screen, InspectorScreen) and "[3" in screen_text(app)

    async with app.run_test(size=SIZE) as pilot:
        await _until(lambda: app.link.drawn)
        watch, begin = watched(), time.monotonic()
        app.post_message(asks.OpenExchange(1))
        await _until(is_open)
        first = time.monotonic() - begin
        await pilot.press(key)
        screen = app.screen
        assert isinstance(screen, InspectorScreen)
        await _until(lambda: words in screen.view.plain)
    return [
        (f"inspector on {name}, to its first picture", f"{first * 1000:.0f} ms", "under 300 ms"),
        (
            f"inspector on {name}: the loop is held for",
            f"{watch.longest * 1000:.0f} ms of CPU at most",
            "under 50 ms",
        ),
    ]
