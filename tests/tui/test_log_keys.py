"""The keys of the logs pane on files of any size: find, go to, errors, levels, marks, wrap, copy, editor."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.reader import LogReader
from nightdesk.model.desk import LogChanged
from nightdesk.model.logs import (
    LogErrors,
    LogFile,
    LogIndex,
    LogItems,
    LogLevels,
    LogSearch,
    LogView,
    LogWindow,
    Progress,
)
from nightdesk.tui import log_outside
from nightdesk.tui.asks import FilterTraffic, OpenLog
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.accelerators import AcceleratorsPane
from nightdesk.tui.panes.logs import LogsPane, progress_parts
from nightdesk.tui.text import line
from nightdesk.tui.widgets.loglines import LogLines, log_pieces
from tests.support.viewer import FakeEngine, screen_text, snapshot, until, viewer

NS = 10**9
BEGIN = datetime(2025, 11, 21, 23, 0, 0)
COUNT = 40_000
SIZES = [(80, 24), (120, 40), (160, 48)]


class RealLogs(FakeEngine):
    """An engine whose answers about one log are the real ones."""

    def __init__(self, path: Path, *others: Path, **more: Any) -> None:
        self.logs = LogFollower((), path.parent, lambda change: None)
        self.file = self.logs.add_run_log("r", path)
        files = (self.file, *(self.logs.add_run_log("o", other) for other in others))
        self.reader = LogReader(self.logs)
        super().__init__(snapshot(logs=files, **more))

    async def log_view(self, query: str = "") -> LogView:
        return await asyncio.to_thread(self.reader.view, query)

    def changed(self) -> LogFile:
        """The file as it is now."""
        tail = self.logs._tails[self.file.id]
        tail.check(1)
        return tail.view()

    async def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        return await asyncio.to_thread(self.reader.window, log_id, start=start, end=end, max_bytes=max_bytes)

    async def log_line(self, log_id: str, number: int, *, max_bytes: int = 65536) -> LogWindow:
        return await asyncio.to_thread(self.reader.line, log_id, number, max_bytes)

    async def log_moment(self, log_id: str, at_ns: int, *, max_bytes: int = 65536) -> LogWindow:
        return await asyncio.to_thread(self.reader.moment, log_id, at_ns, max_bytes)

    async def log_index(self, log_id: str) -> LogIndex:
        return await asyncio.to_thread(self.reader.index, log_id)

    async def log_search(self, log_id: str, text: str, *, regex: bool = False, at: int = -1) -> LogSearch:
        return await asyncio.to_thread(self.reader.search, log_id, text, regex=regex, at=at)

    async def log_errors(self, log_id: str) -> LogErrors:
        return await asyncio.to_thread(self.reader.errors, log_id)

    async def log_items(self, log_id: str) -> LogItems:
        return await asyncio.to_thread(self.reader.items, log_id)

    async def log_levels(self, log_id: str) -> LogLevels:
        return await asyncio.to_thread(self.reader.levels, log_id)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line a second; needles at 100, 20,000 and 20,001; an error with a traceback and a warning at 30,000."""
    path = tmp_path_factory.mktemp("logs") / "night.log"
    with path.open("w", encoding="utf-8") as file:
        for n in range(COUNT):
            stamp = datetime.fromtimestamp(BEGIN.timestamp() + n)
            level = "WARNING" if n == 30_001 else "INFO"
            word = " Needle" if n in (100, 20_000, 20_001) else ""
            file.write(f"{stamp:%Y-%m-%d %H:%M:%S} {level} item {n:05}{word} of the long night\n")
            if n == 30_000:
                file.write(
                    'Traceback (most recent call last):\n  File "run.py", line 3, in main\nValueError: bad voice\n'
                )
    return path


def shown(app: Any) -> LogLines:
    found: LogLines = app.desk_screen.query_one(LogLines)
    return found


def top(app: Any) -> str:
    lines = shown(app)
    return lines.lines[lines.current] if lines.lines else ""


