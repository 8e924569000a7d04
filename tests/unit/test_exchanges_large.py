"""Sizes and numbers that occur on real machines: megabytes, thousands of fragments, many requests, other ports."""

from __future__ import annotations

import hashlib
import json
import random

from nightdesk.core.capture.bounds import CHECK_BYTES, TOTAL_BYTES
from nightdesk.core.capture.exchanges import Assembler
from nightdesk.model.exchange import ExchangeSeen
from tests.support.wire import ACK, FIN, LAST, PSH, STREAM_HEAD, Talk, chunk, exchanges, piece, request


def cut(talk: Talk, side: int, data: bytes, most: int, seed: int = 1) -> None:
    """Sends bytes in segments of random sizes."""
    dice, at = random.Random(seed), 0
    while at < len(data):
        size = dice.randint(1, most)
        talk.packet(side, PSH | ACK, data[at : at + size])
        at += size


def test_four_thousand_fragments_in_segments_of_any_size() -> None:
    words = [f"w{number} " for number in range(4_000)]
    talk = (
        Talk(client_isn=0xFFFFFF00, server_isn=0xFFFFF000).open().send(request({"model": "m", "prompt": "x"}))
    )
    cut(talk, 1, STREAM_HEAD + b"".join(map(piece, words)) + LAST, 700)
    found = exchanges(talk.frames)[0]
    assert (found.state, found.text, found.fragments) == ("complete", "".join(words), 4_001)


def test_megabytes_both_ways_in_one_chunk_each() -> None:
    asked = json.dumps({"model": "m", "input": ["word " * 500_000]}).encode()
    vectors = json.dumps({"model": "m", "embeddings": [[0.25] * 768] * 600, "total_duration": 5}).encode()
    head = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk = Talk().open()
    cut(talk, 0, head + chunk(asked) + b"0\r\n\r\n", 65_000)
    cut(talk, 1, reply + chunk(vectors) + b"0\r\n\r\n", 65_000)
    found = exchanges(talk.frames)[0]
    assert (found.state, found.request_bytes, found.response_bytes) == ("complete", len(asked), len(vectors))
    assert found.request_sha256 == hashlib.sha256(asked).hexdigest()
    assert found.response_sha256 == hashlib.sha256(vectors).hexdigest()
    assert found.embeddings is not None and (found.embeddings.count, found.embeddings.dims) == (600, 768)
    assert found.prompt is not None and found.prompt.prompt == "word " * 500_000


def test_a_blob_of_megabytes_is_counted_and_hashed_and_no_prompt_is_looked_for() -> None:
    blob = random.Random(5).randbytes(6_000_000)
    head = b"POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk = Talk().open()
    parts = b"".join(chunk(blob[at : at + 32_768]) for at in range(0, len(blob), 32_768))
    cut(talk, 0, head + parts + b"0\r\n\r\n", 65_000)
    talk.answer(b"HTTP/1.1 201 Created\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    found = exchanges(talk.frames)[0]
    assert (found.state, found.status, found.operation, found.prompt) == ("complete", 201, "manage", None)
    assert found.request_sha256 == hashlib.sha256(blob).hexdigest()


def test_fifty_requests_on_one_connection_among_them_heads_and_leaves_to_go_on() -> None:
    talk = Talk().open()
    for number in range(50):
        if number % 5 == 0:
            talk.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n")
            continue
        ask = request({"model": "m", "prompt": str(number)}, extra="Expect: 100-continue\r\n")
        end = ask.index(b"\r\n\r\n") + 4
        talk.send(ask[:end]).answer(b"HTTP/1.1 100 Continue\r\n\r\n").send(ask[end:])
        talk.answer(STREAM_HEAD + piece(f"answer {number}") + LAST)
    found = exchanges(talk.close().frames)
    assert [e.position for e in found] == list(range(1, 51))
    assert {e.state for e in found} == {"complete"}
    assert [e.text for e in found if e.method == "POST"] == [f"answer {n}" for n in range(50) if n % 5]
    assert all(e.prompt and e.prompt.prompt == e.text.split()[1] for e in found if e.method == "POST")


def test_an_answer_to_an_old_client_ends_with_its_connection() -> None:
    talk = Talk().open().send(b'POST /api/generate HTTP/1.0\r\nContent-Length: 14\r\n\r\n{"model": "m"}')
    lines = b'{"model":"m","response":"old"}\n{"model":"m","response":" style","done":true}\n'
    talk.answer(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + lines)
    talk.packet(1, FIN | ACK)
    found = exchanges(talk.frames)[0]
    assert (found.state, found.text, found.done) == ("complete", "old style", True)


def test_the_servers_own_traffic_with_its_runner_stays_apart() -> None:
    front = Talk().open().send(request({"model": "m", "prompt": "x"})).answer(STREAM_HEAD)
    events = b'data: {"content":"inner","stop":false}\n\n'
    behind = Talk(52_000).open().send(request({"prompt": "<s>x"}, "/completion"))
    behind.answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    behind.answer(chunk(events) + b"0\r\n\r\n")
    front.answer(piece("outer") + LAST)
    moved = [
        (link, at, frame.replace((11434).to_bytes(2, "big"), (39_123).to_bytes(2, "big")))
        for link, at, frame in behind.frames
    ]
    frames = sorted(front.frames + moved, key=lambda frame: frame[1])
    assert [(e.text, e.dialect) for e in exchanges(frames)] == [("outer", "ollama")]
    by_port = {e.server_addr: (e.text, e.path) for e in exchanges(frames, ports=None)}
    assert by_port == {
        "127.0.0.1:11434": ("outer", "/api/generate"),
        "127.0.0.1:39123": ("", "/completion"),
    }


def test_many_lines_that_never_end_cost_bounded_memory() -> None:
    assembler = Assembler(frozenset({11434}), grow_every_ns=None)
    for port in range(30_000, 30_040):
        talk = Talk(port).open().send(request({"model": "m", "prompt": "x"}))
        head = STREAM_HEAD.replace(b"Transfer-Encoding: chunked", b"X: y")
        cut(talk, 1, head + b'{"context":[' + b"1," * 2_000_000, 65_000)
        assembler.feed_frames(talk.frames)
    held = sum(draft.held_bytes for tracked in assembler._tracked.values() for draft in tracked.http.waiting)
    assert held <= TOTAL_BYTES + CHECK_BYTES + 4_000_000
    ends = [event.exchange for event in assembler.finish(1) if isinstance(event, ExchangeSeen)]
    assert len(ends) == 40 and sum("too much was in flight" in (e.note or "") for e in ends) >= 20
