"""What the faults are put into: packets, files, messages, bodies, recordings in which every exchange has its word."""

from __future__ import annotations

import gzip
import json
import random
import struct
from typing import Any

from nightdesk.core.capture.bursts import Frame
from tests.support.wire import (
    ACK,
    FIN,
    LAST,
    PSH,
    RST,
    STREAM_HEAD,
    SYN,
    Talk,
    chunk,
    ethernet,
    ipv4,
    ipv6,
    pcap,
    piece,
    request,
    tcp,
)  # fmt: skip

WORDS = (
    "walnut", "copper", "thunder", "bishop", "glacier", "pepper", "mosquito", "drizzle", "ankle", "vortex",
    "fjord", "quilt", "jigsaw", "umbrella", "hazelnut", "kiosk",
)  # fmt: skip
"""No word is part of another, and no two are alike: one flipped bit makes none of them out of another."""

_ASKED = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
_SEGMENT = tcp(40_000, 11434, 7, 9, PSH | ACK, _ASKED, b"\1\1\x08\x0a" + b"\0" * 8)


def _extended(*headers: tuple[int, int]) -> bytes:
    """An IPv6 packet with extension headers: (number, bytes)."""
    body, kind = _SEGMENT, 6
    for number, size in reversed(headers):
        body, kind = bytes((kind, size // 8 - 1)) + b"\0" * (size - 2) + body, number
    return ipv6(body, kind)


def _fragment6(place: int, body: bytes) -> bytes:
    return ipv6(struct.pack(">BBHI", 6, 0, place, 77) + body, 44)


_V4, _V6 = ipv4(_SEGMENT), ipv6(_SEGMENT)
FRAMES: tuple[tuple[int, bytes], ...] = (
    (1, ethernet(_V4)),
    (1, ethernet(_V6)),
    (1, ethernet(ipv4(_SEGMENT, options=b"\1" * 8))),
    (1, b"\0" * 12 + b"\x81\0\0\5\x88\xa8\0\6\x08\0" + _V4),
    (1, ethernet(ipv4(_SEGMENT[:48], place=0x2000))),
    (1, ethernet(ipv4(_SEGMENT[48:], place=6))),
    (1, ethernet(_fragment6(1, _SEGMENT[:48]))),
    (1, ethernet(_fragment6(48, _SEGMENT[48:]))),
    (1, ethernet(_extended((0, 8), (43, 16), (60, 24), (51, 16)))),
    (0, b"\2\0\0\0" + _V4),
    (0, b"\0\0\0\x1e" + _V6),
    (108, b"\0\0\0\2" + _V4),
    (113, b"\0\0\3\4\0\6" + b"\0" * 8 + b"\x08\0" + _V4),
    (276, b"\x08\0\0\0\0\0\0\1\3\4\0\6" + b"\0" * 8 + _V4),
    (101, _V4),
    (229, _V6),
)


def _block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def pcapng(frames: list[Frame], order: str = "<", resolution: int = 9) -> bytes:
    """The frames as pcapng, one interface for each link type."""
    links = sorted({link for link, _, _ in frames})
    out = _block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    for link in links:
        option = struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
        out += _block(1, struct.pack(order + "HHI", link, 0, 0) + option, order)
    for link, at, frame in frames:
        ticks = at * 10**resolution // 10**9
        head = struct.pack(
            order + "5I", links.index(link), ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
        )
        out += _block(6, head + frame, order)
    return out


_SOME: list[Frame] = [(1, 10**18 + index, frame) for index, (link, frame) in enumerate(FRAMES) if link == 1]
FILES = (
    pcap(_SOME),
    pcap(_SOME, order=">", nano=True),
    pcapng(_SOME),
    pcapng(_SOME, ">", 6),
    _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    + _block(1, struct.pack("<HHI", 1, 0, 64))
    + _block(3, struct.pack("<I", 80) + FRAMES[0][1])
    + _block(2, struct.pack("<HHIIII", 0, 0, 1, 2, 90, 90) + FRAMES[0][1]),
)

_OBJECT = b'{"model":"m","response":"one","done":true}'
REQUESTS = (
    request({"model": "m", "prompt": "one"}),
    b"POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: x\r\ntransfer-encoding: Chunked\r\n\r\n"
    + chunk(b"\0\1\2") + b"5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /api/tags HTTP/1.0\r\n folded: a\r\n b\r\n\r\n",
    request({"model": "m"}, extra="Expect: 100-continue\r\n"),
)  # fmt: skip
RESPONSES = (
    STREAM_HEAD + piece("one") + piece("two") + LAST,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n" + _OBJECT,
    b"HTTP/1.1 200 OK\r\n\r\n" + _OBJECT,
    b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk(gzip.compress(_OBJECT, mtime=0)) + b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n') + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
)  # fmt: skip


def _lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value, separators=(",", ":")).encode() + b"\n" for value in values)


def _events(*values: Any) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + b"data: [DONE]\n\n"
    )