async def test_the_search_goes_through_the_whole_file_and_counts(night: Path) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("slash", *"needle", "enter")
        await until(pilot, lambda: "3 lines" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: "item 20001 Needle" in top(app))
        await pilot.press("N")
        await until(pilot, lambda: "item 20000 Needle" in top(app))
        await until(pilot, lambda: "2 of 3 lines" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: "item 00100 Needle" in top(app))
        await until(pilot, lambda: "line 101, " in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: "No more matches above." in screen_text(app))
        await pilot.press("n")
        await until(pilot, lambda: "item 20000 Needle" in top(app))


async def test_a_pattern_is_found_too_and_a_broken_one_is_explained(night: Path) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("slash", *"~needle.*night$", "enter")
        await until(pilot, lambda: "3 lines" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: "item 20001 Needle" in top(app))
        await pilot.press("slash", *"(", "enter")
        await until(pilot, lambda: "pattern can't be read" in screen_text(app))


async def test_a_line_that_comes_while_its_word_is_looked_for_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one needle\n")
    engine = RealLogs(path)
    app = viewer(engine, mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "one needle" in screen_text(app))
        await pilot.press("slash", *"needle", "enter")
        await until(pilot, lambda: "1 lines" in screen_text(app))
        with path.open("a") as file:
            file.write("another needle\n")
        engine.more.put_nowait(LogChanged(log=engine.changed()))
        await until(pilot, lambda: "another needle" in screen_text(app))
        await until(pilot, lambda: "2 lines" in screen_text(app))
        assert shown(app).following


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("12345", "item 12344"), ("23:20:00", "item 01200"), ("50%", "item 20"), ("99999999", "item 39999")],
)
async def test_a_line_a_time_and_a_share_are_gone_to(night: Path, typed: str, expected: str) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        if ":" in typed:
            typed = f"{BEGIN:%Y-%m-%d}T{typed}"
        await pilot.press("colon")
        await until(pilot, lambda: "Go to" in screen_text(app))
        app.screen.query_one("#place", Input).value = typed
        await pilot.press("enter")
        await until(pilot, lambda: expected in top(app))
        await until(pilot, lambda: "G follows" in screen_text(app) or "item 39999" in expected)
        await pilot.press("G")
        await until(pilot, lambda: "following" in screen_text(app))


async def test_what_is_no_place_is_explained(night: Path) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("colon", *"nowhere", "enter")
        await until(pilot, lambda: "A line (1234)" in screen_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_the_errors_are_listed_and_lead_to_their_place(night: Path, size: tuple[int, int]) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("X")
        await until(pilot, lambda: "1 error of 1 kind" in screen_text(app))
        assert "ValueError: bad voice" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: top(app).startswith("Traceback"))
        await pilot.press("G", "X")
        await until(pilot, lambda: "1 error of 1 kind" in screen_text(app))
        await pilot.press("N")
        await until(pilot, lambda: top(app).startswith("Traceback"))


