"""When lines were written, in the forms that programs use; and what looks like a time and is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nightdesk.core.logs.formats import read_log_line
from nightdesk.core.logs.records import Strand

WRITTEN = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 10**9
"""When the file was last written."""
HOUR = 3600 * 10**9


def told(line: str, near_ns: int | None = None, until_ns: int | None = WRITTEN) -> str | None:
    at_ns = read_log_line(line, near_ns, UTC, until_ns).at_ns
    if at_ns is None:
        return None
    fraction = f".{at_ns % 10**9:09}".rstrip("0") if at_ns % 10**9 else ""
    return f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}{fraction}"


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-11-21 10:00:00 x", "2026-11-21T10:00:00"),
        ("2026-11-21 10:00:00,123 x", "2026-11-21T10:00:00.123"),
        ("2026-11-21T10:00:00.123456Z x", "2026-11-21T10:00:00.123456"),
        ("2026-11-21T10:00:00.123456789+01:00 x", "2026-11-21T09:00:00.123456789"),
        ("2026-11-21T10:00:00+0100 x", "2026-11-21T09:00:00"),
        ("2026-11-21 10:00:00.5 +01:00 x", "2026-11-21T09:00:00.5"),
        ("2026-11-21 10:00:00.5 +0100 x", "2026-11-21T09:00:00.5"),
        ("2026-11-21T10:00:00+01 x", "2026-11-21T09:00:00"),
        ("2026-11-21 10:00:00 UTC x", "2026-11-21T10:00:00"),
        ("2026-11-21T10:00 x", "2026-11-21T10:00:00"),
        ("2026-11-21 10:00 x", "2026-11-21T10:00:00"),
        ("2026.11.21 10:00:00 x", "2026-11-21T10:00:00"),
        ("20261121 10:00:00 x", "2026-11-21T10:00:00"),
        ("20261121T100000Z x", "2026-11-21T10:00:00"),
        ("20261121_100000 x", "2026-11-21T10:00:00"),
        ("21.11.2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("21/11/2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("11/21/2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("11/21/26 10:00:00 x", "2026-11-21T10:00:00"),
        ("21-11-2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("[11/21/26 10:00:00] INFO x", "2026-11-21T10:00:00"),
        ("11/21/2026 10:00:00 AM x", "2026-11-21T10:00:00"),
        ("11/21/2026 10:00:00 PM x", "2026-11-21T22:00:00"),
        ("11/21/2026 12:00:00 AM x", "2026-11-21T00:00:00"),
        ("21/Nov/2026:10:00:00 +0000 x", "2026-11-21T10:00:00"),
        ('1.2.3.4 - - [21/Nov/2026 10:00:00] "GET', "2026-11-21T10:00:00"),
        ("21 Nov 2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("Nov 21 10:00:00 host x", "2026-11-21T10:00:00"),
        ("Nov 21, 2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("Sat Nov 21 10:00:00 2026 x", "2026-11-21T10:00:00"),
        ("Sat, 21 Nov 2026 10:00:00 GMT x", "2026-11-21T10:00:00"),
        ("Sat Nov 21 10:00:00 UTC 2026 x", "2026-11-21T10:00:00"),
        ("Nov 21 2026 10:00:00 x", "2026-11-21T10:00:00"),
        ("Nov  3 10:00:00 host x", "2026-11-03T10:00:00"),
        ("Dec 31 23:59:59 host x", "2025-12-31T23:59:59"),
        ("10:00:00 x", "2026-11-21T10:00:00"),
        ("[10:00:00] x", "2026-11-21T10:00:00"),
        ("10:00:00.250 x", "2026-11-21T10:00:00.25"),
        ("10:00:00,250 INFO x", "2026-11-21T10:00:00.25"),
        ("INFO 10:00:00 x", "2026-11-21T10:00:00"),
        ("[INFO] 10:00:00 x", "2026-11-21T10:00:00"),
        ("10:00 x", None),
        ("23:59:59 x", "2026-11-20T23:59:59"),
        ("1795255200 x", "2026-11-21T10:00:00"),
        ("1795255200.5 x", "2026-11-21T10:00:00.5"),
        ("1795255200500 x", "2026-11-21T10:00:00.5"),
        ("1795255200500000 x", "2026-11-21T10:00:00.5"),
        ("1795255200500000000 x", "2026-11-21T10:00:00.5"),
        ("[1795255200.5] x", "2026-11-21T10:00:00.5"),
        ('{"time":1795255200500,"msg":"x"}', "2026-11-21T10:00:00.5"),
        ('{"ts":1795255200.5,"msg":"x"}', "2026-11-21T10:00:00.5"),
        ('{"time":"2026-11-21T10:00:00.000Z"}', "2026-11-21T10:00:00"),
        ('{"timestamp":"1795255200"}', "2026-11-21T10:00:00"),
        ('{"@timestamp":"2026-11-21T10:00:00.000Z","log.level":"info"}', "2026-11-21T10:00:00"),
        ('{"asctime":"2026-11-21 10:00:00,123"}', "2026-11-21T10:00:00.123"),
        ('{"created":1795255200.5,"msg":"x"}', "2026-11-21T10:00:00.5"),
        ('{"time":"10:00:00","msg":"x"}', "2026-11-21T10:00:00"),
        ("time=2026-11-21T10:00:00.000Z level=INFO msg=x", "2026-11-21T10:00:00"),
        ("ts=1795255200.5 level=info", "2026-11-21T10:00:00.5"),
        ('[GIN] 2026/11/21 - 10:00:00 | 200 | 1s | 127.0.0.1 | POST "/api/chat"', "2026-11-21T10:00:00"),
        ("I1121 10:00:00.123456 1 x.go:2] x", "2026-11-21T10:00:00.123456"),
        ("2026-11-21 10:00:00.123456: W tensorflow/x", "2026-11-21T10:00:00.123456"),
        ("took 10:00:00 for all", None),
        ("00:00:05.000 --> 00:00:07.000", None),
        ("[00:00.000 --> 00:05.500]  Good evening.", None),
        ("[00:00:00.000 --> 00:00:07.600]   And", None),
        ("loaded model from /logs/2026-11-21_10:00:00/x", None),
        ("size=    1024kB time=00:01:40.00 bitrate=", None),
        ("1700000000 is big", "2023-11-14T22:13:20"),
        ("1234567890123 bytes", None),
        ("2026-02-30 10:00:00 x", None),
        ("2026-11-21 25:00:00 x", None),
    ],
)
def test_the_time_of_a_line(line: str, at: str | None) -> None:
    assert told(line) == at


def test_a_day_that_may_be_a_month_is_the_one_that_is_near() -> None:
    in_may = int(datetime(2026, 5, 12, tzinfo=UTC).timestamp()) * 10**9
    assert told("12/05/2026 10:00:00 x", in_may, None) == "2026-05-12T10:00:00"
    assert told("05/12/2026 10:00:00 x", in_may, None) == "2026-05-12T10:00:00"


def local(at_ns: int) -> bytes:
    """A line that tells only the clock."""
    return f"{datetime.fromtimestamp(at_ns / 1e9):%H:%M:%S} x".encode()


def test_clocks_of_a_long_night_follow_each_other_across_midnight() -> None:
    hours = [WRITTEN + n * HOUR for n in range(-16, 1)]
    strand = Strand(WRITTEN)
    records = [*strand.feed(0, list(enumerate(map(local, hours)))), *strand.finish(0)]
    assert [record.at_ns for record in records] == hours


def test_a_line_that_was_appended_after_midnight_is_of_the_new_day() -> None:
    strand, before = Strand(WRITTEN - 11 * HOUR), WRITTEN - 11 * HOUR
    assert [each.at_ns for each in [*strand.feed(0, [(0, local(before))]), *strand.finish(0)]] == [before]
    strand.until_ns = WRITTEN
    assert [each.at_ns for each in [*strand.feed(0, [(9, local(WRITTEN))]), *strand.finish(0)]] == [WRITTEN]


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-11-21 10:00:00 UTC x", "2026-11-21T10:00:00"),
        ("2026-11-21 10:00:00.5 +0100 x", "2026-11-21T09:00:00"),
        ("2026-11-21 10:00:00+01:00 x", "2026-11-21T09:00:00"),
        ("2026-11-21 10:00:00,250Z - root - x", "2026-11-21T10:00:00"),
    ],
)
def test_records_heed_the_zone_as_lines_do(line: str, at: str) -> None:
    strand = Strand(WRITTEN)
    (record,) = [*strand.feed(0, [(0, line.encode())]), *strand.finish(0)]
    assert f"{datetime.fromtimestamp(record.at_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}" == at
