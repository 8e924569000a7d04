"""Packets, connections and capture files made by hand, and the recordings with their truth."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from nightdesk.core.capture.bursts import Frame
from nightdesk.core.capture.exchanges import Assembler
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.model.exchange import Exchange, ExchangeSeen

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "ollama"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
START_NS = 1_760_000_000_000_000_000
MASK = 0xFFFFFFFF


def recording(name: str) -> Path:
    """A file of the recordings; skips where they are absent."""
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip(f"no recordings beside the repository: {path}")
    return path


def truth(name: str) -> dict[str, Any]:
    """What the clients of a recording saw."""
    value: dict[str, Any] = json.loads(recording(f"{name}.json").read_bytes())
    return value


def tcp(source: int, target: int, seq: int, ack: int, flags: int, data: bytes, options: bytes = b"") -> bytes:
    """A TCP segment with a wrong checksum."""
    size = 20 + len(options)
    return (
        struct.pack(">HHIIBBHHH", source, target, seq, ack, size // 4 << 4, flags, 512, 0xBEEF, 0)
        + options
        + data
    )


def ipv4(
    body: bytes, *, options: bytes = b"", protocol: int = 6, place: int = 0x4000, total: int | None = None
) -> bytes:
    """An IPv4 packet from 127.0.0.1 to itself."""
    head = 20 + len(options)
    size = head + len(body) if total is None else total
    fixed = struct.pack(">BBHHHBBH", 0x40 | head // 4, 0, size & 0xFFFF, 7, place, 64, protocol, 0)
    return fixed + b"\x7f\0\0\1" * 2 + options + body


def ipv6(body: bytes, kind: int = 6) -> bytes:
    """An IPv6 packet from ::1 to itself."""
    return struct.pack(">IHBB", 0x60000000, len(body), kind, 64) + (b"\0" * 15 + b"\1") * 2 + body


def ethernet(packet: bytes) -> bytes:
    """A frame of the loopback interface of Linux."""
    return b"\0" * 12 + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


class Talk:
    """One TCP connection as a list of frames; every packet is one microsecond after the one before."""

    def __init__(
        self, port: int = 40_000, *, client_isn: int = 1_000, server_isn: int = 9_000, step_ns: int = 1_000
    ):
        self.port = port
        self.frames: list[Frame] = []
        self.places = [client_isn, server_isn]
        self.at_ns = START_NS
        self.step_ns = step_ns

    def packet(self, side: int, flags: int, data: bytes = b"", *, kept: bool = True, back: int = 0) -> Frame:
        """A packet of the client (0) or the server (1); ``back`` repeats older bytes."""
        ports = (self.port, 11434) if side == 0 else (11434, self.port)
        seq, ack = (self.places[side] - back) & MASK, self.places[1 - side]
        frame = (1, self.at_ns, ethernet(ipv4(tcp(*ports, seq, ack, flags, data))))
        self.at_ns += self.step_ns
        if kept:
            self.frames.append(frame)
        if not back:
            self.places[side] = (self.places[side] + len(data) + bool(flags & (SYN | FIN))) & MASK
        return frame

    def open(self) -> Talk:
        """The handshake."""
        self.packet(0, SYN)
        self.packet(1, SYN | ACK)
        self.packet(0, ACK)
        return self

    def send(self, data: bytes, *, kept: bool = True) -> Talk:
        """Bytes of the client."""
        self.packet(0, PSH | ACK, data, kept=kept)
        return self

    def answer(self, data: bytes, *, kept: bool = True) -> Talk:
        """Bytes of the server, acknowledged."""
        self.packet(1, PSH | ACK, data, kept=kept)
        self.packet(0, ACK)
        return self

    def close(self) -> Talk:
        """The client closes, then the server."""
        self.packet(0, FIN | ACK)
        self.packet(1, FIN | ACK)
        self.packet(0, ACK)
        return self


def request(body: dict[str, Any] | bytes, path: str = "/api/generate", extra: str = "") -> bytes:
    """A POST as clients send it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{extra}Content-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def piece(text: str, **more: Any) -> bytes:
    """One line of a generate stream, as a chunk."""
    line = json.dumps({"model": "m", "response": text, "done": False, **more}, separators=(",", ":"))
    return chunk(line.encode() + b"\n")


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = piece("", done=True, done_reason="stop", eval_count=3, prompt_eval_count=5) + b"0\r\n\r\n"


def exchanges(frames: Iterable[Frame], **options: Any) -> list[Exchange]:
    """The finished exchanges of some frames, in the order of their ids."""
    assembler = Assembler(options.pop("ports", frozenset({11434})), grow_every_ns=None, **options)
    frames = list(frames)
    events = assembler.feed_frames(frames) + assembler.finish(frames[-1][1] if frames else 0)
    found = [event.exchange for event in events if isinstance(event, ExchangeSeen)]
    return sorted(found, key=lambda exchange: exchange.id)


def frames_of(path: Path) -> list[Frame]:
    """All frames of a capture file."""
    reader = PcapReader()
    frames = reader.feed(path.read_bytes())
    reader.finish()
    return frames


def pcap(frames: Iterable[Frame], *, order: str = "<", nano: bool = False) -> bytes:
    """A capture file."""
    magic, unit = (0xA1B23C4D, 1) if nano else (0xA1B2C3D4, 1000)
    out = b""
    for link, at_ns, frame in frames:
        out = out or struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link)
        out += (
            struct.pack(order + "IIII", at_ns // 10**9, at_ns % 10**9 // unit, len(frame), len(frame)) + frame
        )
    return out
