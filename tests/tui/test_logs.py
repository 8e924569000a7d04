"""The logs pane: which file, its end, looking back, levels, marks, and files that do their worst."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.foreign import safe
from nightdesk.core.logs.formats import level_of
from nightdesk.engine.logs.window import read_lines
from nightdesk.model.desk import LogChanged, SourceState
from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogFile, LogWindow, Progress
from nightdesk.tui.asks import OpenLog
from nightdesk.tui.glyphs import UNICODE
from nightdesk.tui.panes.log_buffer import LINES_KEPT, LogBuffer, Request
from nightdesk.tui.panes.logs import LogsPane, progress_parts, select, selector
from nightdesk.tui.text import line
from nightdesk.tui.widgets.loglines import LogLines, log_pieces
from tests.support.viewer import NOW, FakeEngine, mirror, replaced, run, screen_text, snapshot, until, viewer

NS = 10**9
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[/] [@click=app.quit]x[/] \u202eabc\u202c \x9b31m \x00"


def window(path: Path, asked: Request, generation: int = 0) -> LogWindow:
    """What the engine answers, read from a real file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        found = read_lines(descriptor, size, asked.start, asked.end, asked.max_bytes)
    finally:
        os.close(descriptor)
    return LogWindow(id=asked.log, generation=generation, size_bytes=size, **found._asdict())


def fetch(buffer: LogBuffer, asked: Request | None, path: Path, generation: int = 0) -> int:
    """Asks until the buffer is content; how many lines are new at its top. The size of windows stays bounded."""
    assert asked is not None
    taken: int | Request = asked
    for _ in range(8):
        if isinstance(taken, int):
            return taken
        taken = buffer.take(taken, window(path, taken, generation))
    raise AssertionError(f"the buffer still asks for {taken}")


class LogEngine(FakeEngine):
    """A fake engine that reads windows of a real file."""

    def __init__(self, path: Path, **more: Any) -> None:
        super().__init__(snapshot(logs=(log_file(path, **more),)))
        self.path = path
        self.windows: list[Request] = []

    async def log_window(
        self, log_id: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65536
    ) -> LogWindow:
        self.windows.append(Request(log_id, start, end, max_bytes))
        if self.refuses is not None:
            raise self.refuses
        return window(self.path, self.windows[-1])


def log_file(path: Path, **more: Any) -> LogFile:
    given: dict[str, Any] = {
        "id": "a1",
        "path": str(path),
        "name": path.name,
        "origin": "watch",
        "size_bytes": path.stat().st_size if path.exists() else 0,
        "modified_ns": NOW,
        **more,
    }
    return LogFile(**given)


def written(folder: Path, count: int, name: str = "batch.log") -> Path:
    path = folder / name
    path.write_text("".join(f"line {number:06} of the night\n" for number in range(count)))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, 8000)


# The buffer


def test_a_buffer_begins_with_the_end_of_the_file_and_goes_back_without_a_hole(path: Path) -> None:
    buffer = LogBuffer("a1")
    assert fetch(buffer, buffer.tail(), path) == 0
    assert buffer.lines[-1] == "line 007999 of the night"
    before = buffer.lines[0]
    added = fetch(buffer, buffer.older(), path)
    assert added > 0
    assert buffer.lines[added] == before
    numbers = [int(text.split()[1]) for text in buffer.lines]
    assert numbers == list(range(numbers[0], 8000))


def test_a_buffer_never_holds_much_more_than_its_limit_and_can_come_back(path: Path) -> None:
    buffer = LogBuffer("a1")
    fetch(buffer, buffer.tail(), path)
    while (older := buffer.older()) is not None:
        fetch(buffer, older, path)
        assert len(buffer.lines) <= LINES_KEPT
    assert buffer.lines[0] == "line 000000 of the night" and buffer.has_newer
    while (newer := buffer.newer()) is not None:
        fetch(buffer, newer, path)
        assert len(buffer.lines) <= LINES_KEPT
    numbers = [int(text.split()[1]) for text in buffer.lines]
    assert numbers == list(range(numbers[0], 8000))


