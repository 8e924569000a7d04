"""Writes a capture file that looks like a night of Ollama on loopback, and says what is in it.

Sixteen keep-alive connections talk at the same time: tokens as NDJSON, one chunk a segment as the real server sends
them, some as server-sent events, and embeddings of a megabyte in segments of 64 KB. The same number of exchanges
always gives the same file.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

CONNECTIONS = 16
PORT = 11434
WHOLE = 3656
"""Exchanges of a file with about 1,000,000 packets."""
EMBEDDING_OF = 24
"""One exchange in so many is an embedding."""
SEGMENT = 65_483
_BEGIN_NS = 1_760_000_000_000_000_000
_PUSH, _ACK, _SYN, _FIN = 8, 16, 2, 1
_WORDS = (
    " the", " a", " of", " night", " desk", " model", " token", " river", " lantern", ".", ",", "\n", " Grüße",
    " 你好", " 🌙", ' "quoted"', " tab\t", " <tag>", " over", " under", " packet", " reply",
)  # fmt: skip
_IP = struct.Struct(">12x2sBBHHHBBH4s4sHHIIBBHHH12s")
_RECORD = struct.Struct("<IIII")

Packet = tuple[int, bool, int, bytes]
"""Time, whether the server sends it, flags, payload."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One exchange as its client and server know it."""

    path: str
    text: str
    fragments: int
    reply_tokens: int | None
    dims: int | None
    request_sha256: str
    response_sha256: str
    started_ns: int
    first_token_ns: int | None
    ended_ns: int


