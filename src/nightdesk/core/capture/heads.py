"""The heads of HTTP/1 messages: the first line and the headers."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

Side = Literal["request", "response"]

_REQUEST_LINE = re.compile(rb"([!-~]{1,32}) (.*\S) (HTTP/1\.\d)[ \t]*\Z")
_STATUS_LINE = re.compile(rb"(HTTP/1\.\d) (\d{3})(?: (.*))?\Z")


class Head(msgspec.Struct, frozen=True):
    """A complete head. ``at`` is the offset of its end in the bytes just fed, as in all events."""

    at: int
    start: tuple[str, str, str]
    """Method, target, version; or version, status, reason."""
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The values of a header joined by commas; empty where absent. ``name`` in lower case."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)


def parse_head(head: bytes, at: int, side: Side) -> Head | None:
    """The head in ``head``, which ends at offset ``at``; None for what is none."""
    lines = head.split(b"\n")
    form = _REQUEST_LINE if side == "request" else _STATUS_LINE
    found = form.match(lines[0].rstrip(b"\r"))
    if found is None:
        return None
    start = tuple(part.decode("utf-8", "replace") if part else "" for part in found.groups())
    headers: list[tuple[str, str]] = []
    for raw in lines[1:]:
        line = raw.decode("utf-8", "replace")
        if line[:1] in (" ", "\t") and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
        elif ":" in line:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
    return Head(at, (start[0], start[1], start[2]), tuple(headers))


def content_length(head: Head) -> int | None:
    """The length that a head says, where it says one."""
    values = {value.strip() for value in head.get("content-length").split(",")}
    value = values.pop()
    return int(value) if not values and value.isascii() and value.isdigit() and len(value) < 19 else None