_TOOL = {"index": 0, "id": "c", "function": {"name": "now", "arguments": '{"a":1}'}}
BODIES: tuple[tuple[str | None, bytes, str], ...] = (
    ("/api/generate", _lines({"model": "m", "response": "a"}, {"model": "m", "response": "b", "thinking": "t"},
        {"model": "m", "done": True, "done_reason": "stop", "eval_count": 3, "context": [1, 2]}), "ndjson"),
    ("/api/chat", _lines({"model": "m", "message": {"role": "assistant", "content": "a"}},
        {"model": "m", "message": {"content": "", "tool_calls": [_TOOL]}}, {"model": "m", "message": {}, "done": True}),
        "ndjson"),
    ("/api/pull", _lines({"status": "pulling"}, {"error": "no space"}), "ndjson"),
    ("/api/embed", b'{"model":"m","embeddings":[[0.1,2],[3,4]],"total_duration":5,"prompt_eval_count":2}', "json"),
    ("/api/embeddings", b'{"embedding":[1,2,3]}', "json"),
    ("/v1/chat/completions", _events({"model": "m", "choices": [{"index": 0, "delta": {"content": "a",
        "reasoning": "r", "tool_calls": [_TOOL]}}]}, {"choices": [], "usage": {"prompt_tokens": 3}}), "sse"),
    ("/v1/chat/completions", b'{"model":"m","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}', "json"),
    ("/v1/completions", _events({"choices": [{"text": "a", "finish_reason": "length"}]}), "sse"),
    ("/v1/embeddings", b'{"data":[{"embedding":"QUJDREVG"},{"embedding":[1]}],"usage":{"prompt_tokens":1}}', "json"),
    ("/v1/responses", _events({"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.output_item.done", "item": {"type": "function_call", "name": "n", "arguments": "{}"}},
        {"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 1}}}), "sse"),
    ("/v1/messages", _events({"type": "message_start", "message": {"usage": {"input_tokens": 7}}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "n"}},
        {"type": "content_block_delta", "delta": {"partial_json": "{"}}, {"type": "content_block_stop"},
        {"type": "message_delta", "delta": {"stop_reason": "x"}, "usage": {}}, {"type": "message_stop"}), "sse"),
    (None, _lines({"model": "m", "response": "a"}), "ndjson"),
    ("/elsewhere", b'{"error":"no"}', "json"),
)  # fmt: skip
PROMPTS = tuple(
    json.dumps(value).encode()
    for value in (
        {"model": "m", "prompt": "p", "images": ["QUJD"], "options": {"num_ctx": 5}, "format": {"type": "object"}},
        {"model": "m", "messages": [{"role": "user", "content": "p", "tool_calls": [_TOOL], "images": ["QUJD"]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:;base64,QQ=="}},
            {"type": "tool_use", "id": "t", "input": {}}, {"type": "tool_result", "content": [{"text": "x"}]}]}],
            "system": [{"text": "s"}], "tools": [{}]},
        {"model": "m", "input": [{"type": "function_call", "name": "n"}, {"role": "user", "content": "c"}]},
        {"model": "m", "input": ["a", "b"]},
    )
)  # fmt: skip


def _said(word: str, dice: random.Random) -> bytes:
    """A reply that says nothing but its word."""
    count = dice.randint(0, 6)
    form = dice.randrange(5)
    if form == 0:
        body = json.dumps({"model": "m", "response": f"{word} " * count, "done": True}).encode()
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
    if form == 1:
        event = json.dumps(
            {"model": "m", "choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
        ).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + chunk(b"data: " + event + b"\n\n") * count + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    if form == 2:
        body = json.dumps({"error": f"{word} not found"}).encode()
        return (
            b"HTTP/1.1 404 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
    return STREAM_HEAD + piece(f"{word} ") * count + LAST


def _asked(word: str, dice: random.Random) -> bytes:
    path = dice.choice(("/api/generate", "/v1/completions", "/api/generate"))
    return request({"model": "m", "prompt": f"{word} " * dice.choice((1, 1, 30))}, path)


def recording(dice: random.Random) -> list[Frame]:
    """Up to four connections at once, with a word for each exchange on any of them."""
    words = dice.sample(WORDS, len(WORDS))
    talks = []
    base = dice.randrange(40_000, 60_000)
    for number in range(dice.randint(1, 4)):
        isns = {"client_isn": dice.randrange(2**32), "server_isn": dice.randrange(2**32)}
        talk = Talk(base + number, step_ns=dice.choice((1_000, 1_000_000, 300_000_000)), **isns).open()
        talk.at_ns += dice.randrange(10**6)
        for _ in range(dice.randint(1, 4)):
            _speak(talk, words.pop(), dice)
        dice.choice((talk.close, talk.close, lambda talk=talk: talk.packet(0, RST), lambda: None))()
        talks.append(talk)
    return sorted((frame for talk in talks for frame in talk.frames), key=lambda frame: frame[1])


def _speak(talk: Talk, word: str, dice: random.Random) -> None:
    """One exchange, in segments of any size."""
    ask, answer = _asked(word, dice), _said(word, dice)
    size = dice.choice((40, 90, 200, 60_000))
    for at in range(0, len(ask), size):
        talk.send(ask[at : at + size])
    size = dice.choice((40, 90, 200, 60_000))
    for at in range(0, len(answer), size):
        if dice.random() < 0.5:
            talk.answer(answer[at : at + size])
        else:
            talk.packet(1, PSH | ACK, answer[at : at + size])


__all__ = ["ACK", "BODIES", "FILES", "FIN", "FRAMES", "PROMPTS", "REQUESTS", "RESPONSES", "SYN", "WORDS", "pcapng",
           "recording"]  # fmt: skip
