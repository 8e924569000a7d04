"""Logs that real programs write, cut, rotate and delete while they are followed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.tail import HISTORY, Tail
from nightdesk.model.desk import Change, LogChanged, LogGone
from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogFile, Progress

SECONDS = 20
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop that the engine knows."""
    return "asyncio"


class Night:
    """A follower that runs, and what it said."""

    def __init__(self, base: Path, *patterns: str) -> None:
        self.changes: list[Change] = []
        self.progress: list[tuple[str, Progress]] = []
        self.logs = LogFollower(
            patterns,
            base,
            self.changes.append,
            lambda run, progress, _: self.progress.append((run, progress)),
        )

    def file(self, path: Path) -> LogFile | None:
        return next((log for log in self.logs.files() if log.path == str(path)), None)

    async def until(self, path: Path, true: Callable[[LogFile], object]) -> LogFile:
        async with asyncio.timeout(SECONDS):
            while (log := self.file(path)) is None or not true(log):
                await asyncio.sleep(0.01)
        return log


@asynccontextmanager
async def following(base: Path, *patterns: str) -> AsyncIterator[Night]:
    night = Night(base, *patterns)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(night.logs.run())
        yield night
        task.cancel()


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


async def test_growth_shows_size_last_line_and_progress(tmp_path: Path) -> None:
    log = tmp_path / "batch.log"
    append(log, "starting\n")
    async with following(tmp_path, "*.log") as night:
        await night.until(log, lambda file: file.last_line == "starting")
        append(log, "[3/9] Processing a.mp3\n")
        file = await night.until(log, lambda file: file.progress)
        assert file.progress is not None
        assert (file.progress.done, file.progress.total, file.progress.item) == (2, 9, "a.mp3")
        assert file.last_line == "[3/9] Processing a.mp3"
        assert file.size_bytes == log.stat().st_size
        assert file.origin == "watch"


async def test_a_progress_bar_without_line_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "bar.log"
    append(log, "x\n")
    async with following(tmp_path, "*.log") as night:
        await night.until(log, lambda file: True)
        append(log, "\r 10%|█  | 1/10 [00:01<00:09, 1.0it/s]\r 20%|██ | 2/10 [00:02<00:08, 1.0it/s]")
        file = await night.until(log, lambda file: file.progress)
        assert file.progress is not None
        assert file.progress.done == 2
        assert file.last_line.startswith("20%|")


async def test_a_new_file_and_a_new_folder_are_found(tmp_path: Path) -> None:
    async with following(tmp_path, "*.log", "later/*.log") as night:
        async with asyncio.timeout(SECONDS):
            while set(night.logs.empty_patterns()) != {"*.log", "later/*.log"}:
                await asyncio.sleep(0.01)
        append(tmp_path / "new.log", "here\n")
        await night.until(tmp_path / "new.log", lambda file: file.last_line == "here")
        (tmp_path / "later").mkdir()
        append(tmp_path / "later" / "deep.log", "there\n")
        await night.until(tmp_path / "later" / "deep.log", lambda file: file.last_line == "there")
        append(tmp_path / "later" / "deep.log", "again\n")
        await night.until(tmp_path / "later" / "deep.log", lambda file: file.last_line == "again")
        assert night.logs.empty_patterns() == ()


async def test_a_truncated_file_begins_a_new_generation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, "[5/9] Processing x\nERROR: bad\n")
    async with following(tmp_path, "*.log") as night:
        file = await night.until(log, lambda file: file.progress)
        assert (file.generation, file.errors) == (0, 1)
        log.write_text("new\n")
        file = await night.until(log, lambda file: file.last_line == "new")
        assert (file.generation, file.progress, file.errors, file.size_bytes) == (1, None, 0, 4)


async def test_a_rotated_file_begins_a_new_generation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, "old\n")
    async with following(tmp_path, "*.log") as night:
        await night.until(log, lambda file: file.last_line == "old")
        log.rename(tmp_path / "a.log.1")
        append(log, "fresh, and longer than before\n")
        file = await night.until(log, lambda file: file.last_line.startswith("fresh"))
        assert file.generation == 1
        assert night.file(tmp_path / "a.log.1") is None


async def test_a_deleted_file_is_gone_and_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, "one\n")
    async with following(tmp_path, "*.log") as night:
        await night.until(log, lambda file: file.last_line == "one")
        log.unlink()
        await night.until(log, lambda file: file.state == "gone")
        append(log, "two\n")
        file = await night.until(log, lambda file: file.state == "live" and file.last_line == "two")
        assert file.generation == 1


async def test_a_run_log_reports_progress_of_its_run(tmp_path: Path) -> None:
    log = tmp_path / "runs" / "r1" / "out.log"
    log.parent.mkdir(parents=True)
    log.touch()
    async with following(tmp_path) as night:
        added = night.logs.add_run_log("r1", log, started_ns=7)
        assert (added.origin, added.run, added.started_ns) == ("run", "r1", 7)
        await night.until(log, lambda file: True)
        append(log, "[2/4] Transcribing b.mp3\n")
        await night.until(log, lambda file: file.progress)
        assert [(run, progress.done) for run, progress in night.progress] == [("r1", 1)]
        night.logs.remove(added.id)
        assert night.logs.files() == ()
        assert LogGone(id=added.id) in night.changes


