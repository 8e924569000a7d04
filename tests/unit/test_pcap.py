"""Capture files: both formats, both byte orders, both clocks; faults say where they are."""

from __future__ import annotations

import struct

import pytest

from nightdesk.core.capture.bursts import Frame
from nightdesk.core.capture.pcap import PcapReader
from nightdesk.model.errors import CaptureError
from tests.support.wire import pcap

FRAMES: list[Frame] = [
    (1, 1_760_000_000_123_456_000, b"first"),
    (1, 1_760_000_001_000_001_000, b"second frame"),
]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(order: str = "<") -> bytes:
    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    resolution = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    out += block(1, struct.pack(order + "HHI", 1, 0, 0) + resolution, order)
    out += block(0x0BAD, b"unknown blocks are stepped over", order)
    for _, at_ns, frame in FRAMES:
        out += block(
            6,
            struct.pack(order + "5I", 0, at_ns >> 32, at_ns & 0xFFFFFFFF, len(frame), len(frame)) + frame,
            order,
        )
    return out


def read(data: bytes) -> list[Frame]:
    reader = PcapReader()
    frames = reader.feed(data)
    reader.finish()
    return frames


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pcap_in_both_byte_orders_and_resolutions(order: str, nano: bool) -> None:
    assert read(pcap(FRAMES, order=order, nano=nano)) == FRAMES


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_in_both_byte_orders(order: str) -> None:
    assert read(pcapng(order)) == FRAMES


def test_two_sections_of_different_byte_order_can_follow_each_other() -> None:
    assert read(pcapng("<") + pcapng(">")) == FRAMES * 2


def test_byte_by_byte_gives_the_same() -> None:
    for data in (pcap(FRAMES), pcapng()):
        reader = PcapReader()
        assert [frame for byte in data for frame in reader.feed(bytes([byte]))] == FRAMES


def test_a_record_that_claims_too_much_is_reported_with_its_offset_after_the_good_frames() -> None:
    data = pcap(FRAMES)
    reader = PcapReader()
    assert reader.feed(data + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 1)) == FRAMES
    with pytest.raises(CaptureError, match=f"offset {len(data)}"):
        reader.finish()


def test_a_cut_file_says_where_its_last_record_begins() -> None:
    whole = pcap(FRAMES)
    with pytest.raises(CaptureError, match=f"offset {len(whole) - 28}"):
        read(whole[:-3])


def test_what_is_no_capture_is_refused() -> None:
    with pytest.raises(CaptureError, match="neither pcap nor pcapng"):
        read(b'{"json": true}')
    with pytest.raises(CaptureError, match="not a pcap"):
        read(b"")


def test_pcapng_blocks_that_contradict_themselves_are_refused() -> None:
    data = pcapng()
    for fault in (
        data[:-1] + b"\xff",
        data + struct.pack("<II", 6, 8) + b"\0" * 8,
        data + block(6, b"\0" * 8),
    ):
        with pytest.raises(CaptureError, match="offset"):
            read(fault)