async def test_errors_of_one_log_of_its_run_and_of_all_logs_the_first_of_the_night_at_the_top(
    tmp_path: Path,
) -> None:
    early, late = tmp_path / "early.log", tmp_path / "late.log"
    early.write_text("2025-11-21 23:10:00 ERROR the disk is full\n2025-11-21 23:10:01 INFO on it goes\n")
    late.write_text("2025-11-21 23:40:00 ERROR no voice in 'a.mp3'\n2025-11-21 23:59:00 INFO end\n")
    app = viewer(RealLogs(late, early), mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "INFO" in screen_text(app))
        if "[early.log]" in screen_text(app):
            await pilot.press("right_square_bracket")
        await until(pilot, lambda: "[late.log]" in screen_text(app) and "no voice" in screen_text(app))
        await pilot.press("X")
        await until(pilot, lambda: "Errors of late.log" in screen_text(app) and "1 error" in screen_text(app))
        await pilot.press("a")
        await until(pilot, lambda: "Errors of run r" in screen_text(app) and "1 error" in screen_text(app))
        assert "the disk is full" not in screen_text(app)
        await pilot.press("a")
        await until(pilot, lambda: "2 errors of 2 kinds" in screen_text(app))
        text = screen_text(app)
        assert "Errors of all logs" in text
        assert text.index("the disk is full") < text.rindex("no voice")
        await pilot.press("enter")
        await until(pilot, lambda: "2 files: level:error" in screen_text(app))
        assert "on it goes" not in screen_text(app)
        await pilot.press("X")
        await until(pilot, lambda: "Errors of 2 files: level:error" in screen_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_the_items_of_a_batch_are_charted_and_lead_to_their_lines(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path, at, lines = tmp_path / "batch.log", BEGIN, []
    for n in range(1, 61):
        lines.append(f"{at:%Y-%m-%d %H:%M:%S} INFO [{n}/60] Processing session-{n:02}.mp3\n")
        at += timedelta(minutes=5 if n == 30 else 1)
    path.write_text("".join(lines))
    app = viewer(RealLogs(path), mode="logs")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "session-60" in screen_text(app))
        await pilot.press("d")
        await until(pilot, lambda: "59 items" in screen_text(app))
        text = screen_text(app)
        assert "median 1m00s · slowest 5m00s" in text
        assert "session-01.mp3" in text and "5m00s █" not in text
        await pilot.press("o")
        await pilot.press("enter")
        await until(pilot, lambda: "Items of" not in screen_text(app) and "session-30.mp3" in top(app))


async def test_only_warnings_and_errors_then_only_errors_are_shown(night: Path) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("colon", *"30002", "enter")
        await until(pilot, lambda: "item 30002" in screen_text(app))
        await pilot.press("l")
        await until(pilot, lambda: "warnings and errors" in screen_text(app))
        await until(pilot, lambda: "item 30001" in screen_text(app) and "item 30002" not in screen_text(app))
        assert "ValueError: bad voice" in screen_text(app)
        await pilot.press("l")
        await until(pilot, lambda: "errors only" in screen_text(app) and "item 30001" not in screen_text(app))
        await pilot.press("l")
        await until(pilot, lambda: "item 30002" in screen_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_levels_stand_along_the_file(night: Path, size: tuple[int, int]) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("h")
        await until(pilot, lambda: "23:00 " in screen_text(app) and "errors in samples" in screen_text(app))
        await pilot.press("h")
        await until(pilot, lambda: "errors in samples" not in screen_text(app))


async def test_long_lines_are_wrapped_and_cut_again(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    path.write_text("begin\n" + " ".join(f"word{n:03}" for n in range(100)) + "\nend\n")
    app = viewer(RealLogs(path), mode="logs")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "word001" in screen_text(app))
        assert "word099" not in screen_text(app)
        await pilot.press("w")
        await until(pilot, lambda: "word099" in screen_text(app))
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "word099" in screen_text(app))
        await pilot.press("w")
        await until(pilot, lambda: "word099" not in screen_text(app) and "end" in screen_text(app))


async def test_bookmarks_lead_back_also_to_parts_that_are_not_loaded(night: Path) -> None:
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("apostrophe")
        await until(pilot, lambda: "No bookmark in this file" in screen_text(app))
        await pilot.press("colon", *"5001", "enter")
        await until(pilot, lambda: "item 05000" in top(app))
        await pilot.press("m")
        await until(pilot, lambda: "◆ 2025" in screen_text(app))
        await pilot.press("G")
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("apostrophe")
        await until(pilot, lambda: "item 05000" in top(app))
        await pilot.press("m")
        await until(pilot, lambda: "◆" not in screen_text(app))


async def test_a_line_leads_to_the_exchanges_of_its_moment(night: Path) -> None:
    app = viewer(RealLogs(night), mode="logs")
    seen: list[str] = []
    async with app.run_test(
        size=(120, 40), message_hook=lambda m: seen.append(m.query) if isinstance(m, FilterTraffic) else None
    ) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("colon", *"101", "enter")
        await until(pilot, lambda: "item 00100" in top(app))
        await pilot.press("t")
        await until(pilot, lambda: bool(seen))
        assert seen[0] == "since:2025-11-21T23:01:10 until:2025-11-21T23:02:10"


async def test_lines_on_the_screen_are_copied(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = viewer(RealLogs(night), mode="logs")
    taken: list[tuple[str, str]] = []

    async def take(_: Any, what: str, text: str) -> None:
        taken.append((what, text))

    monkeypatch.setattr(log_outside, "copy_text", take)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: bool(taken))
        lines = taken[0][1].split("\n")
        assert taken[0][0] == f"{len(lines)} lines" and lines[-1].endswith("item 39999 of the long night")


@pytest.mark.parametrize(("key", "variable"), [("e", "EDITOR"), ("vertical_line", "PAGER")])
async def test_the_file_opens_elsewhere_at_its_line(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, variable: str
) -> None:
    program = tmp_path / "less"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/given\n')
    program.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv(variable, str(program))
    given: list[tuple[Any, ...]] = []
    from nightdesk.tui.inspector import outside

    def show_file(_: Any, *more: Any) -> str:
        given.append(more)
        return ""

    monkeypatch.setattr(outside, "show_file", show_file)
    app = viewer(RealLogs(night), mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "item 39999" in screen_text(app))
        await pilot.press("colon", *"101", "enter")
        await until(pilot, lambda: "item 00100" in top(app) and "line 101," in screen_text(app))
        await pilot.press(key)
        await until(pilot, lambda: bool(given))
        assert given[0][1:] == ((str(program),), night, 101)


def test_a_json_line_shows_its_message_and_fields() -> None:
    line = '{"timestamp": "2025-11-21T23:00:01", "level": "error", "message": "no voice", "item": 7}'
    assert log_pieces(line, UNICODE) == (("✗ ", "bad"), ("23:00:01 ", "muted"), ("no voice  item=7", "bad"))


def test_progress_tells_a_range_and_why_a_count_fell() -> None:
    progress = Progress(
        done=9,
        total=52,
        eta_low_ns=3000 * NS,
        eta_high_ns=6000 * NS,
        at_ns=1,
        source="counter",
        note="it began again",
    )
    words = line(*progress_parts(progress, 4320 * NS, 120, UNICODE)).plain
    assert "ETA 1h12m (50m00s to 1h40m)" in words
    assert "⚠ it began again" in words


def write(path: Path, *lines: tuple[float, str]) -> Path:
    """A log with a stamp in front of each line; what has no time stands without one."""
    stamps = (
        f"{datetime.fromtimestamp(BEGIN.timestamp() + at):%Y-%m-%d %H:%M:%S} " if at else ""
        for at, _ in lines
    )
    path.write_text("".join(stamp + text + "\n" for stamp, (_, text) in zip(stamps, lines, strict=True)))
    return path


@pytest.fixture
def two(tmp_path: Path) -> RealLogs:
    """Two logs: items and their errors in one, a server in the other."""
    batch = write(
        tmp_path / "batch.log",
        (1, "INFO [1/2] Processing a.mp3"),
        (3, "ERROR no voice"),
        (0, "Traceback (most recent call last):"),
        (0, '  File "/home/me/run.py", line 3, in main'),
        (0, "ValueError: bad voice"),
        (5, "INFO [2/2] Processing b.mp3"),
        (6, "WARNING slow"),
    )
    server = write(tmp_path / "server.log", (2, "INFO asked for a.mp3"), (5.5, "INFO asked for b.mp3"))
    return RealLogs(batch, server)


def rows(app: Any) -> list[str]:
    """The rows of the logs pane, stripped."""
    lines = shown(app)
    return ["".join(text for text, _ in lines.pieces(row)).strip() for row in range(lines.count)]


async def show_batch(app: Any, pilot: Any, engine: RealLogs) -> None:
    """Bring its first log to the screen, whichever is shown unasked."""
    await until(pilot, lambda: bool(shown(app).lines))
    app.desk_screen.query_one(LogsPane).show_log(engine.file.id)


async def test_a_traceback_stands_in_one_line_until_it_is_unfolded(two: RealLogs) -> None:
    app = viewer(two, mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await show_batch(app, pilot, two)
        await until(
            pilot, lambda: "▸ ValueError: bad voice  3 lines, /home/me/run.py:3 in main" in screen_text(app)
        )
        assert "Traceback" not in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "Traceback (most" in screen_text(app) and "▸" not in screen_text(app))
        await pilot.press("f", "f")
        await until(pilot, lambda: "▸ ValueError" in screen_text(app))
        await pilot.press("f")
        await until(pilot, lambda: 'File "/home/me/run.py"' in screen_text(app))
        await pilot.press("f", "slash", *"run.py", "enter", "n")
        await until(pilot, lambda: 'File "/home/me/run.py"' in screen_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_all_logs_stand_in_one_by_time_each_line_behind_its_file(
    two: RealLogs, size: tuple[int, int]
) -> None:
    app = viewer(two, mode="logs")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: bool(shown(app).lines))
        await pilot.press("a")
        await until(pilot, lambda: "2 files: all logs" in screen_text(app) and len(rows(app)) == 7)
        assert [row.split()[0] for row in rows(app)] == [
            "batch", "server", "batch", "batch", "batch", "server", "batch",
        ]  # fmt: skip
        await pilot.press("slash", *"a.mp3", "enter", "g", "n", "n", "o")
        await until(pilot, lambda: "server.log ──" in screen_text(app) and "asked for a.mp3" in top(app))
        await pilot.press("o")
        await pilot.press("a")
        await until(pilot, lambda: "2 files: all logs" in screen_text(app))
        await pilot.press("a")
        await until(pilot, lambda: "2 files: all logs" not in screen_text(app))


async def test_what_is_written_while_all_logs_are_shown_comes_behind(two: RealLogs) -> None:
    app = viewer(two, mode="logs")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(shown(app).lines))
        await pilot.press("a")
        await until(pilot, lambda: len(rows(app)) == 7)
        with Path(two.file.path).open("a") as file:
            file.write("2025-11-21 23:00:09 INFO newest\n")
        two.more.put_nowait(LogChanged(log=two.changed()))
        await until(pilot, lambda: rows(app)[-1].startswith("batch") and "newest" in rows(app)[-1])


