"""The base of the dialect readers, and the reader for what is understood only as plain HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from nightdesk.core.capture.dialects.reply import Reply, mapping

decode = msgspec.json.Decoder().decode


DECODE_LIMIT = 4 << 20
"""Longest JSON text that is built as a whole: what is made of it takes up to fifty times as much memory."""


def decode_or_none(data: bytes) -> Any:
    """A JSON value; None for what is none, is too long, or is nested too deep."""
    if len(data) > DECODE_LIMIT:
        return None
    try:
        return decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


class ReplyReader:
    """Writes what it reads to a :class:`Reply`. This one understands errors only."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def read_lines(self, lines: bytes) -> None:
        """Whole lines of an NDJSON stream."""
        for line in lines.split(b"\n"):
            if not line or line.isspace():
                continue
            value = decode_or_none(line)
            if isinstance(value, dict):
                self.reply.fragments += 1
                self.read_object(value)

    def read_events(self, block: bytes) -> None:
        """Whole server-sent events, each ended by an empty line."""
        for raw in block.split(b"\n\n"):
            data = b"\n".join(
                line[5:].removeprefix(b" ") for line in raw.split(b"\n") if line.startswith(b"data:")
            )
            if not data:
                continue
            if data.strip() == b"[DONE]":
                self.reply.done = True
                continue
            self.reply.fragments += 1
            value = decode_or_none(data)
            if isinstance(value, dict):
                self.read_event(value)

    def read_document(self, data: bytes) -> None:
        """A body that is one JSON value."""
        value = decode_or_none(data)
        if isinstance(value, dict):
            self.read_object(value)

    def read_object(self, value: dict[str, Any]) -> None:
        """One NDJSON object, or the only one."""
        if "error" in value:
            self.reply.take_error(value["error"])

    def read_event(self, value: dict[str, Any]) -> None:
        """The data of one event."""
        self.read_object(value)

    def finish(self) -> None:
        """The body is over, or nothing more of it will come."""

    def add_error(self, value: dict[str, Any]) -> None:
        """Takes the error of an event or object, where there is one."""
        error = value.get("error")
        if error is not None and error != "":
            self.reply.take_error(error)


def fragments_in(block: bytes, end: bytes) -> int:
    """How many fragments are in whole lines (``end`` is one line end) or in whole events (two)."""
    reader = ReplyReader(Reply(0))
    (reader.read_lines if end == b"\n" else reader.read_events)(block)
    return reader.reply.fragments


class _Failure(msgspec.Struct):
    error: Any = None


_failures = msgspec.json.Decoder(_Failure)


class PlainReader(ReplyReader):
    """Anything else than a model's reply: only a top-level ``error`` of a failed request means something."""

    def read_document(self, data: bytes) -> None:
        """Looks for an error without building the rest."""
        try:
            self.read_object({"error": _failures.decode(data).error})
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            # No object, or none that can be read.
            return

    def read_object(self, value: dict[str, Any]) -> None:
        """Looks for an error."""
        if isinstance(value.get("error"), (str, dict)):
            self.reply.take_error(value["error"])


def nested(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """An object inside objects; empty where one is absent."""
    for name in names:
        value = mapping(value.get(name))
    return value
