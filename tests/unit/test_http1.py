"""HTTP/1 as it really comes, and what a gap does to it."""

from __future__ import annotations

import pytest

from nightdesk.core.capture.heads import Head
from nightdesk.core.capture.http1 import Began, Body, End, Event, Gap, MessageReader, Resumed


def story(events: list[Event]) -> list[object]:
    """Events without offsets, neighbouring bodies joined."""
    told: list[object] = []
    for event in events:
        if isinstance(event, Body):
            if told and isinstance(told[-1], bytes):
                told[-1] += event.data
            elif event.data:
                told.append(event.data)
        elif isinstance(event, Head):
            told.append(event.start[0] if event.start[0].isalpha() else int(event.start[1]))
        elif isinstance(event, End):
            told.append("end" if event.clean else "lost end")
        elif isinstance(event, Gap):
            told.append(event.size)
        elif isinstance(event, Resumed):
            told.append("resumed")
    return told


def responses(*parts: bytes, bodiless: bool = False) -> list[object]:
    reader = MessageReader("response", lambda: bodiless)
    return story([event for part in parts for event in reader.feed(part)] + reader.eof())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (
            b"HTTP/1.1 200 OK\r\nCONTENT-length: 2\r\n\r\nhiHTTP/1.1 204 \r\n\r\n",
            [200, b"hi", "end", 204, "end"],
        ),
        (CHUNKED + b"2;a=b\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", [200, b"hi", "end"]),
        (CHUNKED + b"2\r\n\r\n\r\n3\r\na\r\n\r\n0\r\n\r\n", [200, b"\r\na\r\n", "end"]),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", [200, b"until the end", "end"]),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404\r\nContent-Length:0\r\n\r\n", [100, 404, "end"]),
        (b"HTTP/1.1 499 status code 499\nContent-Length: 1\n\nx", [499, b"x", "end"]),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", [304, "end"]),
        (b"HTTP/1.1 101 Switching\r\n\r\nanything at all", [101]),
    ],
)
def test_a_response_is_read_whole_and_byte_by_byte(data: bytes, wanted: list[object]) -> None:
    assert responses(data) == wanted
    assert responses(*(data[i : i + 1] for i in range(len(data)))) == wanted


def test_a_response_to_head_has_no_body() -> None:
    assert responses(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", bodiless=True) == [200, "end"]


def test_pipelined_requests_are_told_apart() -> None:
    reader = MessageReader("request")
    post = b"POST /api/chat HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    events = reader.feed(post + b"\r\n" + post + b"GET / HTTP/1.1\r\n\r\n")
    assert story(events) == ["POST", b"abc", "end", "POST", b"abc", "end", "GET", "end"]
    assert sum(isinstance(event, Began) for event in events) == 3


def test_a_gap_inside_a_known_length_only_costs_its_bytes() -> None:
    reader = MessageReader("response")
    events = (
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") + reader.gap(4) + reader.feed(b"xyz")
    )
    assert story(events) == [200, b"abc", 4, b"xyz", "end"]


def test_a_gap_over_the_end_of_a_message_is_divided() -> None:
    reader = MessageReader("response")
    events = reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc") + reader.gap(9)
    events += reader.feed(b"HTTP/1.1 204 \r\n\r\n")
    assert story(events) == [200, b"abc", 2, "end", 7, 204, "end"]


@pytest.mark.parametrize("lead", [b"", b'lf of a line"}\n\r\n', b"\r\n", b"c\r\n"])
def test_reading_goes_on_at_the_next_chunk_that_proves_itself(lead: bytes) -> None:
    reader = MessageReader("response")
    events = reader.feed(CHUNKED + b"2\r\nhi\r\n") + reader.gap(50)
    rest = (b"\r\n" if lead == b"c\r\n" else b"") + b"3\r\n{a}\r\n0\r\n\r\n"
    for byte in lead + rest:
        events += reader.feed(bytes([byte]))
    assert story(events) == [200, b"hi", 50, "resumed", b"{a}", "end"]


def test_the_next_head_ends_a_message_whose_end_was_lost() -> None:
    reader = MessageReader("response")
    events = reader.feed(CHUNKED + b"2\r\nhi\r\n") + reader.gap(50)
    events += reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    assert story(events) == [200, b"hi", 50, "lost end", 200, b"x", "end"]


def test_a_request_line_counts_behind_a_gap_only_at_the_start_of_a_segment() -> None:
    reader = MessageReader("request")
    line = b"POST /api/chat HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    events = reader.gap(100) + reader.feed(b"quoted: " + line) + reader.feed(line)
    assert story(events) == [100, b"quoted: " + line, "lost end", "POST", "end"]


def test_a_head_without_end_is_given_up_and_held_bytes_are_bounded() -> None:
    reader = MessageReader("request")
    for _ in range(100):
        reader.feed(b"GET / HTTP/1.1\r\nX: " + b"a" * 9_000)
    assert reader.held_bytes < 300_000
    reader = MessageReader("response")
    reader.feed(CHUNKED)
    reader.gap(1)
    for _ in range(100):
        reader.feed(b"\r\nfffff\r\n" + b"z" * 100_000)
    assert reader.held_bytes < 5_000_000
