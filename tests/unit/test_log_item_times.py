"""How long each item took, as the counting lines of a log tell it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nightdesk.engine.logs import survey
from nightdesk.engine.logs.survey import ItemScan
from nightdesk.model.logs import LogItem

BEGIN = datetime(2025, 11, 21, 23, 59, 0)
SECOND = 10**9


def stamped(second: float, words: str) -> str:
    return f"{BEGIN + timedelta(seconds=second):%Y-%m-%d %H:%M:%S} INFO {words}\n"


def items(folder: Path, text: str) -> tuple[LogItem, ...]:
    path = folder / "batch.log"
    path.write_text(text)
    scan = ItemScan()
    with path.open("rb") as file:
        while not scan.extend(file.fileno(), path.stat().st_size):
            pass
    return scan.items


def told(found: tuple[LogItem, ...]) -> list[tuple[int, str | None, float]]:
    return [(item.number, item.name, item.took_ns / SECOND) for item in found]


def test_an_item_took_from_its_line_to_the_next(tmp_path: Path) -> None:
    lines = [
        stamped(0, "begin"),
        stamped(1, "[1/4] Processing a.mp3"),
        stamped(21, "[2/4] Processing b.mp3"),
        stamped(30, "another line"),
        stamped(81, "[3/4] Processing c.mp3"),
        stamped(91, "[4/4] Processing d.mp3"),
    ]
    found = items(tmp_path, "".join(lines))
    assert told(found) == [(1, "a.mp3", 20), (2, "b.mp3", 60), (3, "c.mp3", 10)]
    assert [item.start for item in found] == [sum(map(len, lines[:n])) for n in (1, 2, 4)]
    assert found[1].started_ns == int((BEGIN + timedelta(seconds=21)).timestamp()) * SECOND


def test_items_that_are_told_when_they_end_count_too_and_those_of_one_leap_share_its_time(
    tmp_path: Path,
) -> None:
    lines = [
        stamped(0, "Processed 2/9 files"),
        stamped(10, "Processed 3/9 files"),
        stamped(40, "Processed 6/9 files"),
    ]
    assert told(items(tmp_path, "".join(lines))) == [
        (3, None, 10),
        (4, None, 10),
        (5, None, 10),
        (6, None, 10),
    ]


def test_clocks_without_a_day_are_enough_also_across_midnight(tmp_path: Path) -> None:
    lines = [
        f"{BEGIN + timedelta(seconds=30 * n):%H:%M:%S} [{n}/5] Processing {n}.mp3\n" for n in range(1, 6)
    ]
    assert [took for _, _, took in told(items(tmp_path, "".join(lines)))] == [30, 30, 30, 30]


@pytest.mark.parametrize(
    "text",
    [
        "[1/3] a\n[2/3] b\n[3/3] c\n",
        "".join(stamped(n, f"Progress: {n * 10}%") for n in range(1, 9)),
        "".join(stamped(n, f"chunk {n}: 9{n}it [00:0{n}, 1.0it/s]") for n in (1, 9)),
        "",
    ],
    ids=["no times", "percentages", "a great leap", "empty"],
)
def test_what_tells_no_items_or_no_times_gives_none(tmp_path: Path, text: str) -> None:
    assert items(tmp_path, text) == ()


def test_a_count_that_begins_again_is_a_new_batch(tmp_path: Path) -> None:
    lines = [
        stamped(n, f"[{number}/3] Processing {number}.mp3") for n, number in enumerate((1, 2, 3, 1, 2, 3))
    ]
    assert told(items(tmp_path, "".join(lines))) == [
        (1, "1.mp3", 1), (2, "2.mp3", 1), (1, "1.mp3", 1), (2, "2.mp3", 1)
    ]  # fmt: skip


def test_only_the_newest_items_are_kept_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "ITEMS_MOST", 5)
    path = tmp_path / "batch.log"
    path.write_text("".join(stamped(n, f"[{n}/20] Processing {n}.mp3") for n in range(1, 21)))
    scan = ItemScan()
    with path.open("rb") as file:
        assert scan.extend(file.fileno(), path.stat().st_size)
    assert ([item.number for item in scan.items], scan.left_out) == ([15, 16, 17, 18, 19], 14)
