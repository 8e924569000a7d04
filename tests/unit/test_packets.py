"""Link layers, IP with its extras, TCP headers: the same segment whatever is wrapped around it."""

from __future__ import annotations

import struct

import pytest

from nightdesk.core.capture.packets import PacketReader, Segment, addresses_of, reverse
from tests.support.wire import ACK, ethernet, ipv4, ipv6, tcp

SEGMENT = tcp(40_000, 11434, 7, 9, ACK, b"hello")
V4, V6 = ipv4(SEGMENT), ipv6(SEGMENT)


def payload(link: int, frame: bytes) -> bytes | None:
    segment = PacketReader().read(link, frame)
    return None if segment is None else segment.payload


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(V4)),
        (1, ethernet(V6)),
        (1, b"\0" * 12 + b"\x81\x00\x00\x05\x08\x00" + V4),
        (1, b"\0" * 12 + b"\x88\xa8\x00\x05\x81\x00\x00\x07\x86\xdd" + V6),
        (0, b"\x02\0\0\0" + V4),
        (0, b"\0\0\0\x02" + V4),
        (0, b"\x1e\0\0\0" + V6),
        (108, b"\0\0\0\x18" + V6),
        (113, b"\0" * 14 + b"\x08\x00" + V4),
        (276, b"\x86\xdd" + b"\0" * 18 + V6),
        (101, V4),
        (12, V6),
        (228, V4),
        (229, V6),
    ],
)
def test_every_link_type_gives_the_segment(link: int, frame: bytes) -> None:
    segment = PacketReader().read(link, frame)
    assert isinstance(segment, Segment)
    assert (segment.seq, segment.ack, segment.flags, segment.payload) == (7, 9, ACK, b"hello")
    assert addresses_of(segment.key)[0] in ("127.0.0.1:40000", "[::1]:40000")
    assert addresses_of(reverse(segment.key)) == addresses_of(segment.key)[::-1]


def test_padding_behind_a_short_packet_is_no_payload() -> None:
    assert payload(1, ethernet(ipv4(tcp(1, 2, 3, 4, ACK, b""))) + b"\0" * 6) == b""


def test_a_total_length_of_zero_means_the_whole_frame() -> None:
    assert payload(1, ethernet(ipv4(SEGMENT, total=0))) == b"hello"


def test_ip_and_tcp_options_are_stepped_over() -> None:
    segment = tcp(40_000, 11434, 7, 9, ACK, b"hello", options=b"\x01" * 12)
    assert payload(1, ethernet(ipv4(segment, options=b"\x01" * 8))) == b"hello"


def test_ipv6_extension_headers_are_stepped_over() -> None:
    hop = bytes([60, 0]) + b"\0" * 6
    destination = bytes([6, 1]) + b"\0" * 14
    assert payload(1, ethernet(ipv6(hop + destination + SEGMENT, kind=0))) == b"hello"


def test_fragments_become_one_packet_in_any_order() -> None:
    segment = tcp(40_000, 11434, 7, 9, ACK, b"x" * 60)
    reader = PacketReader()
    last = ipv4(segment[40:], place=5)
    first = ipv4(segment[:40], place=0x2000)
    assert reader.read(101, last) is None
    whole = reader.read(101, first)
    assert whole is not None and whole.payload == b"x" * 60


def test_fragments_of_ipv6_become_one_packet() -> None:
    reader = PacketReader()
    parts = [
        struct.pack(">BBHI", 6, 0, 0 | 1, 99) + SEGMENT[:24],
        struct.pack(">BBHI", 6, 0, 24, 99) + SEGMENT[24:],
    ]
    assert reader.read(101, ipv6(parts[0], kind=44)) is None
    whole = reader.read(101, ipv6(parts[1], kind=44))
    assert whole is not None and whole.payload == b"hello"


def test_other_protocols_and_stumps_give_nothing() -> None:
    assert payload(1, ethernet(ipv4(SEGMENT, protocol=17))) is None
    assert payload(1, b"\0" * 12 + b"\x08\x06" + V4) is None
    assert payload(999, V4) is None
    for size in range(14 + 40):
        assert payload(1, ethernet(V4)[:size]) is None
