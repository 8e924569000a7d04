"""Every kind of rotation with a writer that goes on meanwhile: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nightdesk.engine.logs.tail import Tail
from nightdesk.engine.logs.window import read_lines

ROUNDS, LINES = 12, 40


def renamed(path: Path, number: int) -> None:
    path.rename(path.with_suffix(f".{number}"))


def deleted(path: Path, number: int) -> None:
    path.unlink()


def emptied(path: Path, number: int) -> None:
    path.write_bytes(b"")


def copied_and_truncated(path: Path, number: int) -> None:
    path.with_suffix(f".{number}").write_bytes(path.read_bytes())
    os.truncate(path, 0)


def all_lines(path: Path) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(read_lines(descriptor, os.fstat(descriptor).st_size, 0, None, 1 << 20).lines)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("rotate", [renamed, deleted, emptied, copied_and_truncated])
def test_each_rotation_is_one_generation_whose_errors_are_counted_once(
    tmp_path: Path, rotate: Callable[[Path, int], None]
) -> None:
    path = tmp_path / "night.log"
    tail = Tail(path, "watch", None, None)
    path.touch()
    tail.check(1)
    for number in range(ROUNDS):
        for line in range(LINES):
            with path.open("ab") as file:
                file.write(b"ERROR round %d line %d\n" % (number, line))
            tail.check(2)
        view = tail.view()
        assert (view.errors, view.last_line) == (LINES, f"ERROR round {number} line {LINES - 1}")
        assert view.generation == number
        rotate(path, number)
        if number % 2 and rotate not in (emptied, copied_and_truncated):
            tail.check(3)
            assert tail.view().state == "gone"
        path.touch()


@pytest.mark.parametrize("rotate", [renamed, deleted])
def test_a_writer_that_races_with_the_rotation_loses_no_line_of_the_new_file(
    tmp_path: Path, rotate: Callable[[Path, int], None]
) -> None:
    path = tmp_path / "night.log"
    path.touch()
    tail = Tail(path, "watch", None, None)
    stop = threading.Event()

    def follow() -> None:
        while not stop.is_set():
            tail.check(1)

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        for number in range(ROUNDS):
            with path.open("ab", buffering=0) as file:
                for line in range(LINES):
                    file.write(b"ERROR round %d line %d\n" % (number, line))
            if number < ROUNDS - 1:
                rotate(path, number)
    finally:
        stop.set()
        reader.join()
    tail.check(2)
    assert tail.view().errors == LINES
    assert tail.view().last_line == f"ERROR round {ROUNDS - 1} line {LINES - 1}"
    assert all_lines(path) == [f"ERROR round {ROUNDS - 1} line {line}" for line in range(LINES)]


def test_a_file_that_does_not_exist_yet_is_read_from_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "later.log"
    tail = Tail(path, "run", "r", None)
    tail.check(1)
    assert tail.view().state == "gone"
    path.write_text("ERROR first\nERROR second\n")
    tail.check(2)
    assert (tail.view().state, tail.view().errors, tail.view().generation) == ("live", 2, 0)
