"""Takes frames apart: link layer, IPv4 and IPv6 with everything that comes before TCP, and the TCP header.

Checksums are not looked at: loopback and offloading network cards leave them wrong or zero.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

ETHERNET, NULL, LOOP, COOKED, COOKED2 = 1, 0, 108, 113, 276
RAW_LINKS = frozenset({12, 14, 101, 228, 229})
"""Link types without a header of their own: DLT_RAW as files and as BSD systems number it, IPv4, IPv6."""

FRAGMENTED_PACKETS = 64
"""IP packets that wait for their fragments at a time; on loopback there are none, more is an attack."""
PACKET_LIMIT = 65_535
"""The longest IP packet; fragments that claim more are dropped."""
PIECES = 2048
"""Fragments of one packet; networks with the smallest packets make 1,400. Overlaps: up to twice the packet."""

_VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
TCP = 6


class Segment(NamedTuple):
    """A TCP segment. ``key`` is source address, destination address, source port, destination port as sent."""

    key: bytes
    seq: int
    ack: int
    flags: int
    payload: bytes


def reverse(key: bytes) -> bytes:
    """The key of the opposite direction."""
    half = (len(key) - 4) // 2
    return key[half : 2 * half] + key[:half] + key[-2:] + key[-4:-2]


def ports_of(key: bytes) -> tuple[int, int]:
    """Source and destination port."""
    return int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")


def addresses_of(key: bytes) -> tuple[str, str]:
    """Source and destination as ``127.0.0.1:41234`` or ``[::1]:11434``."""
    half = (len(key) - 4) // 2
    source, destination = ports_of(key)
    return _address(key[:half], source), _address(key[half : 2 * half], destination)


def _address(raw: bytes, port: int) -> str:
    address = ipaddress.ip_address(raw)
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def ip_offset(link_type: int, frame: bytes) -> int:
    """Where the IP packet begins in the frame; -1 where there is none. Unknown link types hold none."""
    size = len(frame)
    if link_type == ETHERNET:
        return _behind_ethertype(frame, 12)
    if link_type in (NULL, LOOP):
        return 4 if size > 4 and frame[4] >> 4 in (4, 6) and _is_family(frame[:4]) else -1
    if link_type == COOKED:
        return _behind_ethertype(frame, 14)
    if link_type == COOKED2:
        return 20 if size > 20 and frame[:2] in (b"\x08\x00", b"\x86\xdd") else -1
    return 0 if link_type in RAW_LINKS else -1


def _behind_ethertype(frame: bytes, at: int) -> int:
    kind = int.from_bytes(frame[at : at + 2], "big")
    while kind in _VLAN_TAGS and len(frame) > at + 6:
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    return at + 2 if kind in (0x0800, 0x86DD) else -1


def _is_family(head: bytes) -> bool:
    """AF_INET is 2 everywhere; AF_INET6 is 10, 24, 28 or 30, by system. In either byte order."""
    number = head[0] | head[3] if not (head[1] or head[2]) else 0
    return number in (2, 10, 24, 28, 30)


class PacketReader:
    """Reads frames; remembers only fragments that wait for others."""

    def __init__(self) -> None:
        self._fragments: OrderedDict[bytes, _Parts] = OrderedDict()

    def read(self, link_type: int, frame: bytes) -> Segment | None:
        """The TCP segment in a frame; None for anything else, for damaged headers and for lone fragments."""
        at = ip_offset(link_type, frame)
        if at < 0 or at >= len(frame):
            return None
        packet = frame[at:] if at else frame
        version = packet[0] >> 4
        if version == 4:
            return self._read_v4(packet)
        return self._read_v6(packet) if version == 6 else None

    def _read_v4(self, packet: bytes) -> Segment | None:
        head = (packet[0] & 0x0F) * 4
        if head < 20 or len(packet) < head or packet[9] != TCP:
            return None
        # Segmentation offload leaves 0 for packets longer than the field can say.
        total = int.from_bytes(packet[2:4], "big") or len(packet)
        body = packet[head:total]
        place = int.from_bytes(packet[6:8], "big")
        if place & 0x3FFF:
            key = packet[4:6] + packet[12:20]
            whole = self._collect(key, (place & 0x1FFF) * 8, bool(place & 0x2000), body)
            return None if whole is None else _segment(packet[12:20], whole)
        return _segment(packet[12:20], body)

    def _read_v6(self, packet: bytes) -> Segment | None:
        if len(packet) < 40:
            return None
        size = int.from_bytes(packet[4:6], "big")
        body = packet[40 : 40 + size] if size else packet[40:]
        kind, addresses = packet[6], packet[8:40]
        while kind != TCP:
            if len(body) < 8:
                return None
            if kind == 44:
                place = int.from_bytes(body[2:4], "big")
                kind, key, rest = body[0], body[4:8] + addresses, body[8:]
                if place & 0xFFF9:
                    whole = self._collect(key, place & 0xFFF8, bool(place & 1), rest)
                    if whole is None:
                        return None
                    rest = whole
                body = rest
                continue
            if kind == 51:
                kind, body = body[0], body[(body[1] + 2) * 4 :]
            elif kind in _EXTENSIONS:
                kind, body = body[0], body[(body[1] + 1) * 8 :]
            else:
                return None
        return _segment(addresses, body)

    def _collect(self, key: bytes, offset: int, more: bool, body: bytes) -> bytes | None:
        parts = self._fragments.get(key)
        if parts is None:
            parts = self._fragments[key] = _Parts()
            if len(self._fragments) > FRAGMENTED_PACKETS:
                self._fragments.popitem(last=False)
        whole = parts.add(offset, more, body)
        if whole is not None:
            self._fragments.pop(key, None)
        return whole


class _Parts:
    """Fragments of one packet; the first copy of a byte wins."""

    __slots__ = ("held", "pieces", "total")

    def __init__(self) -> None:
        self.held = 0
        self.pieces: dict[int, bytes] = {}
        self.total: int | None = None

    def add(self, offset: int, more: bool, body: bytes) -> bytes | None:
        if offset + len(body) > PACKET_LIMIT or not body:
            return None
        if offset not in self.pieces:
            self.held += len(body)
            if self.held > 2 * PACKET_LIMIT or len(self.pieces) >= PIECES:
                return None
            self.pieces[offset] = body
        if not more:
            self.total = offset + len(body)
        if self.total is None:
            return None
        whole = bytearray()
        for start in sorted(self.pieces):
            if start > len(whole):
                return None
            whole += self.pieces[start][len(whole) - start :] if start <= len(whole) else b""
        return bytes(whole[: self.total]) if len(whole) >= self.total else None


_PORTS_TO_FLAGS = struct.Struct(">4sIIBB")


def _segment(addresses: bytes, body: bytes) -> Segment | None:
    if len(body) < 20:
        return None
    ports, seq, ack, data, flags = _PORTS_TO_FLAGS.unpack_from(body)
    start = (data >> 4) * 4
    if start < 20 or start > len(body):
        return None
    return Segment(addresses + ports, seq, ack, flags, body[start:])


Unpack: TypeAlias = Callable[[Any, int], tuple[Any, ...]]


def _fast(link_head: str, ip_at: int, *kinds: int) -> tuple[Unpack, int, int, frozenset[int]]:
    starts = frozenset(kind << 8 | service for kind in kinds for service in range(256))
    return struct.Struct(link_head + "IHxxHxBxx12sIIH").unpack_from, ip_at, kinds[0] << 8, starts


FAST_LINKS = {
    ETHERNET: _fast(">12x", 14, 0x080045),
    NULL: _fast(">2x", 4, 0x000045, 0x000245),
    COOKED: _fast(">14x", 16, 0x080045),
}
"""For IPv4 without options one unpacking gives: protocol type with the first two bytes of IP, total length, fragment
place, protocol, key, seq, ack, data offset with flags. Then where IP begins, the usual value of the first, and all
its values that mean IPv4 without options."""
SLOW_LINK = _fast(">12x", 14, -1)
"""For links that are always taken apart step by step: nothing counts as IPv4 without options."""
WHOLE, PLACE = 0x4000, 0x3FFF
"""The usual fragment place of a packet that is no fragment, and the bits that are 0 in all of those."""
FAST_HEADS = {words << 12 | flags: 20 + 4 * words for words in range(5, 16) for flags in (ACK, ACK | 8)}
"""The last value of segments without any flag but ACK and PSH: the length of both headers, IP and TCP."""
