"""What one direction of an exchange says: its headers, and size, hash and kept bytes of its body."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]

MASKED = "⟨masked⟩"
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key"})


PIECES = 1024
"""So many pieces are joined to one: a piece of one byte takes forty times as much."""


class Bytes:
    """Bytes that come in pieces and are needed in one, maybe; cheap for few big pieces and for many small ones."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        """Appends."""
        self._pieces.append(data)
        self.size += len(data)
        if len(self._pieces) > PIECES:
            self._pieces = [b"".join(self._pieces)]

    def take(self) -> bytes:
        """All bytes, which are forgotten here."""
        pieces, self._pieces, self.size = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def whole(self) -> bytes:
        """All bytes."""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]


class Side:
    """The body of one direction: size, hash, and as much of its bytes as is kept."""

    __slots__ = ("data", "headers", "missing", "size", "tally")

    def __init__(self) -> None:
        self.size = 0
        self.tally = hashlib.sha256()
        self.data = Bytes()
        self.missing = 0
        self.headers: Headers = ()

    def add(self, data: bytes, limit: int) -> int:
        """Counts, hashes and keeps; returns how many bytes more are in memory."""
        self.size += len(data)
        self.tally.update(data)
        room = limit - self.data.size
        if room <= 0:
            return 0
        part = data if len(data) <= room else data[:room]
        self.data.add(part)
        return len(part)

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return self.data.size

    def drop(self) -> None:
        """Forgets the bytes."""
        self.data = Bytes()


def size_of(headers: Headers) -> int:
    """Bytes of all names and values."""
    return sum(len(name) + len(value) for name, value in headers)


def value_of(headers: Headers, name: str) -> str:
    """The values of a header joined by commas; empty where absent. ``name`` in lower case."""
    return ", ".join(value for key, value in headers if key.lower() == name)


def masked(headers: Headers) -> Headers:
    """The headers without the values that are secrets."""
    return tuple((name, MASKED if name.lower() in _SECRET else value) for name, value in headers)