def write_capture(path: Path, exchanges: int = WHOLE) -> tuple[int, list[Truth]]:
    """Writes the file; returns its number of packets and its exchanges in the order of their first bytes."""
    truths: list[Truth] = []
    shares = [exchanges // CONNECTIONS + (n < exchanges % CONNECTIONS) for n in range(CONNECTIONS)]
    talks = [_frames(n, _Talk(n, share, truths)) for n, share in enumerate(shares)]
    count = 0
    with path.open("wb", buffering=1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1))
        for at_ns, frame in heapq.merge(*talks, key=lambda item: item[0]):
            file.write(_RECORD.pack(at_ns // 10**9, at_ns % 10**9, len(frame), len(frame)))
            file.write(frame)
            count += 1
    return count, sorted(truths, key=lambda truth: truth.started_ns)


def _frames(number: int, talk: _Talk) -> Iterator[tuple[int, bytes]]:
    """The frames of one connection, each with its acknowledgement, as loopback shows them."""
    seqs = [random.Random(number).getrandbits(32), random.Random(-number).getrandbits(32)]
    ports = 40_000 + number, PORT
    for at_ns, from_server, flags, payload in talk.packets():
        mine, other = int(from_server), int(not from_server)
        for side, bits, data, later in ((mine, flags, payload, 0), (other, _ACK, b"", 4_000)):
            if side == other and (not payload or (len(payload) == SEGMENT and number % 2)):
                continue
            yield at_ns + later, _frame(ports[side], ports[1 - side], seqs[side], seqs[1 - side], bits, data)
            seqs[side] = (seqs[side] + len(data) + bool(bits & (_SYN | _FIN))) & 0xFFFFFFFF


def _frame(source: int, target: int, seq: int, ack: int, flags: int, payload: bytes) -> bytes:
    host = b"\x7f\0\0\1"
    head = _IP.pack(
        b"\x08\0", 0x45, 0, 52 + len(payload), seq & 0xFFFF, 0x4000, 64, 6, 0, host, host, source, target,
        seq, ack if flags & _ACK else 0, 0x80, flags, 512, 0xFE28, 0, b"\x01\x01\x08\x0a" + bytes(8),
    )  # fmt: skip
    return head + payload


class _Talk:
    """One connection: asks one thing after the other."""

    def __init__(self, number: int, exchanges: int, truths: list[Truth]) -> None:
        self._random = random.Random(1000 + number)
        self._number = number
        self._exchanges = exchanges
        self._truths = truths
        self._now = _BEGIN_NS + number * 1_000_003

    def packets(self) -> Iterator[Packet]:
        """All packets that carry bytes or flags; bare acknowledgements are added by the caller."""
        yield from ((self._pass(20_000), server, flags, b"") for server, flags in _OPENING)
        for index in range(self._exchanges):
            place = index * CONNECTIONS + self._number
            if place % EMBEDDING_OF == EMBEDDING_OF - 1:
                yield from self._embedding()
            else:
                yield from self._stream(("/api/generate", "/api/chat", "/v1/chat/completions")[_kind(place)])
        yield from ((self._pass(20_000), server, flags, b"") for server, flags in _CLOSING)

    def _pass(self, about_ns: int) -> int:
        self._now += self._random.randint(about_ns // 2, about_ns * 3 // 2)
        return self._now

    def _request(self, path: str, **body: object) -> tuple[bytes, bytes]:
        raw = json.dumps({"model": "llama3.2:3b", **body}, separators=(",", ":")).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nConnection: keep-alive\r\n"
        head += (
            f"content-type: application/json\r\nuser-agent: ollama-python/0.6.3\r\nContent-Length: {len(raw)}"
        )
        return head.encode() + b"\r\n\r\n", raw

    def _words(self, count: int) -> list[str]:
        return self._random.choices(_WORDS, k=count)

    def _stream(self, path: str) -> Iterator[Packet]:
        words = self._words(self._random.randint(60, 216))
        question = "".join(self._words(12))
        asked = [{"role": "user", "content": question}]
        head, body = self._request(
            path, **({"prompt": question} if "generate" in path else {"messages": asked})
        )
        yield (started := self._pass(300_000)), False, _PUSH | _ACK, head
        yield self._pass(20_000), False, _PUSH | _ACK, body
        self._now += 30_000_000
        lines = _LINES[path](words, self._now)
        kind = "text/event-stream" if "/v1" in path else "application/x-ndjson"
        first = 0
        for position, line in enumerate(lines):
            chunk = b"%x\r\n%b\r\n" % (len(line), line)
            at_ns = self._pass(2_000_000)
            first = first or at_ns
            yield at_ns, True, _PUSH | _ACK, (chunk if position else _head(kind) + chunk)
        yield self._pass(20_000), True, _PUSH | _ACK, b"0\r\n\r\n"
        self._truths.append(
            Truth(
                path=path,
                text="".join(words),
                fragments=len(lines) - ("/v1" in path),
                reply_tokens=None if "/v1" in path else len(words),
                dims=None,
                request_sha256=hashlib.sha256(body).hexdigest(),
                response_sha256=hashlib.sha256(b"".join(lines)).hexdigest(),
                started_ns=started,
                first_token_ns=first,
                ended_ns=self._now,
            )
        )

    def _embedding(self) -> Iterator[Packet]:
        head, body = self._request("/api/embed", input=["".join(self._words(30))] * 26)
        yield (started := self._pass(300_000)), False, _PUSH | _ACK, head
        yield self._pass(20_000), False, _PUSH | _ACK, body
        vector = [round(self._random.uniform(-0.1, 0.1), 9) for _ in range(2560)]
        rows = json.dumps([vector] * 26, separators=(",", ":")).encode()
        document = (
            b'{"model":"nomic","embeddings":%b,"total_duration":265897433,"prompt_eval_count":780}' % rows
        )
        raw = _head("application/json; charset=utf-8") + b"%x\r\n%b\r\n" % (len(document), document)
        self._now += 30_000_000
        cuts = [0, 4096, *range(4096 + SEGMENT, len(raw), SEGMENT), len(raw)]
        for begin, end in pairwise(cuts):
            yield self._pass(30_000), True, _ACK, raw[begin:end]
        yield self._pass(20_000), True, _PUSH | _ACK, b"0\r\n\r\n"
        self._truths.append(
            Truth(
                path="/api/embed",
                text="",
                fragments=0,
                reply_tokens=None,
                dims=len(vector),
                request_sha256=hashlib.sha256(body).hexdigest(),
                response_sha256=hashlib.sha256(document).hexdigest(),
                started_ns=started,
                first_token_ns=None,
                ended_ns=self._now,
            )
        )


_OPENING = ((False, _SYN), (True, _SYN | _ACK), (False, _ACK))
_CLOSING = ((False, _FIN | _ACK), (True, _FIN | _ACK), (False, _ACK))


def _kind(place: int) -> int:
    """Generate and chat by turns; one exchange in ten speaks the OpenAI dialect."""
    return 2 if place % 10 == 7 else place % 2


def _head(kind: str) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDate: Thu, 09 Oct 2025 08:53:20 GMT\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()


def _quoted(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _created(now_ns: int, position: int) -> str:
    return f"2025-10-09T08:53:20.{(now_ns + position * 2_000_003) % 10**9:09}Z"


def _last(now_ns: int, words: list[str], **reply: object) -> bytes:
    counts = {"total_duration": 78_956_515, "load_duration": 1_521_184, "prompt_eval_count": 64}
    counts |= {"prompt_eval_duration": 57_450_000, "eval_count": len(words), "eval_duration": 15_836_000}
    end = {"done": True, "done_reason": "stop", **counts}
    return (
        _quoted({"model": "llama3.2:3b", "created_at": _created(now_ns, len(words)), **reply, **end}) + b"\n"
    )


def _generate_lines(words: list[str], now_ns: int) -> list[bytes]:
    lines = [
        b'{"model":"llama3.2:3b","created_at":"%b","response":%b,"done":false}\n'
        % (_created(now_ns, position).encode(), _quoted(word))
        for position, word in enumerate(words)
    ]
    return [*lines, _last(now_ns, words, response="")]


def _chat_lines(words: list[str], now_ns: int) -> list[bytes]:
    lines = [
        b'{"model":"llama3.2:3b","created_at":"%b","message":{"role":"assistant","content":%b},"done":false}\n'
        % (_created(now_ns, position).encode(), _quoted(word))
        for position, word in enumerate(words)
    ]
    return [*lines, _last(now_ns, words, message={"role": "assistant", "content": ""})]


def _events(words: list[str], now_ns: int) -> list[bytes]:
    frame = (
        b'data: {"id":"chatcmpl-278","object":"chat.completion.chunk","created":1760000000,"model":"llama3.2:3b",'
        b'"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{%b},"finish_reason":%b}]}\n\n'
    )
    lines = [frame % (b'"content":' + _quoted(word), b"null") for word in words]
    return [*lines, frame % (b'"content":""', b'"stop"'), b"data: [DONE]\n\n"]


_LINES = {"/api/generate": _generate_lines, "/api/chat": _chat_lines, "/v1/chat/completions": _events}
