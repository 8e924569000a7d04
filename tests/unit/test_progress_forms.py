"""Progress of recordings and downloads, by the user's own patterns, from state files; with an honest range."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from nightdesk.client.desk import Desk
from nightdesk.core.logs.progress import ProgressReader
from nightdesk.core.logs.progress_forms import compiled_patterns
from nightdesk.core.logs.state_progress import read_state
from nightdesk.engine.logs.state_files import StateFiles, split_spec
from nightdesk.model.config import DeskConfig
from nightdesk.model.job import Run
from nightdesk.model.logs import Progress

SECOND = 1_000_000_000


def read(*lines: str, step_s: float = 1.0, reader: ProgressReader | None = None) -> Progress | None:
    reader = reader or ProgressReader()
    for number, line in enumerate(lines):
        reader.feed(line, int(number * step_s * SECOND))
    return reader.progress


@pytest.mark.parametrize(
    ("lines", "done", "total", "item"),
    [
        (["[00:00.000 --> 00:05.500]  Good evening."], 5.5, None, None),
        (["[01:02:03.000 --> 01:02:05.000]  late"], 3725.0, None, None),
        (
            [
                "main: processing 'samples/jfk.wav' (176000 samples, 11.0 sec), 4 threads, lang = en",
                "[00:00:00.000 --> 00:00:07.600]   And so my fellow Americans",
            ],
            7.6,
            11.0,
            "jfk.wav",
        ),
        (
            ["INFO:faster_whisper:Processing audio with duration 03:20.000", "[0.00s -> 50.00s] text"],
            50.0,
            200.0,
            None,
        ),
        (
            [
                "Input #0, mov,mp4,m4a, from 'talks/a.m4a':",
                "  Duration: 00:03:20.05, start: 0.000000, bitrate: 128 kb/s",
                "size=    1024kB time=00:01:40.00 bitrate= 128.0kbits/s speed=50.1x",
            ],
            100.0,
            200.05,
            "a.m4a",
        ),
        (
            [
                "[download] Destination: night/talk.m4a",
                "[download]  45.3% of   10.00MiB at    1.25MiB/s ETA 00:04",
            ],
            45.3,
            100,
            "talk.m4a",
        ),
        (["[download]  99.9% of ~ 120.55MiB at  3.10MiB/s ETA 00:00 (frag 57/58)"], 99.9, 100, None),
        (["[download] Downloading item 3 of 12"], 2, 12, None),
    ],
)
def test_positions_in_recordings_and_downloads_are_read(
    lines: list[str], done: float, total: float | None, item: str | None
) -> None:
    progress = read(*lines)
    assert progress is not None
    assert (progress.done, progress.total, progress.item) == (done, total, item)


def test_the_time_left_of_ffmpeg_follows_its_own_speed() -> None:
    progress = read("Duration: 00:10:00.00, start", "size= 1kB time=00:05:00.00 bitrate= 1kbits/s speed=10x")
    assert progress is not None
    assert (progress.rate_per_s, progress.eta_ns) == (10.0, 30 * SECOND)


def test_a_counter_of_files_counts_for_more_than_a_position_in_one() -> None:
    progress = read(
        "[2/9] Transcribing b.mp3", "[00:00.000 --> 00:05.500]  hello", "[00:05.500 --> 00:09.000]  you"
    )
    assert progress is not None and (progress.source, progress.done) == ("counter", 1)


def test_another_recording_begins_at_its_own_beginning() -> None:
    progress = read(
        *("(1 samples, 100.0 sec)", "[00:00.000 --> 00:50.000] a"),
        *("(1 samples, 200.0 sec)", "[00:00.000 --> 00:20.000] b"),
        "[00:20.000 --> 00:21.000] c",
    )
    assert progress is not None and progress.source == "position"


def test_the_users_own_patterns_are_read_before_others() -> None:
    patterns = compiled_patterns([r"chunk (?P<done>\d+) from (?P<total>\d+): (?P<item>\S+)"])
    progress = read("INFO chunk 7 from 20: a.wav [3/4]", reader=ProgressReader(patterns))
    assert progress is not None
    assert (progress.done, progress.total, progress.item, progress.source) == (7, 20, "a.wav", "pattern")
    assert read("chunk 21 from 20: x", reader=ProgressReader(patterns)) is None


@pytest.mark.parametrize("pattern", ["(", r"(\d+) of (\d+)"])
def test_a_pattern_that_can_not_work_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        compiled_patterns([pattern])


def test_a_range_holds_the_time_left_and_is_wider_where_items_differ() -> None:
    even = read(*(f"[{n}/50] x" for n in range(1, 12)))
    assert even is not None and even.eta_ns is not None
    assert even.eta_low_ns == even.eta_ns == even.eta_high_ns
    reader = ProgressReader()
    at = 0
    for n in range(1, 12):
        at += SECOND * (1 if n % 2 else 9)
        reader.feed(f"[{n}/50] x", at)
    uneven = reader.progress
    assert uneven is not None and uneven.eta_low_ns is not None and uneven.eta_high_ns is not None
    assert uneven.eta_low_ns < 40 * 5 * SECOND < uneven.eta_high_ns
    assert uneven.eta_high_ns - uneven.eta_low_ns > 20 * SECOND


def test_no_range_is_told_of_two_steps() -> None:
    progress = read("[1/50] x", "[2/50] x")
    assert progress is not None and progress.eta_low_ns is None


def test_a_count_that_falls_says_why() -> None:
    progress = read("[40/50] x", "[3/50] x")
    assert progress is not None and progress.note == "the count began again after 39 of 50"
    grown = read("[3/50] x", "[4/50] x")
    assert grown is not None and grown.note is None


# State files


@pytest.mark.parametrize(
    ("text", "done", "total", "item"),
    [
        ('{"done": 3, "total": 9, "item": "a.mp3"}', 3, 9, "a.mp3"),
        ('{"completed": ["a", "b"], "total": 9}', 2, 9, None),
        ('{"progress": {"processed": 1, "count": 4}}', 1, 4, None),
        ('{"done": 1, "total": 9}\n{"done": 2, "total": 9}\n', 2, 9, None),
        ('{"file": "a.mp3", "ok": true}\n{"file": "b.mp3", "ok": true}\n{"fi', 2, None, "b.mp3"),
        ('["a", "b", "c"]', 3, None, None),
    ],
)
def test_state_files_are_read_as_scripts_write_them(
    text: str, done: float, total: float | None, item: str | None
) -> None:
    assert read_state(text) == (done, total, item)


@pytest.mark.parametrize(
    "text", ["", "{", "no json", '{"done": 9, "total": 3}', '{"done": true}', "7", "\n\n"]
)
def test_what_is_no_state_is_left_alone(text: str) -> None:
    assert read_state(text) is None


def run(started_ns: int | None = 1) -> Run:
    return Run(
        id="a-1",
        job="a",
        mode="full",
        state="running",
        command="x",
        folder="x",
        created_ns=1,
        started_ns=started_ns,
    )


def states(told: list[Progress]) -> StateFiles:
    desk = Desk(folder=Path(), config_path=None, config=DeskConfig())
    return StateFiles(lambda: desk, lambda: (), lambda _, progress: told.append(progress))


def test_a_state_file_is_looked_at_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files = states([])
    assert files.look(run(), "state.json", tmp_path) is None
    path.write_text(json.dumps({"done": 1, "total": 4}))
    first = files.look(run(), "state.json", tmp_path)
    assert first is not None and (first.done, first.total, first.source) == (1, 4, "state")
    assert files.look(run(), "state.json", tmp_path) is None
    path.write_text(json.dumps({"done": 2, "total": 4, "item": "b"}))
    second = files.look(run(), "state.json", tmp_path)
    assert second is not None and (second.done, second.item) == (2, "b") and second.eta_ns is not None


def test_a_state_file_of_a_run_before_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"done": 4, "total": 4}')
    os.utime(path, (1000, 1000))
    assert states([]).look(run(2000 * SECOND), "state.json", tmp_path) is None


def test_a_query_to_a_database_tells_the_state(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "work.db")
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("CREATE TABLE items (name, done)")
    base.executemany("INSERT INTO items VALUES (?, ?)", [("a", 1), ("b", 1), ("c", 0)])
    base.commit()
    spec = "work.db: SELECT sum(done), count(*), max(name) FROM items"
    assert split_spec(spec) == ("work.db", "SELECT sum(done), count(*), max(name) FROM items")
    progress = states([]).look(run(), spec, tmp_path)
    base.close()
    assert progress is not None and (progress.done, progress.total, progress.item) == (2, 3, "c")
    assert states([]).look(run(), "work.db: SELECT nothing FROM nowhere", tmp_path) is None
    assert states([]).look(run(), "work.db: select 1; drop table items", tmp_path) is None
