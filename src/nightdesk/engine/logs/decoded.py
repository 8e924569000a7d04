"""Text of files that are not plain UTF-8: compressed by gzip, or UTF-16 with its mark.

What they hold is put into a file without a name, as far as it is known; that one is read like any other log.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import tempfile
import threading
import weakref
import zlib
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["plain", "gzip", "utf-16"]
MOST = 1 << 30
"""Bytes of text that are taken from one file."""
_BLOCK = 1 << 18
_STEP = 1 << 14
HEAD = 64
_FINGERPRINT = 64
_GZIP = b"\x1f\x8b\x08"
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def kind_of(head: bytes) -> Kind:
    """What a file is by its first :data:`HEAD` bytes, at least four of them.

    The mark of UTF-16 alone is too little: any file may begin so. A third of the signs must be Latin.
    """
    if head.startswith(_GZIP):
        return "gzip"
    for mark, high in zip(_MARKS, (1, 0), strict=True):
        highs = head[2 + high : HEAD : 2]
        if head.startswith(mark) and highs and highs.count(0) * 3 >= len(highs):
            return "utf-16"
    return "plain"


def may_become(head: bytes) -> bool:
    """Whether these first bytes are too few to tell what the file is."""
    return len(head) < 4 and head != b"" and any(mark.startswith(head[:2]) for mark in (_GZIP, *_MARKS))


class Spool:
    """The text of one such file. Blocking; any thread."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._file = tempfile.TemporaryFile(prefix="nightdesk-log-")  # noqa: SIM115 - lives as long as the spool
        weakref.finalize(self, self._file.close)
        self._inflate = zlib.decompressobj(31)
        self._decode = codecs.getincrementaldecoder("utf-16")("replace")
        self._lock = threading.Lock()
        self._before = b""
        self._broken = False
        self.taken = 0
        """Bytes of the source that are in it."""
        self.size = 0

    @property
    def descriptor(self) -> int:
        """For reading with an offset; gone with the spool."""
        return self._file.fileno()

    def extend(self, descriptor: int, size: int) -> None:
        """Take in what the source has gained up to ``size``. Raises OSError; ends early at damage."""
        with self._lock:
            while self.taken < size and self.size < MOST and not self._broken:
                block = os.pread(descriptor, min(_BLOCK, size - self.taken), self.taken)
                if not block:
                    return
                self.taken += len(block)
                self._before = block[-_FINGERPRINT:]
                text = self._inflated(block) if self._kind == "gzip" else self._decode.decode(block).encode()
                self._file.write(text)
                self.size += len(text)
            self._file.flush()

    def is_of_another(self, descriptor: int) -> bool:
        """Whether the source no longer holds what was taken last: it was emptied, or is another file."""
        return os.pread(descriptor, len(self._before), self.taken - len(self._before)) != self._before

    def _inflated(self, block: bytes) -> bytes:
        parts = []
        before = self._inflate.copy()
        try:
            while block:
                before = self._inflate.copy()
                parts.append(self._inflate.decompress(block, _STEP))
                block = self._inflate.unconsumed_tail
                if self._inflate.eof:
                    block = self._inflate.unused_data
                    self._inflate = zlib.decompressobj(31)
            parts.append(self._inflate.decompress(b""))
        except zlib.error:
            self._broken = True
            parts.append(_up_to_damage(before, block))
            parts.append(b"\n(the compressed file is damaged from here on)\n")
        return b"".join(parts)


def _up_to_damage(inflate: zlib._Decompress, block: bytes) -> bytes:
    """What a block gives before its damage: the call that meets that gives nothing."""
    found = bytearray()
    with contextlib.suppress(zlib.error):
        for at in range(len(block)):
            found += inflate.decompress(block[at : at + 1])
    return bytes(found)