async def test_a_busy_file_is_published_at_most_four_times_a_second(tmp_path: Path) -> None:
    log = tmp_path / "busy.log"
    append(log, "0\n")
    loop = asyncio.get_running_loop()
    async with following(tmp_path, "*.log") as night:
        await night.until(log, lambda file: True)
        night.changes.clear()
        began = loop.time()
        for number in range(100):
            append(log, f"line {number}\n")
            await asyncio.sleep(0.01)
        await night.until(log, lambda file: file.last_line == "line 99")
        took = loop.time() - began
        published = [change for change in night.changes if isinstance(change, LogChanged)]
        assert 1 <= len(published) <= took * 4 + 2


async def test_patterns_can_change(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "a\n")
    append(tmp_path / "b.txt", "b\n")
    async with following(tmp_path, "*.log") as night:
        await night.until(tmp_path / "a.log", lambda file: True)
        night.logs.set_patterns(["*.txt"])
        await night.until(tmp_path / "b.txt", lambda file: True)
        async with asyncio.timeout(SECONDS):
            while night.file(tmp_path / "a.log") is not None:
                await asyncio.sleep(0.01)


async def test_nothing_happens_to_files_that_do_not_change(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "a\n")
    async with following(tmp_path, "*.log") as night:
        await night.until(tmp_path / "a.log", lambda file: True)
        append(tmp_path / "other.bin", "x")
        append(tmp_path / "b.log", "b\n")
        await night.until(tmp_path / "b.log", lambda file: True)
        names = [change.log.name for change in night.changes if isinstance(change, LogChanged)]
        assert names.count("a.log") == 1
        assert "other.bin" not in names


def test_a_file_without_the_right_to_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "secret.log"
    log.write_text("x\n")
    log.chmod(0)
    tail = Tail(log, "watch", None, None)
    if os.geteuid() == 0:

        def refuse() -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(tail, "open", refuse)
    tail.check(1)
    view = tail.view()
    assert view.state == "failed"
    assert view.message == f"No right to read {log}: chmod or the group of its folder can give it."


def test_a_pipe_is_not_followed_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.log")
    tail = Tail(tmp_path / "pipe.log", "watch", None, None)
    tail.check(1)
    assert tail.view().state == "failed"


def test_only_the_end_of_a_big_file_is_read_at_first(tmp_path: Path) -> None:
    log = tmp_path / "big.log"
    log.write_bytes(
        b"ERROR early\n" + b"x" * 99 * 10_000 + b"\n" * 99 + b"y" * HISTORY + b"\n[3/9] Processing z\n"
    )
    tail = Tail(log, "watch", None, None)
    tail.check(1)
    view = tail.view()
    assert view.errors == 0
    assert view.progress is not None and view.progress.done == 2
    assert view.last_line == "[3/9] Processing z"


def test_a_file_that_was_emptied_and_grew_past_the_old_end_is_noticed(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("first night\n")
    tail = Tail(log, "watch", None, None)
    tail.check(1)
    log.write_text("second night, longer than the first\n")
    tail.check(2)
    assert tail.view().generation == 1
    assert tail.view().last_line.startswith("second night")


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("2025-11-21 23:00:00 - ERROR - model not found\n", 1),
        ("ERROR:root:bad\n[ERROR] worse\n", 2),
        ("Traceback (most recent call last):\n  File x\nValueError: y\n", 1),
        ('time=2025 level=ERROR source=x msg="boom"\nlevel=error msg=x\n', 2),
        ("no ERRORS here, TERROR neither\nerror rate 0\n", 0),
        ("CRITICAL | out of memory\nFATAL: x\n", 2),
        ("ERROR:root:bad\nTraceback (most recent call last):\n  File x\nValueError: y\nERROR:root:bad\n", 2),
        ("ERROR:root:bad\nINFO on\nTraceback (most recent call last):\n  File x\nValueError: y\n", 2),
    ],
)
def test_lines_that_look_like_errors_are_counted(tmp_path: Path, text: str, errors: int) -> None:
    log = tmp_path / "a.log"
    log.write_text(text)
    tail = Tail(log, "watch", None, None)
    tail.check(1)
    assert tail.view().errors == errors


