"""Reads one direction of an HTTP/1 connection that somebody else speaks, including connections with holes.

The reader is a state machine. ``feed(data)`` and ``gap(size)`` move it; each returns events in stream order.

    idle ──first byte──▶ head ──blank line──▶ length │ size ⇄ chunk ⇄ mark │ until close ──end──▶ idle
                          │                    └ trailers ┘
       a gap that the framing can't bridge ──▶ lost ──a chunk or a head that proves itself──▶ back above

A gap inside a body of known length, or inside one chunk, changes no state: only the bytes are missing. Any other
gap loses the framing. In ``lost`` the reader looks for the next message head or, in responses, for a chunk whose
length is confirmed by the line end behind its data; bytes that belong to nothing certain are dropped, so that
they are never taken for another message's. A reader is generous in what it accepts: the two ends agreed on these
bytes, and refusing them here would only hide them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from typing import TypeAlias

import msgspec

from nightdesk.core.capture.heads import Head, Side, content_length, parse_head

HEAD_LIMIT = 256 << 10
"""Longest message head. Servers refuse more than 8 KiB to 1 MiB; beyond this the framing counts as lost."""
LINE_LIMIT = 16 << 10
"""Longest chunk size line, with extensions."""
LOST_LIMIT = 4 << 20
"""Bytes that a lost reader holds while the end of a candidate chunk is still to come."""


class Began(msgspec.Struct, frozen=True, gc=False):
    """The first byte of a message was seen. ``at`` is negative where that was in bytes fed before."""

    at: int


class Body(msgspec.Struct, frozen=True, gc=False):
    """Bytes of the body, without transfer coding."""

    at: int
    data: bytes
    chunks: list[bytes] | None = None
    """Where ``data`` came as several whole chunks: size line, bytes, size line, bytes … without line ends."""


class End(msgspec.Struct, frozen=True, gc=False):
    """The message is over. Not ``clean``: its end lies in a gap."""

    at: int
    clean: bool = True


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Bytes of the stream are missing here. Where no message is open they belong to the next one."""

    at: int
    size: int


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """A lost reader found a chunk: its body goes on at a chunk's start."""

    at: int


Event: TypeAlias = Began | Head | Body | End | Gap | Resumed

IDLE, HEAD, LENGTH, SIZE, CHUNK, MARK, TRAILERS, CLOSE, LOST, OPAQUE = range(10)

_REQUEST_START = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT) \S{1,8000} HTTP/1\.[01]\r?\n"
)
_SIZE_LINE = rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,4000})?\r\n"
_SIZE_OR_HEAD = rb"(?:" + _SIZE_LINE + rb"|(HTTP/1\.[01] [1-5]\d\d[ \r\n]))"
_CANDIDATE = re.compile(rb"\r\n" + _SIZE_OR_HEAD)
_FIRST_CANDIDATE = re.compile(_SIZE_OR_HEAD)
_FIRST_BYTES = (b"{", b"data:", b"event:")
_STATUS_START = re.compile(rb"HTTP/1\.[01] [1-5]\d\d[ \r\n]")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_SMALL_SIZES = {b"%x" % size: size for size in range(1, 4096)}
"""Looking a size up is three times as fast as converting it."""
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")


