"""Several logs in one: merged by time, only the wanted lines, across rotations, compressed files and UTF-16."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from nightdesk.engine.logs import views
from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.reader import LogReader
from nightdesk.engine.logs.views import LogViews
from nightdesk.model.errors import UsageError
from nightdesk.model.logs import LogFile, LogView

BEGIN = datetime(2025, 11, 21, 23, 0, 0).timestamp()
SECONDS = 60


def stamped(second: float, words: str) -> str:
    return (
        f"{datetime.fromtimestamp(BEGIN + second):%Y-%m-%d %H:%M:%S},{int(second * 1000) % 1000:03} {words}\n"
    )


class Night:
    """Logs of one folder, asked about without a running follower."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        self.logs = LogFollower((), folder, lambda change: None)
        for name, text in files.items():
            self.add(f"{name}.log", text.encode())
        self.reader = LogReader(self.logs, LogViews(self.logs.files, {"r-a.log": "transcribe"}.get))

    def add(self, name: str, content: bytes) -> LogFile:
        (self.folder / name).write_bytes(content)
        return self.logs.add_run_log(f"r-{name}", self.folder / name)

    def view(self, query: str = "") -> LogView:
        """The view once it holds all that there is."""
        until = time.monotonic() + SECONDS
        while not (found := self.reader.view(query)).complete:
            assert time.monotonic() < until, found
        return found

    def lines(self, query: str = "") -> list[tuple[str, str]]:
        """(name of the file, line) of all lines of a view, read in windows."""
        view, found, at = self.view(query), [], 0
        while at < view.size_bytes:
            window = self.reader.window(view.id, start=at, max_bytes=300)
            assert len(window.files) == len(window.origins) == len(window.lines)
            names = [view.files[number].name for number in window.files]
            found += list(zip(names, window.lines, strict=True))
            at = window.end
        return found

    def texts(self, query: str = "") -> list[str]:
        return [line.partition(" INFO ")[2] or line for _, line in self.lines(query)]


def test_lines_of_several_files_stand_in_the_order_of_time_each_with_its_file(tmp_path: Path) -> None:
    night = Night(
        tmp_path,
        a=stamped(1, "INFO one") + stamped(5, "INFO three"),
        b=stamped(3, "INFO two") + "  what belongs to it\n" + stamped(5, "INFO four"),
    )
    assert night.lines() == [
        ("a.log", stamped(1, "INFO one").strip()),
        ("b.log", stamped(3, "INFO two").strip()),
        ("b.log", "  what belongs to it"),
        ("a.log", stamped(5, "INFO three").strip()),
        ("b.log", stamped(5, "INFO four").strip()),
    ]


def test_each_line_knows_where_it_stands_in_its_file(tmp_path: Path) -> None:
    night = Night(tmp_path, a=stamped(1, "one") + stamped(5, "two"), b=stamped(3, "three") + "more\n")
    view = night.view()
    window = night.reader.window(view.id)
    for number, origin, line in zip(window.files, window.origins, window.lines, strict=True):
        content = Path(view.files[number].path).read_bytes()
        assert content[origin:].split(b"\n")[0].decode() == line


def test_any_lines_merged_are_those_of_all_files_each_in_its_own_order(tmp_path: Path) -> None:
    rng = random.Random(5)
    files, expected = {}, {}
    for name in "abcd":
        lines, second = [], 0.0
        for n in range(rng.randint(0, 300)):
            second += rng.choice([0, 0.5, 3])
            kind = rng.random()
            lines.append(
                stamped(second, f"{name}{n}")
                if kind < 0.6
                else f"{name}{n}\n"
                if kind < 0.8
                else f"  {name}{n}\n"
            )
        files[name] = "".join(lines)
        expected[f"{name}.log"] = files[name].split("\n")[:-1]
    found = Night(tmp_path, **files).lines()
    for name, lines in expected.items():
        assert [line for file, line in found if file == name] == lines
    stamps = [line[:23] for _, line in found if line[:4] == "2025"]
    assert stamps == sorted(stamps)


def test_what_is_appended_comes_behind_and_nothing_twice(tmp_path: Path) -> None:
    night = Night(tmp_path, a=stamped(1, "INFO one"), b=stamped(2, "INFO two"))
    first = night.view()
    with (tmp_path / "a.log").open("a") as file:
        file.write(stamped(4, "INFO four") + "no end")
    with (tmp_path / "b.log").open("a") as file:
        file.write(stamped(3, "INFO three"))
    assert night.texts() == ["one", "two", "three", "four"]
    assert night.view().id == first.id
    with (tmp_path / "a.log").open("a") as file:
        file.write(" yet\n")
    assert night.texts()[-1] == "no end yet"


