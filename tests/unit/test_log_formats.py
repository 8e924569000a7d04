"""Lines of real programs, recorded by running them, with the level, time and progress a reader sees in them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.logs.formats import level_of, read_log_line
from nightdesk.core.logs.progress import ProgressReader
from nightdesk.core.logs.times import time_of

UTC = timezone(timedelta(0))
SECOND = 1_000_000_000
LINES = sorted((Path(__file__).parents[1] / "data" / "lines").glob("*.jsonl"))
NEAR = int(datetime(2025, 11, 21, 23, 30, tzinfo=UTC).timestamp()) * SECOND


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) * 1_000_000


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_corpus_holds_at_least_two_hundred_lines() -> None:
    assert sum(len(rows(path)) for path in LINES) >= 200


@pytest.mark.parametrize("path", LINES, ids=lambda path: path.stem)
def test_recorded_lines_have_their_level_time_and_progress(path: Path) -> None:
    reader = ProgressReader()
    for number, row in enumerate(rows(path), 1):
        read = read_log_line(row["line"], None, UTC)
        assert (read.level, read.at_ns) == (row["level"], row.get("at_ns")), row["line"]
        progress = reader.feed(row["line"], number * SECOND)
        told = (progress.done, progress.total) if progress is not None else (None, None)
        assert told == (row.get("done"), row.get("total")), row["line"]


@pytest.mark.parametrize(
    ("line", "level", "at"),
    [
        (
            'time=2025-11-21T23:14:02.113Z level=WARN source=sched.go:1 msg="slow"',
            "warning",
            "2025-11-21T23:14:02.113",
        ),
        ("time=2025-11-21T23:14:02.113+01:00 level=ERROR msg=x", "error", "2025-11-21T22:14:02.113"),
        (
            '[GIN] 2025/11/21 - 23:14:02 | 200 |  1.2s |  127.0.0.1 | POST "/api/chat"',
            "info",
            "2025-11-21T23:14:02",
        ),
        (
            '[GIN] 2025/11/21 - 23:14:02 | 500 |  1.2s |  127.0.0.1 | POST "/api/chat"',
            "error",
            "2025-11-21T23:14:02",
        ),
        (
            '[GIN] 2025/11/21 - 23:14:02 | 404 |  1.2s |  127.0.0.1 | GET "/x"',
            "warning",
            "2025-11-21T23:14:02",
        ),
        (
            '127.0.0.1 - - [21/Nov/2025:23:14:02 +0000] "GET / HTTP/1.1" 502 12',
            "error",
            "2025-11-21T23:14:02",
        ),
        ("2025/11/21 23:14:02 routes.go:1 listening", "", "2025-11-21T23:14:02"),
        ("E1121 23:14:02.113000 12 cuda.cc:3] no device", "error", "2025-11-21T23:14:02.113"),
        ("Nov 21 23:14:02 host ollama[12]: started", "", "2025-11-21T23:14:02"),
        ("23:14:02.113 INFO begin", "info", "2025-11-21T23:14:02.113"),
        ("[23:14:02] begin", "", "2025-11-21T23:14:02"),
        ("1763766842.5 begin", "", "2025-11-21T23:14:02.5"),
        ("llama_model_load: error loading model", "error", None),
        ("llama_model_load: error: no such file", "error", None),
        ("ggml_cuda_init: failed to initialize CUDA", "error", None),
        ("0.00.123.456 W srv  slot: slow", "warning", None),
        ("whisper/transcribe.py:115: UserWarning: FP16 is not supported on CPU", "warning", None),
        ('{"ts": 1763766842500, "level": 40, "msg": "x"}', "error", "2025-11-21T23:14:02.5"),
        ('{"severity": "Warning", "time": "2025-11-21T23:14:02Z"}', "warning", "2025-11-21T23:14:02"),
        ("10% done at 25:99:99", "", None),
        ("", "", None),
    ],
)
def test_lines_of_programs_that_are_not_here_to_run(line: str, level: str, at: str | None) -> None:
    read = read_log_line(line, NEAR, UTC)
    assert (read.level, read.at_ns) == (level, moment(at) if at else None)


def test_a_clock_without_a_day_lies_in_the_night_that_is_near() -> None:
    after_midnight = int(datetime(2025, 11, 22, 0, 10, tzinfo=UTC).timestamp()) * SECOND
    assert time_of("23:59:59 INFO x", after_midnight, UTC) == moment("2025-11-21T23:59:59")
    assert time_of("00:05:00 INFO x", after_midnight, UTC) == moment("2025-11-22T00:05:00")


@given(st.text(max_size=120) | st.binary(max_size=80).map(lambda raw: "{" + raw.decode("utf-8", "replace")))
def test_any_line_has_a_level_and_perhaps_a_time(line: str) -> None:
    read = read_log_line(line, NEAR, UTC)
    assert read.level in ("error", "warning", "info", "debug", "")
    assert level_of(line) in ("error", "warning", "info", "debug", "")
    assert read.at_ns is None or isinstance(read.at_ns, int)