class MessageReader:
    """One direction of a connection."""

    def __init__(self, side: Side, is_bodiless: Callable[[], bool | None] = lambda: False) -> None:
        self._side = side
        self._is_bodiless = is_bodiless
        """Asked at each final response head: does the request's method forbid a body? None: nobody knows it."""
        self._may_be_bodiless = False
        """No byte of the body has come, and maybe none will: the answer to an unseen HEAD."""
        self._state = IDLE
        self._held = bytearray()
        self._left = 0
        self._is_open = False
        self._is_behind_gap = False
        self._look_again = 0
        """Bytes that a lost reader wants to have before it looks again."""
        self._may_burst = True

    @property
    def is_lost(self) -> bool:
        """The framing is unknown since a gap."""
        return self._state == LOST

    @property
    def is_idle(self) -> bool:
        """Between two messages."""
        return self._state == IDLE and not self._held

    @property
    def held_bytes(self) -> int:
        """Bytes kept until more come."""
        return len(self._held)

    def begin_lost(self) -> None:
        """The capture starts in the middle of this direction."""
        self._get_lost(is_behind_gap=True)

    def feed(self, data: bytes) -> list[Event]:
        """Events of the next bytes of the stream. Never raises for what the bytes are."""
        held = len(self._held)
        if held + len(data) < self._look_again:
            self._held += data
            return []
        if held:
            data = b"".join((self._held, data))
            self._held = bytearray()
        events: list[Event] = []
        self._may_burst = True
        at, size = 0, len(data)
        while at < size:
            step = _STEPS[self._state](self, data, at, held, events)
            if step < 0:
                self._held += data[at:]
                break
            at = step
        return events

    def gap(self, size: int) -> list[Event]:
        """``size`` bytes of the stream are missing."""
        events: list[Event] = []
        if self._state == CLOSE or (self._state == CHUNK and size <= self._left):
            self._left -= size if self._state == CHUNK else 0
            events.append(Gap(0, size))
            if self._state == CHUNK and not self._left:
                self._state = MARK
        elif self._state == LENGTH:
            inside = min(size, self._left)
            self._left -= inside
            events.append(Gap(0, inside))
            if not self._left:
                self._end(0, events)
            if size > inside:
                self._lose(size - inside, events)
        elif self._state != OPAQUE:
            self._lose(size, events)
        return events

    def cut(self, size: int) -> list[Event]:
        """``size`` bytes are missing, and whatever message was open ends in them."""
        events: list[Event] = [Gap(0, size)] if size else []
        if self._is_open:
            events.append(End(0, clean=False))
        self._is_open = False
        self._held = bytearray()
        self._get_lost(is_behind_gap=True)
        return events

    def eof(self) -> list[Event]:
        """The sender closed. A body without length is complete now; what else is open stays so."""
        events: list[Event] = []
        if self._state == LOST and self._held and self._side == "response":
            data, self._held = bytes(self._held), bytearray()
            at = self._lost_response(data, 0, len(data), events, is_all=True)
            if self._state != LOST:
                events.extend(self.feed(data[max(0, at) :]))
        if self._state == CLOSE:
            self._end(0, events)
        return events

    def ignore_rest(self) -> None:
        """What follows is another protocol."""
        self._state, self._held, self._is_open = OPAQUE, bytearray(), False

    def _lose(self, size: int, events: list[Event]) -> None:
        events.append(Gap(0, size))
        self._held = bytearray()
        # What the client sent in a gap between two requests is a request: only a request line ends it.
        self._is_open |= self._side == "request"
        self._get_lost(is_behind_gap=True)

    def _get_lost(self, *, is_behind_gap: bool = False) -> None:
        self._state = LOST
        self._look_again = 0
        self._is_behind_gap = is_behind_gap

    def _begin(self, at: int, events: list[Event]) -> None:
        self._is_open = True
        events.append(Began(at))

    def _end(self, at: int, events: list[Event], clean: bool = True) -> None:
        self._is_open = False
        self._state = IDLE
        events.append(End(at, clean))

    # Each step reads from ``at`` and returns where it stopped, or -1 when it needs more bytes.

    def _idle(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        while at < len(data) and data[at] in b"\r\n":
            at += 1
        if at < len(data):
            self._begin(at - held + 1, events)
            self._state = HEAD
        return at

    def _head(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        searched = max(at, held - 3)
        end = _blank_line(data, searched)
        if end < 0 or end - at > HEAD_LIMIT:
            if len(data) - at > HEAD_LIMIT:
                self._get_lost()
                return len(data)
            return -1 if end < 0 else end
        head = parse_head(data[at:end], end - held, self._side)
        if head is None:
            self._get_lost()
            return at
        self._frame(head, events)
        return end

    def _frame(self, head: Head, events: list[Event]) -> None:
        """Decides how the body ends, in the order of RFC 9112 section 6.3."""
        if self._side == "response" and 100 <= int(head.start[1]) < 200:
            self._is_open = False
            self._state = OPAQUE if head.start[1] == "101" else IDLE
            events.append(head)
            return
        events.append(head)
        is_chunked = head.get("transfer-encoding").lower().rpartition(",")[2].strip() == "chunked"
        length = content_length(head)
        is_bodiless = self._side == "response" and self._is_bodiless()
        self._may_be_bodiless = is_bodiless is None
        if self._side == "response" and (head.start[1] in ("204", "304") or is_bodiless):
            self._end(head.at, events)
        elif is_chunked:
            self._state = SIZE
        elif length is not None:
            self._state, self._left = LENGTH, length
            if not length:
                self._end(head.at, events)
        elif self._side == "request":
            self._end(head.at, events)
        else:
            self._state = CLOSE

    def _length(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        if self._may_be_bodiless and self._ends_without_body(data, at, held, events):
            return at
        part = data[at : at + self._left] if at or self._left < len(data) else data
        self._left -= len(part)
        end = at + len(part)
        events.append(Body(end - held, part))
        if not self._left:
            self._end(end - held, events)
        return end

    def _size(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        fast = self._burst(data, at, held, events)
        if fast > at:
            return fast
        end = data.find(b"\n", max(at, held - 1))
        if end < 0:
            if len(data) - at <= LINE_LIMIT:
                return -1
            self._get_lost()
            return at
        size = _chunk_size(data[at:end])
        if size is None:
            self._get_lost()
            return at
        self._left = size
        self._state = CHUNK if size else TRAILERS
        return end + 1

    def _burst(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        """Many whole chunks at once: the usual case in a stream of tokens. Returns ``at`` when in doubt."""
        stop = data.rfind(b"\r\n") + 2
        if stop - at < 8 or not self._may_burst:
            return at
        parts = data[at:stop].split(b"\r\n")
        parts.pop()
        if len(parts) % 2:
            stop -= len(parts.pop()) + 2
        elif not parts[-1]:
            stop -= len(parts[-2]) + 4
            del parts[-2:]
        bodies = parts[1::2]
        lengths = list(map(len, bodies))
        sizes = parts[::2]
        if (
            not lengths
            or not all(lengths)
            or (
                list(map(_SMALL_SIZES.get, sizes)) != lengths
                and [_chunk_size(size) for size in sizes] != lengths
            )
        ):
            self._may_burst = False
            return at
        events.append(Body(stop - held, b"".join(bodies), parts))
        return stop

    def _chunk(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        part = data[at : at + self._left]
        self._left -= len(part)
        end = at + len(part)
        events.append(Body(end - held, part))
        if not self._left:
            self._state = MARK
        return end

    def _mark(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        if data[at] == 10:
            self._state = SIZE
            return at + 1
        if data[at] != 13:
            self._get_lost()
            return at
        if at + 1 == len(data):
            return -1
        if data[at + 1] != 10:
            self._get_lost()
            return at
        self._state = SIZE
        return at + 2

    def _trailers(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        end = data.find(b"\n", max(at, held - 1))
        if end < 0:
            if len(data) - at <= LINE_LIMIT:
                return -1
            self._get_lost()
            return at
        if not data[at:end].strip():
            self._end(end + 1 - held, events)
        return end + 1

    def _ends_without_body(self, data: bytes, at: int, held: int, events: list[Event]) -> bool:
        """Where the body should begin the next answer does."""
        self._may_be_bodiless = False
        is_next = _STATUS_START.match(data, at) is not None
        if is_next:
            self._end(max(0, at - held), events)
        return is_next

    def _close(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        if self._may_be_bodiless and self._ends_without_body(data, at, held, events):
            return at
        events.append(Body(len(data) - held, data[at:] if at else data))
        return len(data)

    def _opaque(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        return len(data)

    def _lost(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        if self._side == "request":
            return self._lost_request(data, at, held, events)
        return self._lost_response(data, at, held, events, is_all=False)

    def _lost_request(self, data: bytes, at: int, held: int, events: list[Event]) -> int:
        """Only a request line at the start of a segment counts: bodies may quote anything."""
        if _REQUEST_START.match(data, at):
            if self._is_open:
                events.append(End(max(0, at - held), clean=False))
            self._begin(at - held + 1, events)
            self._state = HEAD
            return at
        if not self._is_open:
            self._begin(at - held + 1, events)
        events.append(Body(len(data) - held, data[at:]))
        return len(data)

    def _lost_response(self, data: bytes, at: int, held: int, events: list[Event], *, is_all: bool) -> int:
        """Looks for a head or for a chunk that is confirmed; waits for the end of one that may be."""
        self._look_again = 0
        undecided = -1
        first = _FIRST_CANDIDATE.match(data) if self._is_behind_gap and at == 0 else None
        for found in chain((first,) if first else (), _CANDIDATE.finditer(data, at)):
            is_first = found is first
            verdict = True if found[2] else _is_chunk(data, found, is_first, is_all)
            if verdict:
                return self._resume(found, held, events)
            if verdict is None and undecided < 0:
                undecided = found.start()
                # Not at every segment: what waits is looked through again when it has grown by half.
                self._look_again = (
                    len(data)
                    - undecided
                    + min(found.end() + int(found[1], 16) + 2 - len(data), len(data) // 2 + 1)
                )
        if undecided < 0:
            undecided = len(data) - _tail_to_keep(data, at, self._is_behind_gap)
        elif len(data) - undecided > LOST_LIMIT:
            undecided = len(data)
        if undecided > at:
            self._is_behind_gap = False
        return undecided if undecided > at else -1

    def _resume(self, found: re.Match[bytes], held: int, events: list[Event]) -> int:
        start = found.start(2) if found[2] else found.start(1)
        at = start - held + 1
        self._look_again = 0
        self._is_behind_gap = False
        if found[2] and self._is_open:
            events.append(End(at, clean=False))
            self._is_open = False
        if not self._is_open:
            self._begin(at, events)
        if found[2]:
            self._state = HEAD
        else:
            events.append(Resumed(at))
            self._state = SIZE
        return start


def _blank_line(data: bytes, start: int) -> int:
    found = _BLANK_LINE.search(data, start)
    return found.end() if found else -1


def _chunk_size(line: bytes) -> int | None:
    digits = line.partition(b";")[0].strip()
    return int(digits, 16) if _HEX.fullmatch(digits) else None


def _is_chunk(data: bytes, found: re.Match[bytes], is_first: bool, is_all: bool) -> bool | None:
    """Whether a size line tells the truth; None while that can't be said."""
    size, start = int(found[1], 16), found.end()
    behind = data[start + size : start + size + 2]
    if len(behind) == 2:
        return behind == b"\r\n"
    has_known_start = data.startswith(_FIRST_BYTES, start)
    if size and has_known_start and (is_all or not is_first):
        return True
    if is_all or size > LOST_LIMIT:
        return False
    return None


def _tail_to_keep(data: bytes, at: int, is_behind_gap: bool) -> int:
    """Bytes at the end that may be the beginning of a size line or of a head."""
    line = data.rfind(b"\r\n", at)
    if line < 0 and is_behind_gap and len(data) - at < LINE_LIMIT:
        return len(data) - at
    if line >= 0 and len(data) - line < LINE_LIMIT:
        return len(data) - line
    return 1 if data.endswith(b"\r") else 0


_STEPS: tuple[Callable[[MessageReader, bytes, int, int, list[Event]], int], ...] = (
    MessageReader._idle,
    MessageReader._head,
    MessageReader._length,
    MessageReader._size,
    MessageReader._chunk,
    MessageReader._mark,
    MessageReader._trailers,
    MessageReader._close,
    MessageReader._lost,
    MessageReader._opaque,
)
