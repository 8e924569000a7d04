"""Line numbers and searches in files of any size, also while they grow."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nightdesk.engine.logs import line_index, scan, searches
from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.line_index import LineIndex
from nightdesk.engine.logs.reader import LogReader
from nightdesk.engine.logs.scan import compiled, pattern_matcher, text_matcher
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.logs import LogSearch

SECONDS = 20


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything lies on an edge."""
    monkeypatch.setattr(line_index, "BLOCK", 64)
    monkeypatch.setattr(scan, "BLOCK", 64)


class Log:
    """One file, asked about without a running follower."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.path = path
        self.logs = LogFollower((), path.parent, lambda change: None)
        self.id = self.logs.add_run_log("r", path).id
        self.reader = LogReader(self.logs)

    def append(self, content: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(content)

    def search(self, text: str, at: int = -1, *, regex: bool = False) -> LogSearch:
        """The answer once it is whole."""
        return until(
            lambda: self.reader.search(self.id, text, regex=regex, at=at), lambda found: found.complete
        )

    def places(self, text: str, *, regex: bool = False) -> list[int]:
        """All found lines, asked for one after the other."""
        found, at = [], -1
        while (after := self.search(text, at, regex=regex).after) is not None:
            found.append(after)
            at = after
        return found


def until(ask: Callable[[], LogSearch], true: Callable[[LogSearch], bool]) -> LogSearch:
    limit = time.monotonic() + SECONDS
    while not true(answer := ask()):
        assert time.monotonic() < limit, answer
    return answer


def lines_of(seed: int, count: int) -> list[bytes]:
    dice = random.Random(seed)
    words = (b"alpha", b"Needle", b"nEEdle", b"", b"x" * 70, "größe".encode(), b"42", b"\xff\xfe")
    return [b" ".join(dice.choices(words, k=dice.randrange(4))) for _ in range(count)]


@pytest.fixture(params=["an end", "no end"])
def content(request: pytest.FixtureRequest) -> bytes:
    whole = b"\n".join(lines_of(7, 400)) + b"\nlast needle"
    return whole + (b"\n" if request.param == "an end" else b"")


@pytest.mark.usefixtures("small_blocks")
def test_every_line_is_found_by_its_number(tmp_path: Path, content: bytes) -> None:
    log = Log(tmp_path / "a.log", content)
    lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n")
    at = 0
    for number, raw in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        window = log.reader.line(log.id, number, max_bytes=1)
        assert (window.start, window.first_line, window.lines[0]) == (at, number, lines[number - 1])
        at += len(raw) + 1
    index = log.reader.index(log.id)
    assert (index.lines, index.complete) == (len(lines), True)


def test_a_line_behind_the_last_one_is_the_last_one(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"one\ntwo\n")
    window = log.reader.line(log.id, 99)
    assert (window.lines, window.first_line) == (("two",), 2)


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"")
    assert log.reader.index(log.id).lines == 0
    assert log.reader.line(log.id, 1).lines == ()


@pytest.mark.usefixtures("small_blocks")
def test_a_window_knows_the_number_of_its_first_line_once_the_lines_are_counted(tmp_path: Path) -> None:
    content = b"".join(b"%d\n" % number for number in range(1, 3001))
    log = Log(tmp_path / "a.log", content)
    limit = time.monotonic() + SECONDS
    while (window := log.reader.window(log.id, max_bytes=20)).first_line is None:
        assert time.monotonic() < limit
    assert window.lines[0] == str(window.first_line)


@pytest.mark.usefixtures("small_blocks")
def test_an_index_that_grew_with_its_file_is_the_index_of_the_whole(tmp_path: Path) -> None:
    content = b"\n".join(lines_of(3, 300))
    path = tmp_path / "a.log"
    path.write_bytes(b"")
    index = LineIndex()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for at in range(0, len(content), 97):
            with path.open("ab") as file:
                file.write(content[at : at + 97])
            size = path.stat().st_size
            index.extend(descriptor, size, lambda: False)
            assert index.lines(descriptor, size) == content[:size].count(b"\n") + (
                content[size - 1 : size] != b"\n"
            )
            for number in (1, 17, 120, 299):
                head = b"\n".join(content[:size].split(b"\n")[: number - 1])
                expected = 0 if number == 1 else len(head) + 1
                if expected <= index.indexed_bytes and content[:size].count(b"\n") >= number - 1:
                    assert index.offset_of(descriptor, number) == expected
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "text", ["needle", "NEEDLE", "42", "GRÖSSE", "größe", "nothing of the kind", "alpha needle"]
)
def test_words_are_found_in_any_case(tmp_path: Path, content: bytes, text: str) -> None:
    log = Log(tmp_path / "a.log", content)
    expected, at = [], 0
    for raw in content.split(b"\n"):
        if text.lower() in raw.decode("utf-8", "replace").lower():
            expected.append(at)
        at += len(raw) + 1
    answer = log.search(text)
    assert (answer.count, answer.fault, answer.size_bytes) == (len(expected), None, len(content))
    assert log.places(text) == expected
    for number, place in enumerate(expected, 1):
        assert log.search(text, place).place == number
        assert log.search(text, place).before == (expected[number - 2] if number > 1 else None)


def test_a_search_goes_on_with_what_is_appended(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"one needle\ntwo nee")
    assert log.search("needle").count == 1
    log.append(b"dle")
    assert (log.search("needle").count, log.places("needle")) == (2, [0, 11])
    log.append(b" still the same line\nthree NEEDLE\n")
    assert (log.search("needle").count, log.places("needle")) == (3, [0, 11, 42])


def test_a_pattern_is_looked_for_in_a_process_of_its_own(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"item 1 took 20 ms\nitem 2 took 2000 ms\nITEM 3 took 3000 ms\n")
    assert log.places(r"item \d+ took \d{4,}", regex=True) == [18, 38]
    assert log.search(r"^item", regex=True).count == 3
    assert log.search(r"ms$", regex=True).count == 3


def test_a_pattern_that_takes_for_ever_is_ended_and_the_engine_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path / "a.log", b"a" * 60 + b"!\n")
    monkeypatch.setattr(searches, "WAIT_SECONDS", 0.01)
    answer = log.reader.search(log.id, "(a+)+$", regex=True)
    assert (answer.complete, answer.count) == (False, 0)
    assert log.search("aaa").count == 1


def test_a_search_that_nobody_wants_any_more_leaves_no_process_with_an_endless_pattern(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"b" * 60 + b"!\n")
    search = searches.Search("(b+)+$", True, pattern_matcher(compiled("(b+)+$")))
    with path.open("rb") as file:
        assert not search.ask(file.fileno(), 62, -1).complete
    limit = time.monotonic() + SECONDS
    while not (found := _scanning()):
        assert time.monotonic() < limit
    search.cancel()
    psutil.wait_procs(found, timeout=SECONDS)
    assert not [process for process in found if process.is_running()]


def _scanning() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "(b+)+$" in child.cmdline()]


@pytest.mark.parametrize(
    ("text", "words"), [("(", "pattern can't be read"), ("a{99999999999999}", "pattern")]
)
def test_a_broken_pattern_is_refused_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    log = Log(tmp_path / "a.log", b"one\n")
    with pytest.raises(UsageError, match=words):
        log.reader.search(log.id, text, regex=True)


@pytest.mark.parametrize("text", ["", "x" * 401, "a\0b"])
def test_a_search_for_nothing_or_too_much_is_refused(tmp_path: Path, text: str) -> None:
    log = Log(tmp_path / "a.log", b"one\n")
    with pytest.raises(UsageError, match="1 to 400 characters"):
        log.reader.search(log.id, text)


def test_a_replaced_file_is_counted_and_searched_anew(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"needle\n" * 5)
    assert log.search("needle").count == 5
    assert log.reader.index(log.id).lines == 5
    log.path.write_bytes(b"needle\n" * 2)
    log.logs.add_run_log("r", log.path)
    tail = log.logs._tails[log.id]
    tail.check(1)
    assert log.search("needle").count == 2
    assert log.reader.index(log.id).lines == 2


def test_hits_beyond_the_limit_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "HITS_MOST", 3)
    log = Log(tmp_path / "a.log", b"needle\n" * 10)
    assert log.search("needle").count == 10


def test_a_line_of_megabytes_is_searched_to_its_end(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"one\n" + b"x" * 3_000_000 + b" needle at the end\nneedle\n")
    assert log.places("needle") == [4, 3_000_023]


@pytest.fixture
def stretches(tmp_path: Path) -> Iterator[tuple[int, bytes]]:
    data = b"\n".join(lines_of(11, 200))
    (tmp_path / "a.log").write_bytes(data)
    descriptor = os.open(tmp_path / "a.log", os.O_RDONLY)
    yield descriptor, data
    os.close(descriptor)


@pytest.mark.usefixtures("small_blocks")
def test_a_scan_in_parts_finds_what_a_scan_in_one_finds(stretches: tuple[int, bytes]) -> None:
    descriptor, data = stretches
    for matcher in (text_matcher("needle"), pattern_matcher(compiled("n.*e"))):
        whole = [at for _, found in scan.scan(descriptor, 0, len(data), matcher) for at in found]
        parts: list[int] = []
        at = 0
        for stop in (0, 13, 500, 501, 2000, len(data)):
            for scanned, found in scan.scan(descriptor, at, stop, matcher):
                at = scanned
                parts += found
        assert parts == whole


def test_an_unknown_file_can_not_be_asked_about(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log", b"one\n")
    with pytest.raises(NightdeskError, match="No log file with the id"):
        log.reader.search("nope", "x")