def test_rotated_files_also_compressed_ones_stand_before_the_one_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "a.log.2.gz").write_bytes(gzip.compress(stamped(1, "INFO one").encode()))
    (tmp_path / "a.log.1").write_text(stamped(2, "INFO two"))
    os.utime(tmp_path / "a.log.2.gz", (BEGIN, BEGIN))
    os.utime(tmp_path / "a.log.1", (BEGIN + 9, BEGIN + 9))
    (tmp_path / "a.logical").write_text("another file\n")
    night = Night(tmp_path, a=stamped(3, "INFO three"))
    assert [(name, line[24:]) for name, line in night.lines()] == [
        ("a.log.2.gz", "INFO one"),
        ("a.log.1", "INFO two"),
        ("a.log", "INFO three"),
    ]


def test_a_compressed_file_that_is_damaged_says_so_where_it_ends(tmp_path: Path) -> None:
    whole = gzip.compress(("".join(stamped(n, f"INFO {n}") for n in range(3000))).encode())
    half = len(whole) // 2
    (tmp_path / "a.log.1.gz").write_bytes(whole[:half] + b"\xff" * 64 + whole[half + 64 :])
    night = Night(tmp_path, a=stamped(9000, "INFO end"))
    texts = night.texts()
    assert texts[0] == "0" and texts[-1] == "end"
    assert any("damaged from here on" in text for text in texts)


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_its_mark_is_read_and_followed(tmp_path: Path, coding: str) -> None:
    mark = b"\xff\xfe" if coding == "utf-16-le" else b"\xfe\xff"
    night = Night(tmp_path)
    log = night.add("a.log", mark + stamped(1, "INFO größe").encode(coding))
    assert night.reader.window(log.id).lines == (stamped(1, "INFO größe").strip(),)
    assert (log.last_line[24:], log.size_bytes) == ("INFO größe", len(stamped(1, "INFO größe").encode()))
    data = stamped(2, "[3/5] ERROR 🌙 two").encode(coding)
    for number in range(len(data)):
        with (tmp_path / "a.log").open("ab") as file:
            file.write(data[number : number + 1])
        night.logs._tails[log.id].check(1)
    told = night.logs._tails[log.id].view()
    assert (told.last_line[24:], told.errors) == ("[3/5] ERROR 🌙 two", 1)
    assert [line[24:] for line in night.reader.window(log.id).lines] == ["INFO größe", "[3/5] ERROR 🌙 two"]
    assert night.texts() == ["größe", stamped(2, "[3/5] ERROR 🌙 two").strip()]
    (tmp_path / "a.log").write_bytes(b"plain now, and longer than before " + b"x" * 400)
    night.logs._tails[log.id].check(2)
    assert night.reader.window(log.id).lines[0].startswith("plain now")


def test_a_compressed_file_is_read_like_any_other_once_somebody_looks(tmp_path: Path) -> None:
    night = Night(tmp_path)
    text = "".join(stamped(n, f"INFO {n}") for n in range(2000)).encode()
    log = night.add("old.log.gz", gzip.compress(text[:50_000]) + gzip.compress(text[50_000:]))
    assert log.last_line == "(compressed)"
    window = night.reader.window(log.id)
    assert (window.lines[-1][24:], window.size_bytes) == ("INFO 1999", len(text))
    tail = night.logs._tails[log.id]
    assert tail.differs()
    tail.check(1)
    assert tail.view().size_bytes == len(text) and not tail.differs()


def test_only_wanted_lines_are_in_a_view_tracebacks_whole(tmp_path: Path) -> None:
    night = Night(
        tmp_path,
        a=stamped(1, "INFO begin") + stamped(2, "WARNING slow voice") + stamped(3, "ERROR no voice")
        + 'Traceback (most recent call last):\n  File "run.py", line 3, in main\nValueError: bad\n'
        + stamped(4, "INFO end"),
        b=stamped(2.5, "INFO Voice of another") + '{"level": 50, "message": "json"}\n',
    )  # fmt: skip
    assert [line for _, line in night.lines("level:error")] == [
        '{"level": 50, "message": "json"}',
        stamped(3, "ERROR no voice").strip(),
        "Traceback (most recent call last):",
        '  File "run.py", line 3, in main',
        "ValueError: bad",
    ]
    assert night.lines("level:warning")[0][1][24:] == "WARNING slow voice"
    assert len(night.lines("VOICE")) == 3 + 3
    assert [line[24:] for _, line in night.lines("~(slow|end)")] == ["WARNING slow voice", "INFO end"]
    assert [line[24:] for _, line in night.lines("file:b voice")] == ["INFO Voice of another"]
    assert {name for name, _ in night.lines("job:transcribe")} == {"a.log"}
    begin, end = (f"{datetime.fromtimestamp(BEGIN + n):%Y-%m-%dT%H:%M:%S}" for n in (2, 3))
    span = night.lines(f"file:a since:{begin} until:{end}")
    assert (span[0][1][24:28], span[-1][1]) == ("WARN", "ValueError: bad")