def test_a_last_line_without_an_end_grows_instead_of_being_cut_in_two(tmp_path: Path) -> None:
    path = tmp_path / "bar.log"
    path.write_bytes(b"begin\n 10%|#    | 1/10\r 20%|##   | 2/10")
    buffer = LogBuffer("a1")
    fetch(buffer, buffer.tail(), path)
    assert buffer.lines == ["begin", " 20%|##   | 2/10"]
    with path.open("ab") as file:
        file.write(b"\r 30%|###  | 3/10\nend\n")
    buffer.size_bytes = path.stat().st_size
    fetch(buffer, buffer.newer(), path)
    assert buffer.lines == ["begin", " 30%|###  | 3/10", "end"]
    assert buffer.newer() is None


def test_a_file_that_was_replaced_is_begun_anew(path: Path) -> None:
    buffer = LogBuffer("a1")
    fetch(buffer, buffer.tail(), path)
    older = buffer.older()
    assert older is not None
    assert buffer.take(older, window(path, older, generation=1)) == buffer.tail()


def test_a_file_of_blank_lines_is_asked_for_in_smaller_windows(tmp_path: Path) -> None:
    path = tmp_path / "blank.log"
    path.write_bytes(b"\n" * 300_000)
    buffer = LogBuffer("a1")
    fetch(buffer, buffer.tail(), path)
    assert 0 < len(buffer.lines) <= 2048


# Lines


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2025-11-21 02:14:07,123 ERROR synth: refused", "error"),
        ("Traceback (most recent call last):", "error"),
        ("requests.exceptions.ConnectionError: refused", "error"),
        ('time=2025-11-21T02:14:07 level=WARN msg="slow"', "warning"),
        ("UserWarning: FP16 is not supported", "warning"),
        ("DEBUG http: keep-alive", "debug"),
        ("0 errors found", ""),
        ("INFO all is well", "info"),
        ("", ""),
    ],
)
def test_levels_are_read_as_people_read_them(text: str, level: str) -> None:
    assert level_of(text) == level


def test_a_line_has_sign_time_and_text_and_no_colour_codes() -> None:
    pieces = log_pieces("2025-11-21 02:14:07 \x1b[31mERROR\x1b[0m it broke", UNICODE)
    assert pieces == (("✗ ", "bad"), ("2025-11-21 02:14:07 ", "muted"), ("ERROR it broke", "bad"))


# The view


def test_the_file_written_last_is_shown_and_stays_while_others_are_written_too(tmp_path: Path) -> None:
    one = log_file(tmp_path / "one.log", id="1")
    two = log_file(tmp_path / "two.log", id="2", modified_ns=NOW - 5 * NS)
    view = select(mirror(logs=(one, two)), NOW, None)
    assert view.file is not None and view.file.id == "1"
    assert select(mirror(logs=(one, two)), NOW, None, "2").file == two
    assert select(mirror(logs=(one, replaced(two, modified_ns=NOW - 90 * NS))), NOW, None, "2").file == one
    assert select(mirror(logs=(one, two)), NOW, "2", "1").file == two
    assert select(mirror(logs=(one,)), NOW, "gone").file == one
    ran = replaced(two, id="3", origin="run")
    assert select(mirror(logs=(one, ran)), NOW, None, "1").file == ran
    assert select(mirror(logs=(one, replaced(ran, modified_ns=NOW - 90 * NS))), NOW, None, "3").file == one


def test_the_log_of_a_run_in_progress_is_shown_before_one_that_has_just_ended(tmp_path: Path) -> None:
    old = log_file(tmp_path / "old.log", id="1", origin="run", run="a-1")
    new = log_file(tmp_path / "new.log", id="2", origin="run", run="a-2", modified_ns=NOW - 5 * NS)
    both, runs = (old, new), (run("a", "stopped", id="a-1"), run("a", "running", id="a-2"))
    assert select(mirror(logs=both, runs=runs), NOW, None, "1").file == new
    told = Progress(done=1, total=9, eta_ns=60 * NS, at_ns=NOW, source="counter")
    third = replaced(new, id="3", run="a-3", progress=told)
    three = (*runs, run("a", "running", id="a-3"))
    assert select(mirror(logs=(*both, third), runs=three), NOW, None, "1").file == third