def test_a_rare_count_is_found_behind_a_burst_of_others(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("begins\n")
    tail = Tail(path, "watch", None, None)
    tail.check(1)
    with path.open("a") as file:
        file.write("Processing file 3 of 12: x.mp3\n")
        file.writelines(f"2026-01-01 02:03:04,567 INFO step {number} of 900 done\n" for number in range(200))
        file.write("step 2")
    tail.check(2)
    view = tail.view()
    assert view.progress is not None and (view.progress.done, view.progress.total) == (2, 12)
    assert view.last_line == "step 2"
    with path.open("a") as file:
        file.write("01 of 900\nends\n")
    tail.check(3)
    assert tail.view().last_line == "ends"


def test_escapes_in_the_last_line_are_made_harmless(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("\x1b]52;c;ZXZpbA==\x07 done\n")
    tail = Tail(log, "watch", None, None)
    tail.check(1)
    assert "\x1b" not in tail.view().last_line
    assert tail.view().last_line.endswith("done")


class Windows:
    """Windows on one file without a running follower."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.content = content
        self.logs = LogFollower((), path.parent, lambda change: None)
        self.id = self.logs.add_run_log("r", path).id

    def read(self, **bounds: int) -> tuple[tuple[str, ...], int, int]:
        window = self.logs.window(self.id, **bounds)
        return window.lines, window.start, window.end


def test_a_window_ends_at_the_end_of_the_file(tmp_path: Path) -> None:
    log = Windows(tmp_path / "a.log", b"one\ntwo\nthree\n")
    assert log.read() == (("one", "two", "three"), 0, 14)
    assert log.read(max_bytes=7) == (("three",), 8, 14)
    assert log.read(max_bytes=10) == (("two", "three"), 4, 14)
    assert log.read(end=8) == (("one", "two"), 0, 8)
    assert log.read(end=6) == (("one",), 0, 4)
    assert log.read(start=4) == (("two", "three"), 4, 14)
    assert log.read(start=5) == (("three",), 8, 14)
    assert log.read(start=0, max_bytes=5) == (("one",), 0, 4)
    assert log.read(start=99) == ((), 14, 14)
    assert log.read(end=0) == ((), 0, 0)


def test_windows_put_together_are_the_file(tmp_path: Path) -> None:
    content = b"".join(b"line %d %s\n" % (n, b"x" * (n * 7 % 50)) for n in range(500))
    log = Windows(tmp_path / "a.log", content)
    lines: list[str] = []
    at = 0
    while at < len(content):
        piece, start, after = log.read(start=at, max_bytes=333)
        assert start == at
        lines += piece
        at = after
    assert lines == content.decode().splitlines()
    back: list[str] = []
    at = len(content)
    while at > 0:
        piece, before, end = log.read(end=at, max_bytes=333)
        assert end == at
        back[:0] = piece
        at = before
    assert back == lines


def test_a_line_without_end_is_shown_and_named(tmp_path: Path) -> None:
    log = Windows(tmp_path / "a.log", b"one\ntw")
    window = log.logs.window(log.id)
    assert (window.lines, window.unfinished) == (("one", "tw"), 4)


def test_a_line_of_megabytes_is_cut_and_says_so(tmp_path: Path) -> None:
    log = Windows(tmp_path / "a.log", b"one\n" + b"x" * 9_000_000 + b"\nlast\n")
    lines, start, end = log.read(end=9_000_005)
    assert (start, end, len(lines)) == (4, 9_000_005, 1)
    assert lines[0].endswith("… (8,934,464 bytes hidden)")
    assert log.read(start=4)[1:] == (4, 9_000_005)
    assert log.read(max_bytes=100)[0] == ("last",)


def test_a_progress_bar_of_megabytes_is_its_last_frame(tmp_path: Path) -> None:
    frames = b"".join(b"\r%3d%%|bar" % (n % 101) for n in range(600_000)) + b"\r100%|end"
    log = Windows(tmp_path / "a.log", b"one\n" + frames)
    assert log.read(max_bytes=1000)[0] == ("100%|end",)


def test_bytes_that_are_no_text_are_replaced_in_a_window(tmp_path: Path) -> None:
    assert Windows(tmp_path / "a.log", b"a\xffb\r\n").read()[0] == ("a\ufffdb",)


@pytest.mark.parametrize("wrong", ["nope", "../../etc/passwd", "/etc/passwd", ""])
def test_only_followed_files_can_be_read(tmp_path: Path, wrong: str) -> None:
    log = Windows(tmp_path / "a.log", b"one\n")
    with pytest.raises(NightdeskError, match="No log file with the id"):
        log.logs.window(wrong)


def test_a_file_that_vanished_gives_an_error_that_says_so(tmp_path: Path) -> None:
    log = Windows(tmp_path / "a.log", b"one\n")
    (tmp_path / "a.log").unlink()
    with pytest.raises(NightdeskError, match="can't be read: No such file"):
        log.read()


@pytest.mark.parametrize(("late_s", "told_by"), [(2, "the file"), (600, "the reader")])
def test_progress_is_of_when_it_was_written_unless_the_files_clock_is_another(
    tmp_path: Path, late_s: int, told_by: str
) -> None:
    log = tmp_path / "batch.log"
    append(log, "starting\n")
    tail = Tail(log, "run", "r-1", 0)
    tail.check(10**18)
    begun_ns = log.stat().st_mtime_ns
    append(log, "[3/9] Processing a.mp3\n")
    os.utime(log, ns=(10**18, 10**18))
    now_ns = 10**18 + late_s * 10**9
    tail.check(now_ns)
    progress = tail.view().progress
    assert progress is not None
    assert progress.at_ns == (10**18 if told_by == "the file" else now_ns)
    assert tail.after_ns == begun_ns