def test_lines_of_an_item_are_those_from_its_progress_line_to_the_next(tmp_path: Path) -> None:
    night = Night(
        tmp_path,
        a=stamped(1, "[1/3] Processing a.mp3") + stamped(2, "INFO loading") + stamped(3, "[2/3] Processing b.mp3")
        + stamped(4, "INFO working") + "  more\n" + stamped(5, "[3/3] Processing c.mp3"),
    )  # fmt: skip
    assert [line.strip()[-8:] for _, line in night.lines("item:b.mp3")] == ["ng b.mp3", " working", "more"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("level:loud", "no level 'loud'"),
        ("since:soon", "not a point in time"),
        ("~(", "pattern can't be read"),
        ("file:nothing", "No followed log"),
        ("x" * 2000, "at most 1,000"),
    ],
)
def test_a_question_that_can_not_be_read_is_refused_with_the_reason(
    tmp_path: Path, query: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        Night(tmp_path, a="one\n").reader.view(query)


def test_of_big_logs_the_newest_are_merged_and_the_view_says_from_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BUDGET", 40_000)
    long = "".join(stamped(n, f"INFO {n} of the long night") for n in range(5000))
    night = Night(tmp_path, a=long, b=stamped(10, "INFO early") + stamped(4990, "INFO late"))
    view = night.view()
    assert view.since_ns is not None and view.since_ns > (BEGIN + 3000) * 10**9
    texts = night.texts()
    assert texts[-1] == "4999 of the long night" and "late" in texts and "early" not in texts
    assert night.texts("early") == ["early"]


@pytest.mark.parametrize("way", ["rename", "copy-truncate", "recreate"])
def test_a_view_follows_each_rotation_and_loses_and_doubles_nothing(tmp_path: Path, way: str) -> None:
    """A writer that races: it rotates when it pleases, and waits only where a copy would lose lines anyway."""
    night = Night(tmp_path, a="")
    path, total, over = tmp_path / "a.log", 600, threading.Event()
    looked = [0]

    def be_seen() -> None:
        """Wait until the reader has looked at all that was written: it began and ended a look meanwhile."""
        goal, until = looked[0] + 2, time.monotonic() + SECONDS
        while looked[0] < goal:
            assert time.monotonic() < until
            time.sleep(0.001)

    def write() -> None:
        for n in range(total):
            with path.open("a") as file:
                file.write(stamped(n, f"INFO {n}"))
            if n % 150 == 149 and n + 1 < total:
                be_seen()
                if way == "copy-truncate":
                    shutil.copy(path, tmp_path / f"old-{n}")
                    path.write_bytes(b"")
                    be_seen()
                elif way == "rename":
                    path.rename(tmp_path / f"kept-{n}")
                else:
                    path.unlink()
                    path.touch()
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    until = time.monotonic() + SECONDS
    last = False
    while not last and time.monotonic() < until:
        last = over.is_set()
        view = night.reader.view("")
        looked[0] += view.complete
    writer.join()
    assert night.texts() == [str(n) for n in range(total)]


@pytest.mark.parametrize("way", ["shifted", "compressed", "compressed anew"])
def test_a_log_that_is_rotated_several_times_while_nobody_looks_is_whole_when_somebody_does(
    tmp_path: Path, way: str
) -> None:
    night = Night(tmp_path, a=stamped(0, "INFO 0"))
    assert night.texts() == ["0"]
    path, at = tmp_path / "a.log", 1
    for _ in range(4):
        for n in range(at, at + 5):
            with path.open("a") as file:
                file.write(stamped(n, f"INFO {n}"))
        at += 5
        rotate(path, way)
        begin_later(path)
    with path.open("a") as file:
        file.write(stamped(at, f"INFO {at}"))
    assert night.texts() == [str(n) for n in range(at + 1)]


@pytest.mark.parametrize("way", ["shifted", "compressed", "compressed anew"])
def test_a_writer_that_rotates_as_it_pleases_while_the_view_is_read_loses_and_doubles_nothing(
    tmp_path: Path, way: str
) -> None:
    night = Night(tmp_path, a="")
    path, total, over = tmp_path / "a.log", 400, threading.Event()

    def write() -> None:
        for n in range(total):
            with path.open("a") as file:
                file.write(stamped(n, f"INFO {n}"))
            if n % 50 == 49:
                rotate(path, way)
                begin_later(path)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        night.reader.view("")
    writer.join()
    assert night.texts() == [str(n) for n in range(total)]


def rotate(path: Path, way: str) -> None:
    """As logrotate does: the older ones one further, the newest compressed by the real gzip, or with a new time."""
    ending = "" if way == "shifted" else ".gz"
    for number in range(9, 0, -1):
        if (older := Path(f"{path}.{number}{ending}")).exists():
            older.rename(f"{path}.{number + 1}{ending}")
    path.rename(f"{path}.1")
    if way == "compressed":
        subprocess.run(["gzip", f"{path}.1"], check=True)
    elif way == "compressed anew":
        Path(f"{path}.1.gz").write_bytes(gzip.compress(Path(f"{path}.1").read_bytes()))
        Path(f"{path}.1").unlink()


def begin_later(path: Path) -> None:
    """A new, empty file that is younger than the one before, by the clock of the file system."""
    before = max(each.stat().st_mtime_ns for each in path.parent.iterdir())
    path.touch()
    while path.stat().st_mtime_ns <= before:
        path.touch()
