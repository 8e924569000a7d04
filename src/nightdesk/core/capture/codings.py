"""Undoes the compression of bodies, piece by piece and with a limit: bytes in, plain bytes out.

gzip and deflate need nothing. br and zstd need a module (``brotli``; ``compression.zstd`` of Python 3.14 or
``backports.zstd``) that most machines lack, because no model server compresses unless a proxy stands before it.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any, Protocol


class CodingError(Exception):
    """The bytes are not what they claim to be, or unpack to more than anybody would send."""


class Decoder(Protocol):
    """Unpacks one body."""

    def decode(self, data: bytes, limit: int) -> bytes:
        """What the next bytes unpack to. Raises CodingError for damage, and beyond ``limit`` bytes in one call."""


def decoder_for(coding: str) -> Decoder | None:
    """The decoder for a ``Content-Encoding``; None where this machine has none, and for several codings at once."""
    coding = coding.strip().lower()
    if coding in ("gzip", "x-gzip"):
        return _Zlib(31)
    if coding == "deflate":
        return _Deflate()
    if coding == "br" and (module := _module("brotli", "Decompressor")) is not None:
        return _Brotli(module.Decompressor())
    if coding == "zstd":
        module = _module("compression.zstd", "ZstdDecompressor") or _module(
            "backports.zstd", "ZstdDecompressor"
        )
        return None if module is None else _Zstd(module)
    return None


def _module(name: str, needed: str) -> Any:
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module if hasattr(module, needed) else None


class _Zlib:
    """gzip, also of several members, and deflate."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._inside = zlib.decompressobj(window)

    def decode(self, data: bytes, limit: int) -> bytes:
        out = bytearray()
        while data:
            if self._inside.eof:
                if self._window != 31 or data[0] != 0x1F:
                    break
                self._inside = zlib.decompressobj(self._window)
            try:
                out += self._inside.decompress(data, limit - len(out) + 1)
            except zlib.error as fault:
                raise CodingError(str(fault)) from fault
            _check(out, limit)
            data = self._inside.unused_data
        return bytes(out)


class _Deflate:
    """What servers call deflate: with the zlib header, as the standard says, or without, as some do."""

    def __init__(self) -> None:
        self._zlib = _Zlib(15)
        self._start: bytes | None = b""
        """The two bytes that may be the header."""

    def decode(self, data: bytes, limit: int) -> bytes:
        if self._start is not None:
            data = self._start + data
            self._start = data if len(data) < 2 else None
            if self._start is not None:
                return b""
            if data[0] & 0x0F != 8 or int.from_bytes(data[:2], "big") % 31:
                self._zlib = _Zlib(-15)
        return self._zlib.decode(data, limit)


class _Brotli:
    def __init__(self, inside: Any) -> None:
        self._inside = inside

    def decode(self, data: bytes, limit: int) -> bytes:
        out = bytearray()
        try:
            out += self._inside.process(data, output_buffer_limit=limit + 1)
            while not self._inside.can_accept_more_data() and len(out) <= limit:
                out += self._inside.process(b"", output_buffer_limit=limit + 1)
        except Exception as fault:
            raise CodingError(str(fault)) from fault
        _check(out, limit)
        return bytes(out)


class _Zstd:
    """zstd, also of several frames."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._inside = module.ZstdDecompressor()

    def decode(self, data: bytes, limit: int) -> bytes:
        out = bytearray()
        while data:
            if self._inside.eof:
                self._inside = self._module.ZstdDecompressor()
            try:
                out += self._inside.decompress(data, limit - len(out) + 1)
            except (self._module.ZstdError, MemoryError, EOFError) as fault:
                raise CodingError(str(fault)) from fault
            _check(out, limit)
            data = self._inside.unused_data
        return bytes(out)


def _check(out: bytearray, limit: int) -> None:
    if len(out) > limit:
        raise CodingError(f"more than {limit} bytes after decompression")