def test_a_run_that_is_over_has_no_time_left(tmp_path: Path) -> None:
    told = Progress(done=1, total=9, eta_ns=60 * NS, at_ns=NOW, source="counter")
    file = log_file(tmp_path / "old.log", id="1", origin="run", run="a-1", progress=told)
    assert select(mirror(logs=(file,), runs=(run("a", "running", id="a-1"),)), NOW, None).left_ns == 60 * NS
    assert select(mirror(logs=(file,), runs=(run("a", "stopped", id="a-1"),)), NOW, None).left_ns is None
    quiet = log_file(tmp_path / "x.log", id="1", progress=told, modified_ns=NOW)
    assert select(mirror(logs=(quiet,)), NOW + 70 * NS, None).left_ns is None


def test_the_selector_marks_the_shown_file_and_counts_errors(tmp_path: Path) -> None:
    files = tuple(log_file(tmp_path / f"{n}.log", id=str(n), errors=n) for n in range(5))
    words = line(*selector(select(mirror(logs=files), NOW, "2"), UNICODE, 100)).plain
    assert words.rstrip() == " 0.log   1.log  ✗1 [2.log] ✗2  3.log  ✗3  4.log  ✗4"
    narrow = line(*selector(select(mirror(logs=files), NOW, "2"), UNICODE, 30)).plain
    assert narrow == "+1  1.log  ✗1 [2.log] ✗2 +2"
    least = line(*selector(select(mirror(logs=files), NOW, "2"), UNICODE, 22)).plain
    assert least == "+2 [2.log] ✗2 +2"


def test_progress_has_bar_count_rate_and_time_left() -> None:
    progress = Progress(done=9, total=52, rate_per_s=0.01, at_ns=NOW, source="counter", item="s9.m4a")
    words = line(*progress_parts(progress, 4320 * NS, 100, UNICODE)).plain
    assert "17 % · 9/52 it · ETA 1h12m · 36 it/h  s9.m4a" in words
    assert "█" in words
    bare = line(*progress_parts(replaced(progress, total=None, rate_per_s=None), None, 100, UNICODE)).plain
    assert "9 it" in bare and "%" not in bare
    whole = replaced(progress, done=52.0)
    assert "ETA" not in line(*progress_parts(whole, 0, 100, UNICODE)).plain


def test_a_bare_percentage_has_nothing_to_count() -> None:
    progress = Progress(done=22, total=100, unit="%", rate_per_s=0.44, at_ns=NOW, source="percent")
    words = line(*progress_parts(progress, 177 * NS, 100, UNICODE)).plain
    assert words.endswith("░ 22 % · ETA 2m57s")


# The pane


async def test_the_pane_follows_the_end_of_a_growing_file(path: Path) -> None:
    progress = Progress(done=9, total=52, rate_per_s=0.01, at_ns=NOW, source="counter")
    engine = LogEngine(path, progress=progress)
    app = viewer(engine, mode="logs")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "line 007999" in screen_text(app))
        assert "batch.log ── following" in screen_text(app)
        assert "17 % · 9/52 it" in screen_text(app)
        with path.open("a") as file:
            file.write("ERROR the newest line\n")
        engine.more.put_nowait(LogChanged(log=log_file(path)))
        await until(pilot, lambda: "✗ ERROR the newest line" in screen_text(app))


async def test_looking_back_lets_go_of_the_end_and_fetches_older_lines(path: Path) -> None:
    engine = LogEngine(path)
    app = viewer(engine, mode="logs")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "line 007999" in screen_text(app))
        pane, lines = app.desk_screen.query_one(LogsPane), app.desk_screen.query_one(LogLines)
        await pilot.press("pageup")
        await until(pilot, lambda: "G follows" in screen_text(app) and "line 007999" not in screen_text(app))
        shown = screen_text(app).split("\n")[5]
        with path.open("a") as file:
            file.write("a line that must not move the view\n")
        engine.more.put_nowait(LogChanged(log=log_file(path)))
        await until(pilot, lambda: pane.buffer is not None and pane.buffer.has_newer)
        assert screen_text(app).split("\n")[5] == shown
        loaded = len(lines.lines)
        while len(lines.lines) == loaded:
            await pilot.press("pageup")
        assert engine.windows[-1].end is not None
        await pilot.press("G")
        await until(pilot, lambda: "a line that must not" in screen_text(app))
        assert "following" in screen_text(app)


