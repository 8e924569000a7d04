"""Bytes of a log in, lines out: cut anywhere, of any length, with carriage returns as a terminal would show them."""

from __future__ import annotations

from collections.abc import Iterator

LINE_LIMIT = 65_536
"""Bytes of a line that are kept; the rest is counted."""


class LineSplitter:
    """Splits a stream of bytes into lines. Holds at most two frames of ``limit`` bytes, whatever comes in.

    A line that was written over by carriage returns (a progress bar) counts as its last frame that is not blank.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._frame = bytearray()
        self._hidden = 0
        self._earlier: tuple[bytes, int] | None = None

    def feed(self, data: bytes) -> list[str]:
        """The lines that end in ``data``, without their ends, undecodable bytes replaced."""
        *ended, rest = data.split(b"\n")
        lines = [self._ended(piece) for piece in ended]
        self._take(rest)
        return lines

    @property
    def pending(self) -> str:
        """What a terminal shows of the line that has not ended yet."""
        return _text(*self._shown())

    def finish(self) -> str | None:
        """The last line where it had no end; None where nothing is left. The splitter begins anew."""
        left = bool(self._frame or self._hidden or self._earlier)
        line = self.pending
        self._reset()
        return line if left else None

    def _ended(self, piece: bytes) -> str:
        self._take(piece)
        line = _text(*self._shown())
        self._reset()
        return line

    def _take(self, piece: bytes) -> None:
        first, *frames = piece.split(b"\r")
        self._append(first)
        for frame in frames:
            if self._visible():
                self._earlier = (bytes(self._frame), self._hidden)
            self._frame.clear()
            self._hidden = 0
            self._append(frame)

    def _append(self, piece: bytes) -> None:
        room = self._limit - len(self._frame)
        self._frame += piece[:room]
        self._hidden += max(len(piece) - room, 0)

    def _visible(self) -> bool:
        return self._hidden > 0 or not (not self._frame or self._frame.isspace())

    def _shown(self) -> tuple[bytes, int]:
        if self._earlier is None or self._visible():
            return bytes(self._frame), self._hidden
        return self._earlier

    def _reset(self) -> None:
        self._frame.clear()
        self._hidden = 0
        self._earlier = None


def shown_line(raw: bytes, limit: int = LINE_LIMIT) -> str:
    """One whole line as :class:`LineSplitter` would give it. ``raw`` holds no line feed."""
    if len(raw) <= limit and b"\r" not in raw:
        return raw.decode("utf-8", "replace")
    splitter = LineSplitter(limit)
    splitter.feed(raw)
    return splitter.finish() or ""


def whole_lines(block: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """The lines of ``block`` with the byte offset behind each, ``start`` being the offset of the block's first byte.

    The last line comes even without an end.
    """
    at = 0
    while at < len(block):
        end = block.find(b"\n", at)
        after = len(block) if end < 0 else end + 1
        yield start + after, block[at : after if end < 0 else end]
        at = after


def _text(kept: bytes, hidden: int) -> str:
    if not hidden:
        return kept.decode("utf-8", "replace")
    whole = _cut_at_character(kept)
    return f"{whole.decode('utf-8', 'replace')}… ({hidden + len(kept) - len(whole):,} bytes hidden)"


def _cut_at_character(kept: bytes) -> bytes:
    """Without the first bytes of a character whose rest is hidden."""
    for back in range(1, min(4, len(kept) + 1)):
        byte = kept[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return kept[:-back] if length > back else kept
        if byte < 0x80:
            break
    return kept
