"""When each fragment came: packet times, whatever the dialect, the cuts and the damage."""

from __future__ import annotations

import json
from itertools import accumulate

import pytest

from nightdesk.core.capture.arrivals import GAPS
from nightdesk.core.capture.exchanges import Assembler
from nightdesk.core.capture.packets import PacketReader, addresses_of
from nightdesk.model.exchange import Exchange, ExchangeSeen
from tests.support.wire import (
    ACK,
    LAST,
    PSH,
    RECORDINGS,
    STREAM_HEAD,
    Talk,
    chunk,
    exchanges,
    frames_of,
    piece,
    recording,
    request,
)

ASK = request({"model": "m", "prompt": "x"})
EVENTS_HEAD = STREAM_HEAD.replace(b"application/x-ndjson", b"text/event-stream")
UNKNOWN = {"fragment_gaps_ns"}


def said(text: str) -> bytes:
    """One event of an OpenAI chat."""
    return (
        b"data: " + json.dumps({"model": "m", "choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
    )


def only(talk: Talk) -> Exchange:
    """The only exchange; the same whether its packets come one by one or all at once."""
    assembler = Assembler(frozenset({11434}), grow_every_ns=None)
    events = [event for frame in talk.frames for event in assembler.feed_frame(*frame)]
    events += assembler.finish(talk.at_ns)
    slowly = [event.exchange for event in events if isinstance(event, ExchangeSeen)]
    found = exchanges(talk.frames)
    assert found == slowly and len(found) == 1
    assert len(found[0].fragment_gaps_ns) == found[0].fragments
    return found[0]


def came(found: Exchange) -> list[int]:
    """Microseconds from the request to each fragment."""
    return [ns // 1000 for ns in accumulate(found.fragment_gaps_ns)]


def test_each_fragment_has_the_time_of_the_packet_that_completed_it() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD)
    talk.answer(piece("a")).answer(piece("b") + piece("c")).answer(piece("d")[:9]).answer(
        piece("d")[9:] + LAST
    )
    found = only(talk)
    assert came(found) == [3, 5, 5, 9, 9]
    assert found.first_token_ns == found.started_ns + found.fragment_gaps_ns[0]


@pytest.mark.parametrize("size", [1, 2, 7, 33, 150, 700])
def test_cuts_anywhere_give_the_time_of_the_last_byte(size: int) -> None:
    parts = [STREAM_HEAD, *(piece(f"w{number}") for number in range(30)), LAST]
    data = b"".join(parts)
    talk = Talk().open().send(ASK)
    for at in range(0, len(data), size):
        talk.packet(1, PSH | ACK, data[at : at + size])
    # The last byte of a line lies before the line end of its chunk, and in LAST before the closing chunk too.
    ends = [end - 2 for end in accumulate(map(len, parts))][1:]
    ends[-1] -= len(b"0\r\n\r\n")
    assert came(only(talk)) == [(end - 1) // size + 1 for end in ends]


def test_events_are_timed_and_the_end_mark_is_no_fragment() -> None:
    talk = Talk().open().send(request({"model": "m"}, "/v1/chat/completions")).answer(EVENTS_HEAD)
    talk.answer(chunk(said(""))).answer(chunk(said("a"))).answer(chunk(said("b") + said("c")))
    talk.answer(chunk(b": still here\n\n")).answer(chunk(said("d")))
    talk.answer(chunk(said("e") + b"data: [DONE]\n\n") + b"0\r\n\r\n")
    found = only(talk)
    assert (found.text, came(found)) == ("abcde", [3, 5, 7, 7, 11, 13])
    assert found.first_token_ns == found.started_ns + 5_000


def test_named_events_and_the_line_ends_of_other_systems_are_timed() -> None:
    talk = Talk().open().send(request({"model": "m"}, "/v1/messages")).answer(EVENTS_HEAD)
    for word in "abc":
        event = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": word}}
        talk.answer(chunk(b"event: content_block_delta\r\ndata: " + json.dumps(event).encode() + b"\r\n\r\n"))
    talk.answer(chunk(b'event: message_stop\ndata: {"type":"message_stop"}\n\n') + b"0\r\n\r\n")
    found = only(talk)
    assert (found.text, came(found)) == ("abc", [3, 5, 7, 9])


def test_lines_that_are_no_fragments_shift_no_time() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a")).answer(piece("b"))
    talk.answer(chunk(b"\n")).answer(piece("c") + piece("d")).answer(chunk(b"nonsense\n")).answer(piece("e"))
    found = only(talk.answer(LAST))
    assert (found.text, came(found)) == ("abcde", [1, 3, 7, 7, 11, 13])


def test_a_stream_without_chunks_is_timed_by_its_lines() -> None:
    talk = Talk().open().send(ASK).answer(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n")
    lines = [json.dumps({"model": "m", "response": word}).encode() + b"\n" for word in "abcd"]
    talk.answer(lines[0]).answer(lines[1] + lines[2][:5]).answer(lines[2][5:]).answer(lines[3][:-1])
    found = only(talk.close())
    assert (found.text, came(found)) == ("abcd", [3, 5, 7, 9])


def test_behind_a_gap_the_times_go_on() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    talk.answer(piece("b"), kept=False).answer(piece("c")).answer(LAST)
    found = only(talk)
    assert (found.state, came(found)) == ("incomplete", [1, 5, 7])


def test_a_fragment_that_waited_for_an_older_packet_came_with_that() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    late = talk.packet(1, PSH | ACK, piece("b"), kept=False)
    talk.packet(1, PSH | ACK, piece("c"))
    talk.frames.append((1, talk.at_ns, late[2]))
    talk.at_ns += 1000
    found = only(talk.answer(LAST))
    assert (found.state, found.text) == ("complete", "abc")
    assert came(found) == [1, 5, 5, 6]


def test_times_that_go_backwards_give_no_negative_gap() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a")).answer(piece("b"))
    talk.at_ns -= 2_500
    found = only(talk.answer(piece("c")).answer(LAST))
    assert came(found) == [1, 3, 3, 4]
    assert found.ended_ns is not None and found.ended_ns >= found.started_ns + sum(found.fragment_gaps_ns)


def test_the_times_of_an_endless_stream_are_cut_and_the_record_says_so() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD)
    for _ in range(GAPS // 100 + 3):
        talk.packet(1, PSH | ACK, piece("a ") * 100)
    found = exchanges(talk.answer(LAST).frames)[0]
    assert (found.fragments, len(found.fragment_gaps_ns)) == (GAPS + 301, GAPS)
    assert found.unknown.keys() == UNKNOWN


def test_a_document_has_no_fragments() -> None:
    body = b'{"model":"m","response":"a","done":true}'
    talk = Talk().open().send(ASK)
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n" + body)
    assert only(talk).fragment_gaps_ns == ()


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.pcap")))
def test_a_recording_gives_the_times_of_its_packets(name: str) -> None:
    """Against a reading of the same packets that knows nothing but packets and ends of objects."""
    frames = frames_of(recording(f"{name}.pcap"))
    for found in exchanges(frames):
        if found.state != "complete" or not found.streamed:
            continue
        assert len(found.fragment_gaps_ns) == found.fragments
        times = list(accumulate(found.fragment_gaps_ns, initial=found.started_ns))[1:]
        assert found.first_token_ns is None or found.first_token_ns in times
        assert found.ended_ns is not None and times[-1] <= found.ended_ns
        assert times == _seen(frames, found)


def _seen(frames: list[tuple[int, int, bytes]], found: Exchange) -> list[int]:
    """When the packets with the ends of objects came, in one exchange."""
    reader, times, waits = PacketReader(), [], b""
    mark = {"ndjson": b"}\n\r\n", "sse": b"}\n\n"}[found.stream_format or "sse"]
    assert found.ended_ns is not None
    for link, at_ns, frame in frames:
        segment = reader.read(link, frame)
        if segment is None or addresses_of(segment.key) != (found.server_addr, found.client_addr):
            continue
        if found.started_ns <= at_ns <= found.ended_ns:
            waits += segment.payload
            times += [at_ns] * waits.count(mark)
            waits = waits[waits.rfind(mark) + len(mark) if mark in waits else 0 :]
    return times


def test_a_document_in_many_pieces_is_read_like_one_in_single_pieces() -> None:
    body = b'{"model":"m","message":{"role":"assistant","content":"' + b"a" * 4000 + b'"},"done":true}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = head + body
    pieces = [answer[at : at + 500] for at in range(0, len(answer), 500)]
    times = list(range(1_000, 1_000 + len(pieces)))
    times[3], times[5] = times[5], times[3]
    found = []
    for cuts in ([pieces], [[one] for one in pieces]):
        assembler, events, clock = Assembler(frozenset({11434}), grow_every_ns=None), [], iter(times)
        ask = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        assembler.feed_pieces(1, "127.0.0.1:5", "127.0.0.1:11434", "request", [900], [ask])
        for part in cuts:
            stamps = [next(clock) for _ in part]
            events += assembler.feed_pieces(1, "127.0.0.1:5", "127.0.0.1:11434", "response", stamps, part)
        found += [event.exchange for event in events if isinstance(event, ExchangeSeen)]
    assert len(found) == 2
    assert found[0] == found[1]
    assert found[0].text == "a" * 4000
