"""The same traffic, recorded on other interfaces: every way of packing it gives the same exchanges."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from nightdesk.core.capture.bursts import Frame
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.model.exchange import Exchange
from tests.support.wire import exchanges, frames_of, pcap, recording

RECORDINGS = ("03-chat-multiturn-keepalive", "14-ipv6", "10-client-abort", "07-openai-anthropic-compat")
Pack = Callable[[bytes], list[bytes]]


def _is_v4(packet: bytes) -> bool:
    return packet[0] >> 4 == 4


def _kind(packet: bytes) -> bytes:
    return b"\x08\x00" if _is_v4(packet) else b"\x86\xdd"


def _in_pieces(packet: bytes) -> list[bytes]:
    """IPv4 in fragments as a network with small packets makes them; the last one first."""
    if not _is_v4(packet) or len(packet) <= 596:
        return [b"\0" * 12 + _kind(packet) + packet]
    head, body = packet[:20], packet[20:]
    pieces = []
    for at in range(0, len(body), 576):
        part = body[at : at + 576]
        place = at // 8 | (0x2000 if at + 576 < len(body) else 0)
        fixed = head[:2] + struct.pack(">H", 20 + len(part)) + head[4:6] + struct.pack(">H", place) + head[8:]
        pieces.append(b"\0" * 12 + b"\x08\x00" + fixed + part)
    return pieces[::-1]


def _as_v6(packet: bytes) -> list[bytes]:
    """IPv4 told as IPv6, with a header for options before TCP."""
    if not _is_v4(packet):
        return [b"\0" * 12 + _kind(packet) + packet]
    body = b"\x06\x00" + b"\1\4\0\0\0\0" + packet[20:]
    ends = b"".join(b"\0" * 10 + b"\xff\xff" + packet[at : at + 4] for at in (12, 16))
    return [
        b"\0" * 12 + b"\x86\xdd" + struct.pack(">IHBB", 0x60000000, len(body) & 0xFFFF, 0, 64) + ends + body
    ]


PACKINGS: dict[str, tuple[int, Pack]] = {
    "Linux cooked": (113, lambda p: [b"\0\0\3\4\0\6" + b"\0" * 6 + b"\0\0" + _kind(p) + p]),
    "Linux cooked, version 2": (276, lambda p: [_kind(p) + b"\0\0\0\0\0\1\3\4\0\6" + b"\0" * 8 + p]),
    "BSD loopback": (0, lambda p: [struct.pack("<I", 2 if _is_v4(p) else 30) + p]),
    "BSD loopback, big-endian": (0, lambda p: [struct.pack(">I", 2 if _is_v4(p) else 24) + p]),
    "OpenBSD loopback": (108, lambda p: [struct.pack(">I", 2 if _is_v4(p) else 24) + p]),
    "raw IP": (101, lambda p: [p]),
    "raw IP of BSD": (12, lambda p: [p]),
    "two VLAN tags": (1, lambda p: [b"\0" * 12 + b"\x88\xa8\0\7\x81\0\0\5" + _kind(p) + p]),
    "IPv4 in fragments": (1, _in_pieces),
    "IPv6 with an extension": (1, _as_v6),
}


def content(found: list[Exchange]) -> list[tuple[object, ...]]:
    """Everything but addresses."""
    rows: list[tuple[object, ...]] = []
    for e in found:
        said = (
            e.text,
            e.thinking,
            e.tool_calls,
            e.fragments,
            e.done,
            e.error,
            e.request_sha256,
            e.response_sha256,
        )
        times = (e.started_ns, e.first_token_ns, e.ended_ns)
        rows.append((e.id, e.state, e.connection, e.position, e.method, e.path, *said, *times))
    return rows


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_says_the_same_on_every_kind_of_interface(name: str, packing: str) -> None:
    link, pack = PACKINGS[packing]
    original = frames_of(recording(f"{name}.pcap"))
    packed: list[Frame] = [(link, at, data) for _, at, frame in original for data in pack(frame[14:])]
    assert content(exchanges(packed, ports=None)) == content(exchanges(original))


@pytest.mark.parametrize("packing", ["Linux cooked", "Linux cooked, version 2", "raw IP"])
def test_a_file_of_such_an_interface_says_the_same(packing: str) -> None:
    link, pack = PACKINGS[packing]
    original = frames_of(recording("03-chat-multiturn-keepalive.pcap"))
    packed: list[Frame] = [(link, at, data) for _, at, frame in original for data in pack(frame[14:])]
    assert content(exchanges(list(PcapReader().feed(pcap(packed, order=">"))))) == content(
        exchanges(original)
    )