async def test_g_goes_to_the_beginning_of_the_file_and_on_from_there(path: Path) -> None:
    app = viewer(LogEngine(path), mode="logs")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "line 007999" in screen_text(app))
        await pilot.press("g")
        await until(pilot, lambda: "line 000000" in screen_text(app))
        assert "at 0 %" in screen_text(app)
        lines = app.desk_screen.query_one(LogLines)
        loaded = len(lines.lines)
        while len(lines.lines) == loaded:
            await pilot.press("pagedown")
        numbers = [int(text.split()[1]) for text in lines.lines]
        assert numbers == list(range(len(numbers)))


async def test_brackets_change_the_file_and_a_job_can_open_its_log(tmp_path: Path) -> None:
    one, two = written(tmp_path, 5, "one.log"), written(tmp_path, 5, "two.log")
    engine = LogEngine(one)
    files = (log_file(one), log_file(two, id="b2", modified_ns=NOW - NS))
    engine.first = snapshot(logs=files)
    app = viewer(engine)
    async with app.run_test(size=(160, 48)) as pilot:
        await until(pilot, lambda: "[one.log]" in screen_text(app))
        await pilot.press("5", "right_square_bracket")
        await until(pilot, lambda: "[two.log]" in screen_text(app))
        assert engine.windows[-1].log == "b2"
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "[one.log]" in screen_text(app))
        await pilot.press("1")
        app.post_message(OpenLog("b2"))
        await until(pilot, lambda: "[two.log]" in screen_text(app))
        assert app.desk_screen.current == 5


async def test_no_file_and_no_right_say_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    engine = LogEngine(path)
    source = SourceState(name="logs", state="live", at_ns=NOW, message="logs/*.log matches nothing.")
    engine.first = snapshot(logs=(), sources=(source,))
    app = viewer(engine, mode="logs")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "No log file yet." in screen_text(app))
        assert "logs/*.log matches nothing." in screen_text(app) and "[watch]" in screen_text(app)
        engine.refuses = NightdeskError("The file is gone.")
        engine.more.put_nowait(LogChanged(log=log_file(path)))
        await until(pilot, lambda: "⚠ The file is gone." in screen_text(app))
        failed = log_file(path, state="failed", message="permission-denied")
        engine.more.put_nowait(LogChanged(log=failed))
        await until(pilot, lambda: "permission-denied" in screen_text(app))
        await until(pilot, lambda: "✗" in screen_text(app).split("\n")[3])


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (160, 48)])
async def test_hostile_and_endless_lines_stay_harmless(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bad.log"
    bad = HOSTILE.encode("utf-8", "surrogatepass")
    path.write_bytes(
        b"x" * 10_000_000 + b"\n" + bad + b"\n\xff\xfe " + "議事録".encode() * 400 + b"\nlast [/] line"
    )
    progress = Progress(done=1, total=2, unit=HOSTILE, item=HOSTILE, at_ns=NOW, source="tqdm")
    engine = LogEngine(path, name=HOSTILE, progress=progress)
    app = viewer(engine, mode="logs")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "last [/] line" in screen_text(app))
        lines = app.desk_screen.query_one(LogLines)
        await pilot.press("right", "g")
        await until(pilot, lambda: lines.column == 20 and len(lines.lines) == 1)
        await pilot.press("down", "down")
        await until(pilot, lambda: len(lines.lines) == 4)
        for y in range(lines.size.height):
            strip = lines.render_line(y)
            assert safe(strip.text) == strip.text
            assert strip.cell_length == lines.size.width
        assert "\x1b" not in app.export_screenshot()
        assert app.is_running
