"""Errors, levels and moments of whole files."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from nightdesk.engine.logs import survey
from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.reader import LogReader
from nightdesk.model.errors import UsageError
from nightdesk.model.logs import LogErrors

SECOND = 1_000_000_000
BEGIN = datetime(2025, 11, 21, 23, 0, 0)
TRACE = (
    'Traceback (most recent call last):\n  File "run.py", line {n}, in main\nValueError: item {n} is bad\n'
)


def reader_of(path: Path) -> tuple[LogReader, str]:
    logs = LogFollower((), path.parent, lambda change: None)
    return LogReader(logs), logs.add_run_log("r", path).id


def night(path: Path, count: int) -> Path:
    """One line a second; from the middle on every hundredth is an error with a traceback."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            stamp = datetime.fromtimestamp(BEGIN.timestamp() + n)
            file.write(f"{stamp:%Y-%m-%d %H:%M:%S} INFO item {n} of {count} {'.' * (n % 90)}\n")
            if n >= count // 2 and n % 100 == 0:
                file.write(TRACE.format(n=n))
    return path


def errors_of(path: Path) -> LogErrors:
    reader, log = reader_of(path)
    limit = time.monotonic() + 20
    while not (found := reader.errors(log)).complete:
        assert time.monotonic() < limit
    return found


def test_errors_that_are_alike_are_one_group_with_the_place_of_the_first(tmp_path: Path) -> None:
    path = night(tmp_path / "a.log", 6000)
    (group,) = errors_of(path).groups
    assert (group.times, group.cause, group.lines) == (30, "ValueError: item 3000 is bad", 3)
    assert group.where == "run.py:3000 in main"
    assert path.read_bytes()[group.first :].startswith(b"Traceback")
    assert path.read_bytes()[group.last :].startswith(b"Traceback")
    assert group.first_ns == int(BEGIN.timestamp() + 3000) * SECOND


def test_errors_of_a_growing_file_are_found_from_where_the_search_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("INFO fine\n" * 1000 + "ERROR first\n")
    reader, log = reader_of(path)
    assert [group.times for group in reader.errors(log).groups] == [1]
    with path.open("a", encoding="utf-8") as file:
        file.write("INFO fine\n" * 1000 + "ERROR first\nINFO fine\n" + TRACE.format(n=1))
    assert [(group.cause, group.times) for group in reader.errors(log).groups] == [
        ("ERROR first", 2),
        ("ValueError: item 1 is bad", 1),
    ]


def test_an_error_with_its_traceback_is_one_error_wherever_errors_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    night = [
        "INFO fine\n" * 30,
        f"2025-11-21 23:00:00 ERROR batch: it broke\n{TRACE.format(n=1)}",
        TRACE.format(n=2),
    ]
    path.write_text("".join(night * 20))
    reader, log = reader_of(path)
    assert LogFollower((), tmp_path, lambda change: None).add_run_log("r", path).errors == 40
    assert sum(group.times for group in errors_of(path).groups) == 40
    assert sum(each.errors for each in reader.levels(log).bins) == 40


def test_a_file_without_errors_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("INFO fine\n" * 10)
    assert errors_of(tmp_path / "a.log").groups == ()


def test_levels_are_counted_along_the_file(tmp_path: Path) -> None:
    path = night(tmp_path / "a.log", 20_000)
    reader, log = reader_of(path)
    found = reader.levels(log)
    half = len(found.bins) // 2
    assert len(found.bins) >= 60
    assert sum(each.errors for each in found.bins[: half - 2]) == 0
    assert sum(each.errors for each in found.bins[half:]) > 50
    times = [each.at_ns for each in found.bins]
    assert None not in times and times == sorted(times, key=lambda at: at or 0)


@pytest.mark.parametrize("count", [1, 7, 300, 9_000])
def test_levels_of_a_file_that_is_read_whole_count_each_line_once(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.log"
    lines = [f"{('INFO', 'WARNING', 'ERROR')[n % 3]} item {n} {'x' * (n % 190)}\n" for n in range(count)]
    path.write_text("".join(lines))
    reader, log = reader_of(path)
    found = reader.levels(log)
    assert not found.sampled
    assert sum(each.errors for each in found.bins) == sum(line.startswith("ERROR") for line in lines)
    assert sum(each.warnings for each in found.bins) == sum(line.startswith("WARN") for line in lines)
    assert sum(each.errors + each.warnings + each.others for each in found.bins) == count
    assert len(found.bins) >= min(count // 8, 100)


@pytest.mark.parametrize("second", [0, 1, 4999, 5000, 9998, 9999])
def test_a_moment_leads_to_its_line(tmp_path: Path, second: int) -> None:
    reader, log = reader_of(night(tmp_path / "a.log", 10_000))
    window = reader.moment(log, int(BEGIN.timestamp() + second) * SECOND)
    assert f" item {second} of" in window.lines[0]


def test_a_moment_before_the_first_and_behind_the_last_line(tmp_path: Path) -> None:
    reader, log = reader_of(night(tmp_path / "a.log", 3000))
    assert " item 0 of" in reader.moment(log, 0).lines[0]
    assert " item 2999 of" in reader.moment(log, 2**61).lines[-1]


def test_a_file_without_times_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("no time here\n" * 5000)
    reader, log = reader_of(tmp_path / "a.log")
    with pytest.raises(UsageError, match="No line of this file says when"):
        reader.moment(log, SECOND)


def test_errors_are_found_whatever_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "STEP_SECONDS", 0.0)
    path = night(tmp_path / "a.log", 12_000)
    assert errors_of(path).groups[0].times == 60
