"""Cuts a stream of JSON objects, one a line, in an array or spread over many lines: bytes in, whole objects out.

A raw line end within a string, or a brace at the beginning of a line, can only mean that something was cut off:
what came before is dropped and the next object begins there.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

MAX_OBJECT_BYTES: Final = 4_000_000
_OUTSIDE: Final = re.compile(rb'["{}]|\n(?=\{)')
_INSIDE: Final = re.compile(rb'["\\\n]')


class ObjectCutter:
    """Finds objects by counting braces outside of strings, without decoding anything."""

    def __init__(self) -> None:
        self.dropped = 0
        """Objects that were cut off."""
        self.oversized = 0
        """Times an object ran past :data:`MAX_OBJECT_BYTES`."""
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._in_string = False

    @property
    def buffered(self) -> int:
        """Bytes held for an object that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that end within ``data``."""
        self._buffer += data
        found: list[bytes] = []
        while self._step(found):
            pass
        if len(self._buffer) > MAX_OBJECT_BYTES:
            self.oversized += 1
            self._forget(len(self._buffer))
        return found

    def end(self) -> None:
        """Nothing more: an object that the end cuts off is dropped and counted."""
        self.dropped += self._depth > 0
        self._forget(len(self._buffer))

    def _step(self, found: list[bytes]) -> bool:
        if self._depth == 0:
            return self._begin()
        sign = (_INSIDE if self._in_string else _OUTSIDE).search(self._buffer, self._at)
        if sign is None:
            # The last byte may be a line end whose brace is still to come.
            self._at = len(self._buffer) if self._in_string else max(self._at, len(self._buffer) - 1)
            return False
        if sign[0] == b"\\":
            return self._escape(sign.start())
        self._at = sign.end()
        if sign[0] == b"\n":
            self.dropped += 1
            self._forget(self._at)
        elif sign[0] == b'"':
            self._in_string = not self._in_string
        else:
            self._brace(sign[0], found)
        return True

    def _escape(self, at: int) -> bool:
        """Passes over a backslash and what it stands before, when that has come."""
        self._at = at
        if at + 1 >= len(self._buffer):
            return False
        # A line end is never escaped: it is looked at for what it is.
        self._at = at + (1 if self._buffer[at + 1] == 0x0A else 2)
        return True

    def _begin(self) -> bool:
        start = self._buffer.find(b"{")
        self._forget(len(self._buffer) if start < 0 else start)
        if start < 0:
            return False
        self._depth, self._at = 1, 1
        return True

    def _brace(self, sign: bytes, found: list[bytes]) -> None:
        self._depth += 1 if sign == b"{" else -1
        if self._depth == 0:
            found.append(bytes(self._buffer[: self._at]))
            self._forget(self._at)

    def _forget(self, count: int) -> None:
        del self._buffer[:count]
        self._at, self._depth, self._in_string = 0, 0, False


def decoded(text: bytes) -> Any:
    """The value of a JSON text; None where it is none, or nested beyond all measure."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class ObjectReader:
    """What readers of JSON objects have in common: the cutting, and counts of what could not be read.

    ``interval_ns`` is the length of a sample whose object does not say it.
    """

    def __init__(self, interval_ns: int = 1_000_000_000) -> None:
        self._cutter = ObjectCutter()
        self._interval_ns = interval_ns
        self._last_ns = 0
        self._unread = 0

    @property
    def dropped(self) -> int:
        """Objects that could not be read."""
        return self._unread + self._cutter.dropped

    @property
    def oversized(self) -> int:
        """Times an object ran past all bounds."""
        return self._cutter.oversized

    @property
    def buffered(self) -> int:
        """Bytes held for an object that has not ended yet."""
        return self._cutter.buffered

    def _length(self, at_ns: int) -> int:
        """The time since the object before; for the first one, or a clock that went back, the interval."""
        elapsed_ns = at_ns - self._last_ns if self._last_ns else self._interval_ns
        self._last_ns = at_ns
        return elapsed_ns if elapsed_ns > 0 else self._interval_ns
