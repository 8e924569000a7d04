"""Reads capture files (pcap and pcapng) incrementally: bytes in, frames out. Knows nothing of protocols.

Neighbours: the bytes come from a file, a pipe or tcpdump; the frames go to ``core.capture.exchanges``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from nightdesk.core.capture.bursts import PADDING, Burst, Frame, bursts_of
from nightdesk.model.errors import CaptureError

RECORD_LIMIT = 16 << 20
"""No capture program writes larger frames (the usual snap length is 256 KiB); more means a corrupt length."""

LAST_NS = 1 << 63
"""Times beyond what 64 bits hold (the year 2262) come from damage: the packet gets the time of the one before."""

HINT = "Write the capture again, or cut the file before this place with editcap."
WRITERS = "Give a file written by tcpdump, dumpcap or Wireshark."

_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDER_MARK = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


class PcapReader:
    """Turns the bytes of a capture into frames, whatever the cuts between the calls of :meth:`feed`."""

    def __init__(self) -> None:
        self._held = b""
        self._offset = 0
        self._format: _Classic | _Blocks | None = None
        self._error: CaptureError | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that became complete, in the order of the file.

        Raises CaptureError, with the offset, when the input is no capture or is corrupt. Frames that came before
        the fault in the same call are returned first; the error is then raised by the next call or by
        :meth:`finish`.
        """
        frames: list[Frame] = []
        try:
            for burst in self.bursts(data):
                frames += burst.frames()
        except CaptureError:
            if not frames:
                raise
        return frames

    def bursts(self, data: bytes) -> Iterator[Burst]:
        """The same without copying the frames; take all bursts before more is fed.

        Raises CaptureError like :meth:`feed`, but only behind the frames that came before the fault.
        """
        self.check()
        data = self._held + data if self._held else data
        self._held = b""
        try:
            if self._format is None and len(data) >= 4:
                self._format = _format_of(data[:4])
            if self._format is not None:
                yield from self._format.read(data, self._offset)
        except CaptureError as error:
            self._error = error
            raise
        used = self._format.used if self._format is not None else 0
        self._offset += used
        self._held = data[used:]

    def check(self) -> None:
        """Raises the error that :meth:`feed` kept back in favour of good frames."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """End of input. Raises CaptureError when the input was empty, corrupt, or stops inside a record."""
        self.check()
        if self._held or self._format is None:
            if self._format:
                raise CaptureError(
                    f"The capture ends in the middle of a record, at offset {self._offset}.", HINT
                )
            what = (
                "This is not a pcap or pcapng capture" if self._held else "This is empty, not a pcap capture"
            )
            raise CaptureError(f"{what}.", WRITERS)


def _format_of(magic: bytes) -> _Classic | _Blocks:
    if magic in _MAGIC:
        return _Classic(*_MAGIC[magic])
    if magic == _SECTION:
        return _Blocks()
    raise CaptureError(
        "Reading the capture failed at offset 0: this is neither pcap nor pcapng.",
        WRITERS,
    )


def _corrupt(offset: int, why: str) -> CaptureError:
    return CaptureError(f"Reading the capture failed at offset {offset}: {why}.", HINT)


class _Classic:
    """The pcap format: a header of 24 bytes, then records with headers of 16."""

    def __init__(self, order: str, fraction_ns: int) -> None:
        self._order = order
        self._fraction_ns = fraction_ns
        self._record = struct.Struct(order + "III4x")
        self._link = -1
        self._claims = 0
        """Bytes of the record that is not whole yet."""
        self.used = 0
        """Bytes of the data read last that were whole records."""

    def read(self, data: bytes, offset: int) -> Iterator[Burst]:
        """The whole records in ``data``, which begins at ``offset`` of the capture."""
        self.used = 0
        if self._link < 0:
            if len(data) < 24:
                return
            self._link = struct.unpack_from(self._order + "I", data, 20)[0] & 0x0FFFFFFF
            self.used = 24
        times, starts, stops = self._records(data)
        if times:
            if starts[-1] + len(PADDING) > len(data):
                data += PADDING
            yield Burst(self._link, data, times, starts, stops)
        if self._claims > RECORD_LIMIT:
            raise _corrupt(offset + self.used, f"a record claims {self._claims} bytes")

    def _records(self, data: bytes) -> tuple[list[int], list[int], list[int]]:
        unpack, fraction_ns = self._record.unpack_from, self._fraction_ns
        times: list[int] = []
        starts: list[int] = []
        stops: list[int] = []
        add_time, add_start, add_stop = times.append, starts.append, stops.append
        at, size = self.used, len(data)
        end = size - 16
        second, base = -1, 0
        while at <= end:
            seconds, fraction, captured = unpack(data, at)
            start = at + 16
            stop = start + captured
            if stop > size:
                self._claims = captured
                break
            if seconds != second:
                second, base = seconds, seconds * 1_000_000_000
            add_time(base + fraction * fraction_ns)
            add_start(start)
            add_stop(stop)
            at = stop
        self.used = at
        return times, starts, stops


class _Blocks:
    """The pcapng format: sections, interfaces and packets in blocks."""

    def __init__(self) -> None:
        self._order = "<"
        self._interfaces: list[tuple[int, int, int, int]] = []
        self._last_ns = 0
        self.used = 0

    def read(self, data: bytes, offset: int) -> Iterator[Burst]:
        """The packets of the whole blocks in ``data``, which begins at ``offset`` of the capture."""
        frames: list[Frame] = []
        fault = None
        self.used = 0
        try:
            while self._block(data, self.used, offset + self.used, frames):
                pass
        except CaptureError as error:
            fault = error
        yield from bursts_of(frames)
        if fault is not None:
            raise fault

    def _block(self, data: bytes, at: int, place: int, frames: list[Frame]) -> bool:
        """Reads one block; False where it is not whole."""
        if len(data) - at < 12:
            return False
        if data[at : at + 4] == _SECTION:
            self._begin_section(data, at, place)
        kind, length = struct.unpack_from(self._order + "II", data, at)
        if length < 12 or length % 4 or length > RECORD_LIMIT:
            raise _corrupt(place, f"a block claims {length} bytes")
        if len(data) - at < length:
            return False
        if struct.unpack_from(self._order + "I", data, at + length - 4)[0] != length:
            raise _corrupt(place, "a block's two lengths differ")
        try:
            self._take(kind, data[at + 8 : at + length - 4], frames)
        except (struct.error, IndexError, OverflowError):
            raise _corrupt(place, "a block contradicts itself") from None
        self.used = at + length
        return True

    def _begin_section(self, data: bytes, at: int, place: int) -> None:
        order = _ORDER_MARK.get(data[at + 8 : at + 12])
        if order is None:
            raise _corrupt(place, "a section has no byte order")
        self._order = order
        self._interfaces = []

    def _take(self, kind: int, body: bytes, frames: list[Frame]) -> None:
        if kind == 6:
            interface, high, low, captured, _ = struct.unpack_from(self._order + "5I", body)
            self._packet(interface, high << 32 | low, body[20:], captured, frames)
        elif kind == 1:
            self._interface(body)
        elif kind == 3:
            link, snap, _, _ = self._interfaces[0]
            size = struct.unpack_from(self._order + "I", body)[0]
            captured = min(size, snap) if snap else size
            frames.append((link, self._last_ns, body[4 : 4 + captured]))
        elif kind == 2:
            interface, _, high, low, captured, _ = struct.unpack_from(self._order + "HH4I", body)
            self._packet(interface, high << 32 | low, body[20:], captured, frames)

    def _packet(self, interface: int, ticks: int, body: bytes, captured: int, frames: list[Frame]) -> None:
        link, _, per_second, offset_s = self._interfaces[interface]
        if captured > len(body):
            raise IndexError
        at_ns = ticks * 1_000_000_000 // per_second + offset_s * 1_000_000_000
        if 0 <= at_ns < LAST_NS:
            self._last_ns = at_ns
        frames.append((link, self._last_ns, body[:captured]))

    def _interface(self, body: bytes) -> None:
        link, _, snap = struct.unpack_from(self._order + "HHI", body)
        per_second, offset_s, at = 1_000_000, 0, 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            value = body[at + 4 : at + 4 + length]
            if code == 0:
                break
            if code == 9 and value:
                per_second = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == 14 and len(value) == 8:
                offset_s = struct.unpack(self._order + "q", value)[0]
            at += 4 + (length + 3) // 4 * 4
        self._interfaces.append((link, snap, per_second, offset_s))