async def test_only_wanted_lines_are_shown_and_what_can_not_be_read_is_explained(two: RealLogs) -> None:
    app = viewer(two, mode="logs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: bool(shown(app).lines))
        await pilot.press("ampersand")
        await until(pilot, lambda: "Only lines with" in screen_text(app))
        app.screen.query_one("#only", Input).value = "level:warning"
        await pilot.press("enter")
        await until(pilot, lambda: len(rows(app)) == 3 and "slow" in rows(app)[-1])
        assert "level:warning" in screen_text(app)
        await pilot.press("ampersand")
        await until(pilot, lambda: "Only lines with" in screen_text(app))
        assert app.screen.query_one("#only", Input).value == "level:warning"
        app.screen.query_one("#only", Input).value = "item:b.mp3"
        await pilot.press("enter")
        await until(
            pilot, lambda: [row[-10:] for row in rows(app)] == ["sing b.mp3", " for b.mp3", "RNING slow"]
        )
        await pilot.press("ampersand")
        await until(pilot, lambda: "Only lines with" in screen_text(app))
        app.screen.query_one("#only", Input).value = "level:loud"
        await pilot.press("enter")
        await until(pilot, lambda: "no level 'loud'" in screen_text(app))
        await until(pilot, lambda: "[batch.log]" in screen_text(app) or "[server.log]" in screen_text(app))


async def test_a_line_leads_to_the_lines_of_its_item_and_to_the_accelerators_then(two: RealLogs) -> None:
    app = viewer(two, mode="logs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await show_batch(app, pilot, two)
        await until(pilot, lambda: "Processing b.mp3" in screen_text(app))
        await pilot.press("slash", *"slow", "enter", "N", "i")
        await until(pilot, lambda: [row[-10:] for row in rows(app)] == ["sing b.mp3", "RNING slow"])
        await pilot.press("g", "s")
        chart = app.desk_screen.query_one(AcceleratorsPane)
        await until(pilot, lambda: chart.choice.cursor_ns == int((BEGIN.timestamp() + 5) * NS))
        assert app.desk_screen.current == AcceleratorsPane.NUMBER


async def test_all_logs_around_a_moment_are_shown_when_asked_for(two: RealLogs) -> None:
    app = viewer(two)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(app.desk_screen.query_one(LogsPane).view))
        app.post_message(OpenLog(at_ns=int((BEGIN.timestamp() + 5) * NS)))
        await until(
            pilot, lambda: "Processing b.mp3" in top(app) and "since:2025-11-21T22:55:05" in screen_text(app)
        )
