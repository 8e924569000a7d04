"""HTTP/1.0 and 1.1 on an asyncio stream, framed exactly as Go's server frames it.

Header order is Content-Type, Date, then Content-Length or Transfer-Encoding; there is no Server header and keep-alive
is not announced. Bodies of at most 2048 bytes have a length, larger ones are one chunk. A stream sends its head
together with the first chunk and its zero chunk alone.
"""

from __future__ import annotations

import asyncio
import http
import time
from dataclasses import dataclass, field
from email.utils import formatdate

import msgspec

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
LENGTH_LIMIT = 2048
"""Go's response buffer: what fits is sent with a length."""
JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


class WireError(Exception):
    """What came is not HTTP that this server speaks; the text is a status line's end."""


class ClientGoneError(Exception):
    """The client closed its side before the answer was complete."""


@dataclass(slots=True)
class Request:
    """One request, complete."""

    method: str
    path: str
    version: str
    """``1.0`` or ``1.1``."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def wants_close(self) -> bool:
        """True where the connection ends with the answer."""
        return self.version == "1.0" or self.headers.get("connection", "").lower() == "close"


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request of the connection, None at its end. Raises WireError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as fault:
        raise WireError("431 Request Header Fields Too Large") from fault
    request = _parse_head(head)
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.body = await _read_body(reader, request.headers)
    return request


def _parse_head(head: bytes) -> Request:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, ("HTTP/1.1" | "HTTP/1.0") as version]:
            pass
        case _:
            raise WireError("400 Bad Request")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise WireError("400 Bad Request")
        headers[name.lower()] = value.strip()
    if version == "HTTP/1.1" and "host" not in headers:
        raise WireError("400 Bad Request: missing required Host header")
    return Request(method, target.partition("?")[0], version[5:], headers)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await _read_chunks(reader)
        size = int(headers.get("content-length", "0"))
        if not 0 <= size <= BODY_LIMIT:
            raise WireError("413 Request Entity Too Large")
        return await reader.readexactly(size)
    except ValueError as fault:
        raise WireError("400 Bad Request") from fault
    except asyncio.IncompleteReadError as fault:
        raise ClientGoneError from fault


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if size < 0 or len(body) + size > BODY_LIMIT:
            raise WireError("413 Request Entity Too Large")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return bytes(body)


def encode(value: object) -> bytes:
    """``value`` as JSON with ``<``, ``>`` and ``&`` escaped, as Go writes it."""
    text = msgspec.json.encode(value)
    for plain, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        text = text.replace(plain, escaped)
    return text


def stamp(at_ns: int) -> str:
    """``at_ns`` as RFC 3339 in UTC with nanoseconds, zeros at the end cut."""
    seconds, rest = divmod(at_ns, 10**9)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f"{rest:09}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


@dataclass(slots=True)
class Reply:
    """The answer to one request. Either :meth:`body`, or :meth:`stream`, :meth:`chunk` … and :meth:`end`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: Request
    status: int = 0
    """0 until a head was made."""
    began: bool = False
    """True once the head is on the wire."""
    close: bool = False
    _head: bytes = b""
    _chunked: bool = field(default=False)

    def gone(self) -> bool:
        """True once the client has closed its side."""
        return self.reader.at_eof() or self.writer.is_closing()

    async def json(self, value: object, status: int = 200, kind: str = JSON, newline: bool = False) -> None:
        """Sends ``value`` as the whole body."""
        await self.body(encode(value) + (b"\n" if newline else b""), status, kind)

    async def body(
        self, body: bytes, status: int = 200, kind: str = "", extra: dict[str, str] | None = None
    ) -> None:
        """Sends a whole answer. A HEAD request gets the head only."""
        one_chunk = len(body) > LENGTH_LIMIT
        self.status = status
        self._chunked = one_chunk and self.request.version == "1.1"
        head = self._make_head(status, kind, extra or {}, None if one_chunk else len(body))
        if self.request.method == "HEAD":
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        await self._send(head + body)

    def stream(self, kind: str, extra: dict[str, str] | None = None) -> None:
        """Prepares a streamed answer with status 200; nothing is sent before the first chunk."""
        self.status = 200
        self._chunked = self.request.version == "1.1"
        self._head = self._make_head(200, kind, extra or {}, None)

    async def chunk(self, data: bytes) -> None:
        """Sends ``data`` as one chunk, together with the head where that is still to be sent."""
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        head, self._head = self._head, b""
        await self._send(head + framed)

    async def end(self) -> None:
        """Ends a stream with the zero chunk."""
        if self._chunked:
            await self._send(b"0\r\n\r\n")
        elif self.request.version == "1.0":
            self.close = True

    def _make_head(self, status: int, kind: str, extra: dict[str, str], length: int | None) -> bytes:
        reason = http.HTTPStatus(status).phrase
        lines = [f"HTTP/{self.request.version} {status} {reason}", *(f"{k}: {v}" for k, v in extra.items())]
        if kind:
            lines.append(f"Content-Type: {kind}")
        lines.append(f"Date: {formatdate(usegmt=True)}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        self.close = self.close or self.request.wants_close
        if self.close and self.request.version == "1.1":
            lines.append("Connection: close")
        if length is None and self.request.version == "1.1":
            lines.append("Transfer-Encoding: chunked")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def _send(self, data: bytes) -> None:
        self.began = True
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (ConnectionError, RuntimeError) as fault:
            raise ClientGoneError from fault
