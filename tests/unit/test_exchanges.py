"""What the assembler says, and when: states, growth, attribution, limits, secrets."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from nightdesk.core.capture.exchanges import Assembler, CaptureEvent, ConnectionOpened
from nightdesk.model.exchange import Exchange, ExchangeGrew, ExchangeSeen
from nightdesk.model.process import ProcessRef
from tests.support.wire import (
    ACK,
    FIN,
    LAST,
    PSH,
    RST,
    START_NS,
    STREAM_HEAD,
    SYN,
    Talk,
    exchanges,
    piece,
    request,
)  # fmt: skip

ASK = request({"model": "m", "prompt": "hello"})


def only(talk: Talk) -> Exchange:
    found = exchanges(talk.frames)
    assert len(found) == 1
    return found[0]


def answered(
    body: bytes, head: str = "Content-Type: application/json\r\n", path: str = "/api/generate"
) -> Exchange:
    full = f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return only(Talk().open().send(request({"model": "m", "prompt": "x"}, path)).answer(full))


def test_times_are_those_of_the_packets() -> None:
    talk = Talk(step_ns=1_000_000).open().send(ASK).answer(STREAM_HEAD).answer(piece("a")).answer(LAST)
    found = only(talk)
    assert found.started_ns == START_NS + 3_000_000
    assert found.first_byte_ns == START_NS + 4_000_000
    assert found.first_token_ns == START_NS + 6_000_000
    assert found.ended_ns == START_NS + 8_000_000


def test_a_client_that_leaves_in_the_middle_aborts_and_what_comes_later_is_not_its_answer() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    talk.packet(0, FIN | ACK)
    talk.packet(1, PSH | ACK, b'1f\r\n{"error":"context canceled"}...\r\n0\r\n\r\n')
    talk.packet(0, RST)
    found = only(talk)
    assert (found.state, found.aborted_by, found.text, found.error, found.fragments) == (
        "aborted",
        "client",
        "a",
        None,
        1,
    )


def test_an_error_that_answers_a_client_which_had_left_is_an_abort() -> None:
    talk = Talk().open().send(ASK)
    talk.packet(0, FIN | ACK)
    talk.packet(1, PSH | ACK, b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}")
    talk.packet(1, FIN | ACK)
    talk.packet(0, RST)
    found = only(talk)
    assert (found.state, found.aborted_by, found.status) == ("aborted", "client", None)


def test_a_client_that_closes_only_its_side_gets_its_answer() -> None:
    talk = Talk().open().send(ASK)
    talk.packet(0, FIN | ACK)
    talk.answer(b"HTTP/1.1 499 gone\r\nContent-Length: 20\r\n\r\n" + b'{"error":"canceled"}')
    talk.packet(1, FIN | ACK)
    found = only(talk)
    assert (found.state, found.status, found.error) == ("failed", 499, "canceled")


def test_a_server_that_dies_in_the_middle_aborts() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    talk.packet(1, FIN | ACK)
    found = only(talk)
    assert (found.state, found.aborted_by) == ("aborted", "server")


def test_leaving_after_the_final_object_is_complete() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a") + LAST[:-5])
    talk.packet(0, FIN | ACK)
    found = only(talk)
    assert (found.state, found.done, found.note) == ("complete", True, None)


def test_an_error_inside_a_good_status_is_a_failure() -> None:
    talk = Talk().open().send(ASK)
    talk.answer(STREAM_HEAD + piece("a") + b'10\r\n{"error":"oom"}\n\r\n0\r\n\r\n')
    found = only(talk)
    assert (found.state, found.error, found.text) == ("failed", "oom", "a")


def test_a_capture_that_ends_inside_gives_a_partial_exchange() -> None:
    found = only(Talk().open().send(ASK).answer(STREAM_HEAD + piece("a")))
    assert (found.state, found.text, found.ended_ns) == ("partial", "a", None)


def test_a_capture_that_begins_inside_gives_the_rest() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a")).answer(piece("b")).answer(LAST)
    found = exchanges(talk.frames[6:])[0]
    assert (found.state, found.text, found.method, found.reply_tokens) == ("partial", "b", None, 3)


def test_a_used_port_begins_a_new_connection() -> None:
    one = Talk().open().send(ASK).answer(STREAM_HEAD + piece("one") + LAST).close()
    two = Talk(client_isn=5_000_000, server_isn=99)
    two.at_ns = one.at_ns
    two.open().send(ASK).answer(STREAM_HEAD + piece("two") + LAST)
    found = exchanges(one.frames + two.frames)
    assert [(e.text, e.connection, e.position) for e in found] == [("one", 1, 1), ("two", 2, 1)]


def test_the_first_copy_of_a_byte_wins_and_probes_change_nothing() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("right"))
    talk.packet(1, PSH | ACK, b"X" * 20, back=20)
    talk.packet(1, ACK, b"\0", back=1)
    talk.answer(LAST)
    found = only(talk)
    assert (found.state, found.text) == ("complete", "right")


def test_growth_is_collected_and_the_whole_is_the_sum() -> None:
    talk = Talk(step_ns=20_000_000).open().send(ASK).answer(STREAM_HEAD)
    for index in range(20):
        talk.answer(piece(f"{index} "))
    talk.answer(LAST)
    assembler = Assembler(frozenset({11434}), grow_every_ns=100_000_000)
    events: list[CaptureEvent] = []
    for frame in talk.frames:
        events += assembler.feed_frame(*frame)
    assert isinstance(events[0], ConnectionOpened)
    states = [e.exchange.state for e in events if isinstance(e, ExchangeSeen)]
    assert states[0] == "running" and states[-1] == "complete" and states.count("complete") == 1
    grown = [event for event in events if isinstance(event, ExchangeGrew)]
    assert 5 <= len(grown) <= 12
    final = events[-1]
    assert isinstance(final, ExchangeSeen)
    assert final.exchange.text.startswith("".join(event.text for event in grown))
    assert grown[0].first_token_ns == final.exchange.first_token_ns


def test_the_process_is_remembered_for_the_connection() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    first = len(talk.frames)
    talk.answer(LAST).send(ASK).answer(STREAM_HEAD + LAST)
    assembler = Assembler(frozenset({11434}))
    assembler.feed_frames(talk.frames[:first])
    who = ProcessRef(pid=7, started_ns=1, name="python", command="python x.py")
    update = assembler.attribute(1, who, "run-1", "item-9")
    assert isinstance(update[0], ExchangeSeen) and update[0].exchange.process == who
    ends = [e.exchange for e in assembler.feed_frames(talk.frames[first:]) if isinstance(e, ExchangeSeen)]
    assert {(e.run, e.item) for e in ends} == {("run-1", "item-9")}
    assert assembler.attribute(99, who, None, None) == []


def test_relayed_bytes_give_the_same_exchange() -> None:
    assembler = Assembler(None, grow_every_ns=None)
    ends = ("127.0.0.1:5", "127.0.0.1:11434")
    assembler.feed_bytes("key", *ends, "request", 1, ASK)
    assembler.feed_bytes("key", *ends, "response", 2, STREAM_HEAD + piece("a"))
    events = assembler.feed_bytes("key", *ends, "response", 3, LAST)
    assert isinstance(events[0], ExchangeSeen)
    assert (events[0].exchange.state, events[0].exchange.text) == ("complete", "a")
    assert assembler.close_bytes("key", "request", 4) == assembler.close_bytes("key", "response", 5) == []


def test_a_relayed_client_that_leaves_aborts_at_once() -> None:
    assembler = Assembler(None)
    assembler.feed_bytes("key", "c:1", "s:2", "request", 1, ASK)
    assembler.feed_bytes("key", "c:1", "s:2", "response", 2, STREAM_HEAD + piece("a"))
    events = assembler.close_bytes("key", "request", 3)
    assert isinstance(events[-1], ExchangeSeen) and events[-1].exchange.state == "aborted"
    assert assembler.feed_bytes("key", "c:1", "s:2", "response", 4, b'{"error":"late"}') == []


def test_a_live_capture_gives_up_a_hole_by_the_clock() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    talk.answer(piece("lost"), kept=False)
    talk.answer(piece("b")).answer(LAST)
    assembler = Assembler(frozenset({11434}))
    assembler.feed_frames(talk.frames)
    events = assembler.tick(talk.at_ns + 10**9)
    assert isinstance(events[-1], ExchangeSeen)
    assert (events[-1].exchange.state, events[-1].exchange.text_pieces) == ("incomplete", ("a", "b"))
    size = len(piece("lost"))
    assert events[-1].exchange.text == f"a⟨{size} bytes missing⟩b"
    assert events[-1].exchange.missing_bytes.response == size


def test_secrets_are_masked_and_images_are_hash_and_size() -> None:
    image = "QUJD" * 200
    body = json.dumps({"model": "m", "prompt": "see", "images": [image]}).encode()
    ask = request(body, extra="Authorization: Bearer sk-1\r\ncookie: a=b\r\nX-Other: c\r\n")
    found = only(Talk().open().send(ask).answer(STREAM_HEAD + piece("a") + LAST))
    assert dict(found.request_headers)["Authorization"] == dict(found.request_headers)["cookie"] == "⟨masked⟩"
    assert dict(found.request_headers)["X-Other"] == "c"
    assert found.prompt is not None and found.prompt.images[0].bytes == 600
    assert found.prompt.images[0].sha256 == hashlib.sha256(b"ABC" * 200).hexdigest()
    assert found.request_body is not None and image not in found.request_body
    assert found.request_sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("record", ["metadata", "none"])
def test_content_stays_out_of_the_record_when_asked(record: str) -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("secret") + LAST)
    found = exchanges(talk.frames, record=record)[0]
    assert (found.text, found.prompt, found.request_body, found.response_body) == ("", None, None, None)
    assert (found.reply_tokens, found.model, found.state, found.fragments) == (3, "m", "complete", 2)
    assert bool(found.request_headers) is (record == "metadata")


def test_a_body_beyond_the_limit_is_cut_and_its_hash_is_whole() -> None:
    body = json.dumps({"model": "m", "response": "x" * 5000, "done": True}).encode()
    talk = Talk().open().send(ASK)
    talk.answer(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    found = exchanges(talk.frames, max_body_bytes=1024)[0]
    assert found.response_sha256 == hashlib.sha256(body).hexdigest()
    assert found.response_body is not None and len(found.response_body) == 1024
    assert len(found.text) == 1024 and "cut" in (found.note or "")


def test_a_compressed_answer_is_understood_and_hashed_as_sent() -> None:
    body = gzip.compress(b'{"model":"m","response":"zipped","done":true}')
    found = answered(body, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n")
    assert (found.text, found.response_sha256) == ("zipped", hashlib.sha256(body).hexdigest())
    found = answered(b"\x28\xb5\x2f\xfd", "Content-Encoding: lzw\r\n")
    assert "not decoded" in (found.note or "")


def test_many_connections_cost_bounded_memory() -> None:
    assembler = Assembler(frozenset({11434}), grow_every_ns=None)
    events = []
    for port in range(1024, 1024 + 5000):
        talk = Talk(port)
        talk.packet(0, SYN)
        events += assembler.feed_frames(talk.frames)
    assert len(assembler._tracked) <= 4096
    assert assembler.finish(1) is not None


def test_other_ports_are_ignored() -> None:
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + LAST)
    assert exchanges(talk.frames, ports=frozenset({8080})) == []


def test_a_line_of_megabytes_in_small_segments_is_read() -> None:
    """The final object of a generate call may carry millions of token numbers."""
    line = b'{"model":"m","response":"","done":true,"done_reason":"stop","eval_count":3,"context":['
    line += b"1," * 1_000_000 + b"1]}\n"
    talk = Talk().open().send(ASK).answer(STREAM_HEAD + piece("a"))
    data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line)
    for start in range(0, len(data), 1400):
        talk.packet(1, PSH | ACK, data[start : start + 1400])
    found = only(talk)
    assert (found.state, found.text, found.reply_tokens, found.fragments) == ("complete", "a", 3, 2)
