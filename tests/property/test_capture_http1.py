"""h11 reads the same: its verdict on random messages, cut anywhere, is ours."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from nightdesk.core.capture.heads import Head
from nightdesk.core.capture.http1 import Body, End, MessageReader

names = st.sampled_from(["Host", "x-a", "CONTENT-TYPE", "Accept"])
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
bodies = st.lists(st.binary(min_size=1, max_size=300), max_size=5)


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """Some responses on one connection, and whether HEAD asked for them."""
    out = []
    for _ in range(draw(st.integers(1, 3))):
        head = b"HTTP/1.1 %d OK\r\n" % draw(st.sampled_from([200, 404, 500]))
        for name in draw(st.lists(names, max_size=3)):
            head += f"{name}: {draw(values)}\r\n".encode()
        parts = draw(bodies)
        if draw(st.booleans()):
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            out.append(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        else:
            body = b"".join(parts)
            out.append(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return out, False


def by_h11(stream: list[bytes]) -> list[tuple[int, bytes]]:
    told = []
    connection = h11.Connection(h11.CLIENT)
    for message in stream:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(message)
        status, body = 0, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
        told.append((status, body))
        connection.start_next_cycle()
    return told


@given(messages(), st.lists(st.integers(0, 3000), max_size=10))
def test_responses_are_read_as_h11_reads_them(drawn: tuple[list[bytes], bool], cuts: list[int]) -> None:
    stream = b"".join(drawn[0])
    places = [0, *sorted(cuts), len(stream)]
    reader = MessageReader("response")
    told: list[tuple[int, bytes]] = []
    status, body, ends = 0, b"", 0
    for start, stop in zip(places, places[1:], strict=False):  # noqa: RUF007 - reads like the slice that follows
        for event in reader.feed(stream[start:stop]):
            if isinstance(event, Head):
                status, body = int(event.start[1]), b""
            elif isinstance(event, Body):
                body += event.data
            elif isinstance(event, End):
                ends += event.clean
                told.append((status, body))
    assert told == by_h11(drawn[0])
    assert ends == len(drawn[0])
